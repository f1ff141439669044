"""The tables, the page and the comparison of methods."""

import csv
import json
import re

import numpy as np
import pytest
from rich.console import Console

from recbole_conrec.cli import main
from recbole_conrec.leaderboard import compare
from recbole_conrec.leaderboard.board import read_board
from recbole_conrec.leaderboard.board_options import Method
from recbole_conrec.leaderboard.latex import latex
from recbole_conrec.leaderboard.markdown import markdown
from recbole_conrec.leaderboard.page import content, page
from recbole_conrec.leaderboard.section import Cell, Line, Section
from recbole_conrec.leaderboard.sheet import comma_separated
from recbole_conrec.leaderboard.standings import standings
from recbole_conrec.leaderboard.tables import interval, terminal
from recbole_conrec.runs import records
from recbole_conrec.utils.errors import UserError


@pytest.fixture
def section():
    best = Cell(0.1234, 0.01, 0.1, 0.15, 100, False, rank=1, versus="B & C", p=0.01)
    second = Cell(0.1, None, 0.05, 0.12, 100, False, rank=2, versus="A_1", p=0.01)
    few = Cell(0.9, None, 0.5, 1.0, 12, True)
    lines = [
        Line(Method(name="A_1"), {"HR@20": best}),
        Line(Method(name="B & C"), {"HR@20": second, "LUF@20": few}),
        Line(Method(name="D"), note="not available: unknown model 'D'"),
    ]
    return Section("tiny", ["HR@20", "LUF@20"], lines, {"HR@20": (0.234, True)}, "A_1", {"HR@20": 100, "LUF@20": 12})


def test_markdown(section):
    text = markdown([section], "Title")
    assert "| A_1 | **.1234** ± .0100\\* [.1000, .1500] | - |" in text
    assert '<span style="color:gray">.9000 [.5000, 1.0000] n=12</span>' in text
    assert "<u>.1000</u>" in text and "| +23.4 %* |" in text and "unknown model 'D'" in text
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("width", [80, 100, 160])
def test_terminal(width, small, capsys):
    """Every method's name and every figure is there in full, however wide the terminal."""
    folder, options = small
    board = read_board(str(folder / "board.yaml")).narrow(**options)
    shown = standings(board)[0]
    console = Console(width=width)
    for table in terminal(shown, "Title", width):
        console.print(table)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width and "…" not in "".join(lines)
    blocks = len(terminal(shown, "Title", width))
    assert blocks == {80: 2, 100: 1, 160: 1}[width]
    for line in shown.lines:
        found = [text for text in lines if text.startswith(line.method.name.split()[0])]
        assert len([text for text in found if "over the best other" not in text]) >= blocks
    for cell in (cell for line in shown.lines for cell in line.cells.values()):
        assert any(interval(cell) in text for text in lines)


@pytest.mark.slow
def test_intervals_do_not_depend_on_the_other_methods(small):
    folder, options = small
    board = read_board(str(folder / "board.yaml")).narrow(**options)
    every, alone = standings(board)[0].lines[1], standings(board.narrow(methods=["Swing"]))[0].lines[0]
    assert every.method.name == alone.method.name and every.cells["HR@5"].low == alone.cells["HR@5"].low
    assert {name: cell.high for name, cell in every.cells.items()} == {n: c.high for n, c in alone.cells.items()}


def test_latex_of_unusual_names(section):
    section.lines[1].method = Method(name="C~{x}^$\\")
    assert "C\\textasciitilde{}\\{x\\}\\textasciicircum{}\\$\\textbackslash{} & " in latex([section], "T")


def test_latex(section):
    text = latex([section], "Title")
    assert "A\\_1 & \\textbf{.1234}" in text and "B \\& C & \\underline{.1000}" in text
    assert "\\textcolor{gray}{.9000 ($n$=12)}" in text and "+23.4\\%$^*$" in text
    assert text.count("\\begin{") == text.count("\\end{") and text.count("{") == text.count("}")
    assert {line.count(" & ") for line in text.splitlines() if line.endswith("\\\\")} <= {2, 3}  # 'B \\& C' has one


def test_csv(section):
    rows = list(csv.DictReader(comma_separated([section]).splitlines()))
    assert list(rows[0])[:6] == ["dataset", "method", "group", "metric", "n", "seeds"] and list(rows[0])[-1] == "note"
    assert len(rows) == 6 and rows[0]["mean"] == "0.1234" and rows[0]["significant"] == "1"
    assert rows[0]["method"] == "A_1" and rows[2]["sd"] == ""
    assert rows[3]["n"] == "12" and rows[3]["rank"] == "" and rows[5]["note"].startswith("not available")


@pytest.mark.slow
def test_page_is_self_contained(small, tmp_path):
    folder, options = small
    board = read_board(str(folder / "board.yaml")).narrow(**options)
    sections = standings(board)
    sections[0].lines[0].note = "</script><script>alert(1)</script>"
    next(iter(sections[0].lines[0].records.values())).result["config"]["valid_metric"] = "CandAcc"
    text = page(content(board, sections, tmp_path))
    assert not re.search(r"(src|href)=\"?http|@import|url\(", text)
    assert text.count("</script>") == 2 and "{{data}}" not in text
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])
    (shown,) = data["sections"]
    assert [method["name"] for method in shown["methods"]] == ["Pop", "Swing", "SASRec (both)"]
    assert shown["methods"][0]["note"].startswith("</script>")
    assert {"split", "window", "exclusion", "candidates", "normalisation"} <= {name for name, _ in shown["protocol"]}
    assert shown["valid_metrics"] == ["HR@5", "CandAcc"]  # curves of two metrics share no axis
    assert [method["valid_metric"] for method in shown["methods"]] == ["CandAcc", "HR@5", "HR@5"]
    assert dict(shown["protocol"])["model selection"].endswith("by HR@5; CandAcc (Pop)")
    for method in shown["methods"]:
        assert all((tmp_path / record["href"]).resolve().is_file() for record in method["records"])
        assert method["curves"] and method["cost"]["fit_s"] > 0


def pair(first, second, **facts) -> compare.Pair:
    n = len(first[0])
    fill = {name: np.arange(n) for name in records.FACTS}
    return compare.Pair(("A", "B"), "HR@5", np.array(first, float), np.array(second, float), fill | facts)


def test_wins_and_losses(tmp_path):
    both = pair([[1, 1, 0, 0, np.nan]], [[0, 1, 1, 0, 1]])
    cells = [list(column.cells) for column in compare.table(both).columns]
    assert [column[0] for column in cells[:7]] == ["all", "4", "1", "1", ".5000", ".5000", "+.0000"]
    compare.write(both, tmp_path / "all.csv")
    rows = list(csv.DictReader((tmp_path / "all.csv").open()))
    assert [row["winner"] for row in rows] == ["A", "", "B", ""]


def test_groups_cover_every_instance_once():
    values = np.array([1, 1, 1, 1, 1, 1, 2, 3, 50, 60])
    groups = compare.bins(values)
    assert sum(inside.astype(int) for _, inside in groups).tolist() == [1] * 10
    assert groups[0][0] == "1" and groups[-1][0].endswith("60")
    assert compare.bins(np.zeros(4, int))[0][0] == "0"


@pytest.mark.slow
def test_compare_methods_and_folders(small, tmp_path, capsys):
    folder, _ = small
    words = [f"--leaderboard={folder / 'board.yaml'}", f"--config_files={folder / 'options.yaml'}", "--metric=HR@5"]
    assert main(["compare", "Swing", "SASRec (both)", *words, f"--out={tmp_path / 'all.csv'}"]) == 0
    printed = capsys.readouterr().out
    for fact in ("user activity", "item popularity", "history length", "window size"):
        assert fact in printed
    assert (tmp_path / "all.csv").exists()
    folders = [str(next((folder / "saved" / "tiny").glob(f"{name}-*"))) for name in ("Pop", "ItemSwing")]
    assert main(["compare", *folders, "--metric=FHR@5"]) == 0
    assert main(["compare", *folders, "--metric=FHR@5", "--dataset=tiny"]) == 2
    assert "two folders need no 'dataset'" in capsys.readouterr().err
    assert main(["compare", "Pop", "Caser", *words]) == 2


@pytest.mark.slow
def test_methods_on_different_data_are_not_compared(small):
    folder, options = small
    board = read_board(str(folder / "board.yaml")).narrow(**options)
    record = standings(board)[0].lines[0].records[5]
    other = type(record)(record.folder, {**record.result, "data_fingerprint": "0"})
    with pytest.raises(UserError, match="different data"):
        compare.pair(("A", "B"), [record], [other], "HR@5")
    with pytest.raises(UserError, match="has no HR@50; it has HR@5"):
        compare.pair(("A", "B"), [record], [record], "HR@50")
