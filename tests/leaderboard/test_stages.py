"""What a board prints of methods that train in stages, and which scoring of candidates its caption names."""

import io
from types import SimpleNamespace

from rich.console import Console

from recbole_conrec.leaderboard import stages, tables
from recbole_conrec.leaderboard.board import read_board
from recbole_conrec.leaderboard.board_options import Method
from recbole_conrec.leaderboard.section import Line, Section


def section(**methods):
    """methods: name -> one list of (stage, valid, alignment) for each seed."""
    lines = []
    for name, seeds in methods.items():
        config = SimpleNamespace(beam=None, candidate_scores=["beam", "likelihood"] if seeds[0] else None)
        entries = [
            [
                {"name": stage, "valid": valid, **({} if right is None else {"alignment": right})}
                for stage, valid, right in seed
            ]
            for seed in seeds
        ]
        records = {n: SimpleNamespace(config=config, result={"stages": entry}) for n, entry in enumerate(entries)}
        lines.append(Line(Method(name=name), records=records))
    return Section("d", [], lines, {}, "", {})


def test_methods_with_stages_show_what_is_left_after_each():
    shown = section(
        Pop=[[]],
        Plain=[[("a", 0.1, None)]],
        Alone=[[("align", 0.02, 0.75)]],
        CoNRec=[[("align", 0.02, 0.75), ("sft", 0.1, 0.5)], [("align", 0.04, 0.77), ("sft", 0.3, 0.6)]],
    )
    text = stages.markdown(shown)
    assert "| method | after each stage | align | sft |" in text and "Pop" not in text and "Plain" not in text
    assert "| Alone | alignment | .7500 | - |" in text
    assert "| CoNRec | valid | .0300 ± .0141 | .2000 ± .1414 |" in text
    assert "| CoNRec | alignment | .7600 ± .0141 | .5500 ± .0707 |" in text
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(stages.terminal(shown))
    assert ".5500 ± .0707" in console.export_text()
    assert stages.markdown(section(Pop=[[]])) == "" and stages.terminal(section(Pop=[[]])) is None


def test_the_caption_names_the_scoring_of_candacc():
    assert "CandAcc of methods that answer with IDs: by beam" in tables.key(section(CoNRec=[[("a", 1, 1)]]))
    assert "CandAcc" not in tables.key(section(Pop=[[]]))


def test_a_board_may_show_every_scoring(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("datasets: [tiny]\nmetrics: [HR, CandAcc, CandAcc.beam]\nmethods: [CoNRec]\n")
    assert read_board(str(file)).columns == ["HR@20", "CandAcc", "CandAcc.beam"]
