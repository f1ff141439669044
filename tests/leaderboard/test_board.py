"""Boards: their YAML, their runs, their records."""

import json
import re
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import forked
import numpy as np
import pyarrow.compute as pc
import pytest
from pyarrow import parquet

from recbole_conrec import registry
from recbole_conrec.cli import main, parse
from recbole_conrec.cluster.local import LocalExecutor
from recbole_conrec.leaderboard import compare, schedule
from recbole_conrec.leaderboard.board import combine, read_board
from recbole_conrec.leaderboard.commands import LeaderboardOptions
from recbole_conrec.leaderboard.publish import publish
from recbole_conrec.leaderboard.standings import standings
from recbole_conrec.runs import published, records
from recbole_conrec.runs.identity import WHERE, identify
from recbole_conrec.utils.errors import UserError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
PAPER = [
    "Caser",
    "SASRec",
    "BERT4Rec",
    "FDSA",
    "S3-Rec",
    "P5-CID",
    "TIGER",
    "TALLRec",
    "InstructRec",
    "LC-Rec (Neg.&Pos.)",
    "LC-Rec (Neg. Only)",
    "Caser / both",
    "SASRec / both",
    "BERT4Rec / both",
    "FDSA / both",
    "S3-Rec / both",
    "P5-CID / both",
    "TIGER / both + behaviour",
    "LC-Rec / both + neighbourhood",
    "CoNRec",
    "Popularity of dislikes",
    "Swing of dislikes",
]


@pytest.fixture(scope="module")
def paper():
    """The board of the paper. Read only."""
    return read_board("paper")


@pytest.fixture(scope="module")
def beyond():
    """{method: its run} of the board `beyond`, which has all of the paper's. Read only."""
    return {run.method.name: run for run in read_board("beyond").narrow(seeds=1).runs}


def test_boards_of_ours(paper, beyond):
    assert [method.name for method in paper.methods][: len(PAPER)] == PAPER and paper.improvement == "CoNRec"
    assert paper.columns == ["HR@20", "FHR@20", "FRecall@20", "LUF@20", "LIF@20", "CandAcc"]
    assert len(paper.seeds) == 5 and {m.group for m in paper.methods[len(PAPER) - 2 :]} == {"references"}
    alike = tuple(run.method for run in beyond.values())[: len(paper.methods)]
    assert alike == paper.methods and len(beyond) > len(paper.methods)
    for run in (*beyond.values(), *read_board("quick").narrow(seeds=1).runs):
        assert run.unavailable or run.identity  # every option of every method is known


def test_every_baseline_of_the_paper_is_offered_what_conrec_reads(paper, beyond):
    """Both kinds of feedback, and IDs that know behaviour: in a method of its own, beside that of the paper."""
    by_name = {method.name: beyond[method.name] for method in paper.methods}
    conrec = by_name["CoNRec"].config
    dense = ("Caser", "SASRec", "BERT4Rec", "FDSA", "S3-Rec", "P5-CID")
    for name in (*(f"{one} / both" for one in dense), "TIGER / both + behaviour"):
        alone, both = by_name[name.partition(" / ")[0]].config, by_name[name].config
        assert (alone["context"], both["context"]) == ("negative", "both") == ("negative", conrec["context"])
        assert both["valid_metric"] == alone["valid_metric"] == conrec["valid_metric"] == "FRecall@20"
    for name in ("TIGER / both + behaviour", "LC-Rec / both + neighbourhood"):
        assert by_name[name].config["context"] == "both"
        assert by_name[name].config["tokenizer"]["encoder"] == conrec["tokenizer"]["encoder"]
    assert by_name["S3-Rec"].config["pretrain_epochs"] >= 50
    assert all(run.config["threads"] == 1 and not run.config["valid_sample"] for run in by_name.values())


def test_the_board_of_the_docs(tmp_path, paper):
    page = (ROOT / "docs" / "leaderboard.md").read_text()
    (block,) = re.findall(r"```yaml\n# my_board.yaml.*?\n(.*?)```", page, flags=re.S)
    (tmp_path / "my_board.yaml").write_text(block)
    board = read_board(str(tmp_path / "my_board.yaml")).narrow(seeds=1)
    own = ["GRU4Rec", "SASRec (both)", "MyRec", "Swing", "Tuned", "Large"]
    assert [method.name for method in board.methods] == [*(method.name for method in paper.methods), *own]
    board = board.narrow(methods=own)
    assert [run.method.name for run in board.runs if run.unavailable] == ["MyRec"]
    assert all(run.identity for run in board.runs if not run.unavailable)


def test_narrowing(paper):
    board = paper.narrow(methods=["CoNRec", "SASRec"], seeds=4, datasets=["ml-100k", "ml-1m-recent"], epochs=2)
    assert [method.name for method in board.methods] == ["SASRec", "CoNRec"] and board.seeds == (2020, 2021, 2022, 2023)
    assert len(board.runs) == 2 * 4 * 2
    options = {run.method.name: run.options for run in board.runs}  # an option goes to the methods that read it
    assert options["SASRec"]["epochs"] == 2 and "epochs" not in options["CoNRec"]
    assert board.narrow(seeds=[7]).seeds == (7,) and board.narrow(seeds=2).runs[0].options["epochs"] == 2
    with pytest.raises(UserError, match="SASRek.*SASRec"):
        board.narrow(methods=["SASRek"])


@pytest.mark.parametrize(
    "text, words",
    [
        ("methods: [A]", "datasets"),
        ("datasets: [tiny]\nmethods: [Pop, Pop]", "two methods are called 'Pop'"),
        ("datasets: [tiny]\nmethods: [{name: Pop, optoins: {}}]", "optoins.*options"),
        ("datasets: [tiny]\nmethods: [Pop]\nmetric: [HR]", "metric.*metrics"),
        ("datasets: [tiny]\nmethods: [Pop]\nmetrics: [NDCG]", "NDCG"),
        ("datasets: [tiny]\nmethods: [Pop]\nimprovement: CoNRec", "CoNRec"),
        ("datasets: [tiny]\nmethods: [Pop]\nseeds: all", "seeds"),
        ("extends: paper\nmethods: 5", "methods: 5; expected a list"),
        ("extends: bad.yaml", "has no end"),
        ("datasets: [tiny]\nmethods: [Pop]\noptions: 5", "options: 5; expected a mapping"),
        (
            "datasets: [tiny]\nmethods: [{name: Pop, options: [a]}]",
            r"methods.Pop.options: \['a'\]; expected a mapping",
        ),
        (
            "datasets: [tiny]\nmethods: [{name: Pop, seeds: [1, 2]}]",
            r"methods.Pop.seeds: \[1, 2\]; expected a whole number of at least 1",
        ),
        (
            "datasets: [tiny]\nmethods: [{name: Pop, seeds: 0}]",
            r"methods.Pop.seeds: 0; expected a whole number of at least 1",
        ),
        (
            "datasets: [tiny]\nmethods: [{name: Pop, minutes: soon}]",
            r"methods.Pop.minutes: 'soon'; expected a number of at least 0",
        ),
        ("datasets: [tiny]\nmethods: [{name: Pop, launch: [3]}]", r"methods.Pop.launch: \[3\]; expected text"),
        ("datasets: [tiny]\nmethods: [{model: Pop}]", r"methods\[0\].name is needed; expected text"),
        ("datasets: [tiny]\nmethods: [5, [Pop]]", r"methods\[1\]: \['Pop'\]; expected"),
        ("datasets: [tiny]\nmethods: [Pop]\nseeds: [1, 1]", "seeds: 1 is given twice"),
        ("datasets: [tiny]\nmethods: [Pop]\nseeds: 0", "seeds: 0; expected a whole number of at least 1 or a list"),
        ("datasets: [tiny]\nmethods: [Pop]\nseeds: []", "seeds: .*expected"),
        ("datasets: [tiny, tiny]\nmethods: [Pop]", "datasets: tiny is given twice"),
        ("datasets: [tiny]\nmethods: [Pop]\ntopk: [5, 5]", "topk: 5 is given twice"),
        ("datasets: [tiny]\nmethods: [Pop]\ntopk: 0", "topk: 0; expected a whole number of at least 1"),
        ("datasets: [tiny]\nmethods: [Pop]\nmetrics: [my_nothing:Mine]", "there is no module 'my_nothing'"),
        ("extends: quick\nmethods: [Pop]", "two methods are called 'Pop'"),
    ],
)
def test_mistakes_in_a_board(text, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text(text)
    with pytest.raises(UserError, match=words):
        read_board("bad.yaml")


def test_a_board_may_extend_another_without_methods_of_its_own(tmp_path):
    (tmp_path / "more.yaml").write_text("extends: quick\nmethods:\n")
    more, quick = read_board(str(tmp_path / "more.yaml")), read_board("quick")
    assert [method.name for method in more.methods] == [method.name for method in quick.methods]


def test_names_of_the_version_before_work_with_a_warning(small, tmp_path, board):
    text = (small[0] / "board.yaml").read_text()
    (tmp_path / "old.yaml").write_text(text.replace("methods:", "rows:"))
    with pytest.warns(FutureWarning, match="'rows' is now called 'methods'"):
        old = read_board(str(tmp_path / "old.yaml"))
    assert [method.name for method in old.methods] == ["Pop", "Swing", "SASRec (both)"]
    with pytest.warns(FutureWarning, match="'rows' is now called 'methods'"):
        code, printed = board(rows="Pop,Swing")
    assert code == 0 and "SASRec" not in printed
    (tmp_path / "both.yaml").write_text(text + "rows: [Caser]\n")
    with pytest.raises(UserError, match="unknown option 'rows'"):
        read_board(str(tmp_path / "both.yaml"))


def test_methods_and_data_sets_of_the_command_line():
    own, others = LeaderboardOptions.take(
        {"leaderboard": "paper", "methods": "CoNRec, SASRec", "dataset": 2024, "x": 1}
    )
    assert own.methods == ("CoNRec", "SASRec") and own.dataset == ("2024",) and others == {"x": 1}
    assert LeaderboardOptions.take({"leaderboard": "paper", "methods": ["A, B", "C"]})[0].methods == ("A, B", "C")


def test_options_of_a_board_go_to_the_methods_that_read_them(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "datasets: [ml-100k]\noptions: {epochs: 3, history: 5}\nmethods: [SASRec, {name: CoNRec, options: {beam: 7}}]\n"
    )
    mine = read_board(str(tmp_path / "mine.yaml"))
    options = {run.method.name: run.options for run in mine.narrow(beam=9, seeds=1).runs}
    assert options["SASRec"] == {"topk": [5, 10, 20], "epochs": 3, "seed": 2020}
    assert options["CoNRec"] == {"topk": [5, 10, 20], "history": 5, "beam": 9, "seed": 2020}
    assert all(run.identity for run in mine.narrow(methods=["CoNRec"]).runs)  # that none of these reads epochs is right
    (tmp_path / "bad.yaml").write_text("datasets: [ml-100k]\noptions: {history: 5}\nmethods: [SASRec]\n")
    with pytest.raises(UserError, match="method 'SASRec': .*option 'history'"):
        assert read_board(str(tmp_path / "bad.yaml")).runs[0].identity


def test_layers_of_options():
    assert combine({"a": {"x": 1, "y": 2}, "b.c": 1}, {"a": {"x": 3}, "b": {"d": 2}}) == {
        "a": {"x": 3, "y": 2},
        "b": {"d": 2},
    }
    assert combine({"split": {"by": "time", "ratio": [1]}}, {"split": {"by": "user"}}) == {"split": {"by": "user"}}


def test_a_finished_board_runs_nothing_and_writes_its_tables(board, tmp_path, monkeypatch):
    monkeypatch.setattr(LocalExecutor, "start", lambda *_: pytest.fail("a recorded method was run again"))
    code, printed = board()
    assert code == 0 and "SASRec (both)" in printed and "CandAcc" in printed and "Swing over the best" in printed
    assert {file.name for file in (tmp_path / "results").iterdir()} == {
        "board.html",
        "board.json",
        "board.md",
        "board.tex",
        "board.csv",
    }


def test_figures_are_those_of_the_records(small):
    folder, options = small
    (section,) = standings(read_board(str(folder / "board.yaml")).narrow(**options))
    line = section.lines[2]
    values = [record.result["metrics"]["FHR@5"]["value"] for record in line.records.values()]
    assert len(values) == 2 and line.cells["FHR@5"].mean == pytest.approx(np.mean(values))
    assert line.cells["FHR@5"].low <= line.cells["FHR@5"].mean <= line.cells["FHR@5"].high
    others = [other.cells["HR@5"].mean for other in section.lines if other.method.name != "Swing"]
    assert section.improvement["HR@5"][0] == pytest.approx(section.lines[1].cells["HR@5"].mean / max(others) - 1)


def test_facts_of_the_instances(small, make_tiny):
    folder, options = small
    record = standings(read_board(str(folder / "board.yaml")).narrow(**options))[0].lines[0].records[5]
    data = make_tiny("Pop")[1]
    facts, test, log = record.facts(), data.splits["test"], data.log
    assert record.result["data_fingerprint"] == data.fingerprint
    for n in (0, 17, len(test) - 1):
        before = (log.user == test.user[n]) & (log.time < test.time[n])
        assert facts["activity"][n] == before.sum() and facts["negatives"][n] == (log.feedback[before] == -1).sum()
        same = data.train_mask & (log.item == test.item[n]) & (log.feedback == -1)
        assert facts["popularity"][n] == same.sum() and facts["user"][n] == test.user[n]
        assert facts["window"][n] == np.diff(data.truth("test").f_ptr)[n]


def test_published_records_stand_in_for_runs_and_hold_no_data(small, tmp_path, capsys):
    folder, options = small
    name, out = str(folder / "board.yaml"), tmp_path / "published"
    board = read_board(name).narrow(**options)
    words = [f"--{key}={json.dumps(value)}" for key, value in options.items() if key != "checkpoint_dir"]
    assert main(["publish", f"--leaderboard={name}", f"--out={out}", f"--checkpoint_dir={folder}/saved", *words]) == 0
    (file,) = out.iterdir()
    assert file.name == "board-tiny.parquet" and "4 of 4 records" in capsys.readouterr().out
    raw = parquet.read_table(file)
    assert not re.search(r'"[/~]|/tmp|home', " ".join(filter(None, raw["text"].to_pylist())))
    assert not {"item", "t0"} & set(raw["name"].to_pylist())
    named = raw.filter(pc.equal(raw["name"], "activity"))
    assert len(named) == 4 and named["values"].null_count == 3  # kept once for all records
    there = published.read(file)
    moved = replace(read_board(name), published=there).narrow(**{**options, "checkpoint_dir": str(tmp_path / "empty")})
    assert schedule.missing(moved.runs, print) == []
    for run, other in zip(board.runs, moved.runs, strict=True):
        whole, part = run.read()[0], other.read()[0]
        kept = {key: value for key, value in whole.result["config"].items() if key not in WHERE}
        assert part.result == {**whole.result, "config": kept}
        assert set(whole.facts()) - set(part.facts()) == {"item", "t0"}
        for one, two in ((whole.outcomes(), part.outcomes()), (part.facts(), whole.facts())):
            assert all(np.array_equal(values, two[key], equal_nan=True) for key, values in one.items())
    assert [vars(c) for c in standings(moved)[0].lines[0].cells.values()] == [
        vars(c) for c in standings(board)[0].lines[0].cells.values()
    ]
    before = file.read_bytes()
    assert publish(moved, tmp_path / "again")[1] == 4  # records of files can be published with those of folders
    assert (tmp_path / "again" / file.name).read_bytes() == before
    with pytest.raises(UserError, match="has no record"):
        publish(read_board(name).narrow(**{**options, "checkpoint_dir": str(tmp_path / "empty")}), out)


def test_a_board_of_published_records_alone(small, board, tmp_path, capsys):
    folder, options = small
    publish(read_board(str(folder / "board.yaml")).narrow(**options), tmp_path)
    file = tmp_path / "board-tiny.parquet"
    code, printed = board(records=str(file), checkpoint_dir=str(tmp_path / "empty"))
    assert code == 0 and "SASRec (both)" in printed and not (tmp_path / "empty").exists()
    assert "board-tiny.parquet" in (tmp_path / "results" / "board.html").read_text()
    words = [f"--{key}={json.dumps(value)}" for key, value in {**options, "checkpoint_dir": "none"}.items()]
    compared = ["compare", "Pop", "Swing", f"--leaderboard={folder}/board.yaml", "--metric=HR@5", *words]
    assert main([*compared, f"--records={file}"]) == 0 and "A wins" in capsys.readouterr().out
    assert main(compared) == 2 and "has no record" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"PAR1 of another kind", None])
def test_a_file_that_holds_no_records_is_named(content, tmp_path):
    file = tmp_path / "records.parquet"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=r"records\.parquet: no (such )?file"):
        published.read(file)


def test_plan_and_commands(board, small):
    code, printed = board(seeds=3, **{"dry-run": True})
    assert code == 0 and "1 of 5 runs to do" in printed and "recorded" in printed and "about" in printed
    code, printed = board(seeds=3, **{"dry-run": True, "commands": True})
    folder, options = small
    (run,) = schedule.missing(read_board(str(folder / "board.yaml")).narrow(**options, seeds=3).runs, print)
    words = shlex.split(printed)
    assert code == 0 and words == schedule.command(run)
    (run.folder / records.RESULT).parent.mkdir(parents=True, exist_ok=True)
    (run.folder / records.RESULT).write_text("{")  # the warning about it must not be among the commands
    assert board(seeds=3, **{"dry-run": True, "commands": True})[1] == printed
    (run.folder / records.RESULT).unlink()
    assert words[:3] == ["python", "-m", "recbole_conrec"]
    read = parse(words[3:])[1]  # the command is what the board would run, to the last option
    assert (read.pop("model"), read.pop("dataset")) == ("SASRec", "tiny") and read == run.options


def test_identity_follows_options_data_and_place(small, tmp_path):
    folder, options = small
    board = read_board(str(folder / "board.yaml"))
    one = board.narrow(**options).runs[0]
    assert board.narrow(**{**options, "checkpoint_dir": "elsewhere"}).runs[0].identity == one.identity
    pop, _, sasrec, *_ = board.narrow(**options).runs
    changed = board.narrow(**options, learning_rate=0.5).runs
    assert changed[2].identity != sasrec.identity and changed[0].identity == pop.identity  # Pop does not read it
    shutil.copytree(Path(options["data_path"]) / "tiny", tmp_path / "tiny")
    moved = {**options, "data_path": str(tmp_path)}
    assert board.narrow(**moved).runs[0].identity == one.identity  # the same files elsewhere
    with (tmp_path / "tiny" / "tiny.inter").open("a") as file:
        file.write("u1\ti1\t1\t1005000000\n")
    assert board.narrow(**moved).runs[0].identity != one.identity


def test_identity_follows_the_files_that_options_name(paper, tmp_path):
    vectors = tmp_path / "vectors.npy"
    encoder = [{"name": "file", "path": str(vectors)}]
    board = paper.narrow(methods=["CoNRec"], **{"tokenizer.encoder": encoder})
    seen = set()
    for content in (None, [1.0], [2.0]):  # absent, there, changed
        if content:
            np.save(vectors, content)
        seen.add(identify(board.runs[0].config, registry.find_model("CoNRec")))
    assert len(seen) == 3


def test_records_merge_by_copying_and_corrupt_ones_are_named(small, tmp_path):
    folder, options = small
    there = read_board(str(folder / "board.yaml")).narrow(**{**options, "checkpoint_dir": str(tmp_path)})
    said = []
    assert len(schedule.missing(there.runs, said.append)) == 4 and not said
    for file in (folder / "saved" / "tiny").glob("*/*"):
        if file.name in (records.RESULT, records.OUTCOMES):
            (tmp_path / "tiny" / file.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, tmp_path / "tiny" / file.parent.name)
    assert schedule.missing(there.runs, said.append) == [] and not said
    first, second, third, _ = there.runs
    (first.folder / records.RESULT).write_text((first.folder / records.RESULT).read_text()[:500])
    (second.folder / records.OUTCOMES).write_bytes((second.folder / records.OUTCOMES).read_bytes()[:-7])
    record = json.loads((third.folder / records.RESULT).read_text())
    (third.folder / records.RESULT).write_text(json.dumps({**record, "identity": "0"}))
    assert schedule.missing(there.runs, said.append) == [first, second, third]
    (third.folder / records.RESULT).write_text(json.dumps({**record, "cost": {}}))
    assert "keys are missing" in records.read(third.folder)[1]
    (third.folder / records.RESULT).write_text(json.dumps({**record, "identity": "0"}))
    for run, line in zip((first, second, third), said, strict=True):
        assert (str(run.folder) in line and "corrupt" in line) or "of another run" in line
    notes = [line.note for line in standings(there)[0].lines]
    assert "not run yet" in notes[0] and "corrupt" in notes[0]


def test_methods_under_different_protocols_share_no_table(small):
    folder, options = small
    board = read_board(str(folder / "board.yaml")).narrow(**options, methods=["Pop"])
    (section,) = standings(board)
    record = section.lines[0].records[5]
    other = records.Record(record.folder, {**record.result, "data_fingerprint": "0" * 64})
    from recbole_conrec.leaderboard.section import Line
    from recbole_conrec.leaderboard.standings import _check_same_data

    with pytest.raises(UserError, match="different data or protocols"):
        _check_same_data([section.lines[0], Line(board.methods[0], records={5: other})], "tiny")


def test_two_boards_share_the_work(small, tmp_path):
    """Two commands at once, without records; one method has no model."""
    folder, _ = small
    board = (folder / "board.yaml").read_text() + "  - {name: Nothing, model: Nope}\n"
    (tmp_path / "two.yaml").write_text(board)
    words = [
        "-W",
        "ignore",
        ROOT / "run_recbole_conrec.py",
        "--leaderboard=two.yaml",
        f"--config_files={folder / 'options.yaml'}",
        "--checkpoint_dir=saved",
        "--methods=Pop,Swing,Nothing",
    ]
    boards = [forked.start([*words, f"--out=results{n}"], tmp_path) for n in (1, 2)]
    done = [board.wait() for board in boards]
    assert [one.returncode for one in done] == [1, 1]  # of the method without a model
    printed = [one.stdout for one in done]
    lines = [line for text in printed for line in text.splitlines() if line.startswith("[")]
    for method in ("Pop", "Swing"):
        mine = [line for line in lines if f"] {method} on tiny" in line]
        assert sum("recorded by another process" not in line for line in mine) == 1, mine
    assert all("not available" in text and "Nothing" in text for text in printed)
    tables = [(tmp_path / f"results{n}" / "board.csv").read_text() for n in (1, 2)]
    assert tables[0] == tables[1] and tables[0].count("\ntiny,") == 15


def test_a_method_that_fails_is_reported_and_the_others_go_on(small, tmp_path, monkeypatch, board):
    """A model that cannot be made, and one that is recorded."""
    (tmp_path / "my_faulty.py").write_text(
        "from recbole_conrec.model.pop import Pop\n\n\nclass Faulty(Pop):\n"
        "    def __init__(self, *_):\n        raise RuntimeError('no such luck')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "more.yaml").write_text(
        f"extends: {small[0] / 'board.yaml'}\nmethods: [{{name: Faulty, model_class: 'my_faulty:Faulty', seeds: 1}}]\n"
    )
    code, printed = board(leaderboard=str(tmp_path / "more.yaml"), methods=["Pop", "Faulty"])
    assert code == 1 and "Faulty on tiny, seed 5: failed: RuntimeError: no such luck" in printed
    assert "terminal.log" in printed and "CandAcc" in printed


def test_a_method_may_be_launched_by_accelerate(small, tmp_path, board):
    """On two processes, really, each of which evaluates its share: the outcomes are those of one, to the last digit."""
    launch = "accelerate launch --multi_gpu --num_processes=2 --main_process_port=0"
    (tmp_path / "more.yaml").write_text(
        f"extends: {small[0] / 'board.yaml'}\nmethods:\n"
        "  - {name: Large, model: Pop, seeds: 1, options: {eval_batch_size: 7},\n"
        f"     launch: {launch}}}\n"
    )
    code, printed = board(leaderboard=str(tmp_path / "more.yaml"), methods=["Pop", "Large"])
    assert code == 0 and "Large on tiny, seed 5: HR@5" in printed
    runs = read_board(str(tmp_path / "more.yaml")).narrow(**small[1], methods=["Pop", "Large"]).runs
    one, two = (records.read(run.folder, run.identity)[0].outcomes() for run in runs)
    assert one.keys() == two.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(values, two[name], err_msg=name)
    dry = board(
        leaderboard=str(tmp_path / "more.yaml"), methods=["Large"], seeds=[9], commands=True, **{"dry-run": True}
    )
    assert dry[1].startswith(f"{launch} -m recbole_conrec --model=Pop")


@pytest.mark.parametrize(
    "source, words",
    [
        ("class Mine(:\n", "importing 'my_broken' failed: SyntaxError"),
        ("import no_such_package\n", "No module named"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("class Other:\n    pass\n", "module 'my_broken' has no 'Mine'"),
    ],
)
def test_a_class_that_cannot_be_imported_is_reported(source, words, small, tmp_path, monkeypatch, board):
    (tmp_path / "my_broken.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_broken", raising=False)
    (tmp_path / "more.yaml").write_text(
        f"extends: {small[0] / 'board.yaml'}\nmethods: [{{name: Mine, model_class: 'my_broken:Mine'}}]\n"
    )
    code, printed = board(leaderboard=str(tmp_path / "more.yaml"), methods=["Pop", "Mine"])
    assert code == 1 and "Mine: not available" in printed and words in printed
    with pytest.raises(UserError, match="'Mine': not available"):
        compare.from_board(read_board(str(tmp_path / "more.yaml")).narrow(**small[1]), ("Pop", "Mine"), "tiny", "HR@5")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--leaderboard=papre"], "unknown board 'papre'; did you mean 'paper'"),
        (["--leaderboard=paper", "--jobs=many"], "jobs: 'many'; expected a whole number of at least 1"),
        (["--leaderboard=paper", "--commands"], "--dry-run"),
        (["--leaderboard=paper", "--dry-run", "--methods=Casar"], "did you mean 'Caser'"),
        (["--leaderboard=paper", "--dry-run", "--datasets=ml-100k"], "--dataset=A,B"),
        (["--leaderboard=quick", "--dry-run", "--methods="], "'--methods=' has no value"),
        (["--leaderboard=quick", "--dry-run", "--dataset=ml-100"], "ml-100.inter: there is no such file"),
        (
            ["--leaderboard=quick", "--dry-run", "--contexts=both"],
            "method 'SASRec': unknown option 'contexts'; did you mean 'context'",
        ),
        (["--leaderboard=quick", "--dry-run", "--seeds=[1, 1]"], "seeds: 1 is given twice"),
        (
            ["--leaderboard=quick", "--dry-run", "--seeds=0"],
            "seeds: 0; expected a whole number of at least 1 or a list",
        ),
        (["--leaderboard=quick", "--dry-run", "--methods=Pop,Pop"], "methods: Pop is given twice"),
        (
            ["--leaderboard=paper", "--dry-run", "--methods=CoNRec", "--epochs=2"],
            "option 'epochs': CoNRec does not read",
        ),
        (["--leaderboard=quick", "--dry-run", "--metrics=[NDCG]"], "metrics: 'NDCG' is unknown"),
        (["publish", "--leaderboard=quick"], "publish.out is needed; expected text"),
        (["compare", "A"], "usage"),
        (["compare", "SASRec", "Caser", "--datasets=ml-100k"], "--dataset=A,B"),
        (["study", "metrics", "--datasets=sim-small"], "--dataset=A,B"),
        (["compare", "SASRec", "Caser", "--dataset=absent"], "absent"),
    ],
)
def test_mistakes_are_one_line(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and words in error and error.count("\n") == 1
