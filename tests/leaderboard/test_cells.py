"""Ranks, tests, marks and references of a table, from outcomes made by hand."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from recbole_conrec.leaderboard import cells, tables
from recbole_conrec.leaderboard.board import read_board
from recbole_conrec.leaderboard.board_options import Method
from recbole_conrec.leaderboard.latex import latex
from recbole_conrec.leaderboard.markdown import markdown
from recbole_conrec.leaderboard.page import content
from recbole_conrec.leaderboard.section import Line, Section
from recbole_conrec.leaderboard.sheet import comma_separated
from recbole_conrec.leaderboard.standings import _improvement, _rising
from recbole_conrec.utils.errors import UserError

N = 300
EVERY = np.arange(N)


def lines(references=(), fixed=(), target="", compare=False, column="HR@5", **outcomes) -> dict[str, Line]:
    """Filled lines by name. outcomes: name -> a list of outcomes for each seed."""
    made = {}
    for name, values in outcomes.items():
        group = {"group": "references"} if name in references else {}
        method = Method(name=name, deterministic=name in fixed, **group)
        made[name] = Line(method, outcomes={column: np.array(values, dtype=float)})
    size = len(next(iter(made.values())).outcomes[column][0])
    cells.fill(list(made.values()), [column], np.arange(size), target, compare)
    return made


def share(percent: int, seeds: int = 5, shift: int = 0) -> list[np.ndarray]:
    """Outcomes that are 1 for this share of the instances, of a few other ones with each seed."""
    return [(EVERY * 7 + seed + shift) % 100 < percent for seed in range(seeds)]


def cell(line: Line):
    return next(iter(line.cells.values()))


def test_best_second_and_mark():
    made = lines(a=share(20), b=share(60), c=share(59, shift=37))
    assert [cell(made[name]).rank for name in "abc"] == [0, 1, 2]
    assert not cell(made["b"]).marked  # c is too close
    assert cell(made["b"]).versus == "c" and cell(made["a"]).versus == "b"
    assert cell(made["a"]).holds and not cell(made["a"]).marked  # worse is no merit
    assert cell(made["a"]).gap == pytest.approx(-0.4) and cell(made["a"]).gap_high < 0
    assert cell(lines(a=share(20), b=share(60))["b"]).marked


def test_one_seed_is_no_claim():
    made = lines(a=share(10, 1), b=share(90))
    for line in made.values():
        assert cell(line).p is None and not cell(line).marked and cell(line).versus
    assert not cell(made["a"]).over_seeds and cell(made["b"]).over_seeds
    section = Section("d", ["HR@5"], list(made.values()), {}, "", {"HR@5": N})
    assert "one seed, no claim" in tables.key(section)
    text = markdown([section], "T")
    low, high = tables.figure(cell(made["a"]).low), tables.figure(cell(made["a"]).high)
    assert f"({low}, {high})" in text and f"[{low}, {high}]" not in text
    rows = comma_separated([section]).splitlines()
    assert ",users," in rows[1] and ",users and seeds," in rows[2]
    assert "one seed, no claim" not in tables.key(Section("d", ["HR@5"], [made["b"]], {}, "", {}))


def test_a_method_without_randomness_needs_one_run():
    made = lines(fixed=["a"], a=share(10, 1), b=share(90))
    assert cell(made["b"]).marked and cell(made["a"]).over_seeds
    assert Method(name="a", deterministic=True).seeds == 1 and Method(name="a").seeds is None


def test_mean_deviation_and_users():
    values = [[1, 0, 0, 0], [1, 1, 1, 0]]
    made = Line(Method(name="a"), outcomes={"HR@5": np.array(values, float)})
    cells.fill([made], ["HR@5"], np.array([1, 1, 1, 2]))
    found = cell(made)
    assert found.mean == 0.5 and found.sd == pytest.approx(np.std([0.25, 0.75], ddof=1))
    assert found.macro == pytest.approx((2 / 3 + 0) / 2) and found.users == 2
    assert found.effective == pytest.approx(16 / 10)


def test_few_instances_are_never_best():
    made = lines(a=[[1.0] * 29 + [np.nan] * 10], b=[[0.0, 1.0] * 19 + [0.0]], c=[[0.0] * 38 + [1.0]])
    assert cell(made["a"]).few and cell(made["a"]).rank == 0 and cell(made["a"]).p is None
    assert cell(made["b"]).rank == 1 and cell(made["b"]).versus == "c"


def test_smaller_may_be_better():
    made = lines(column="LikeHR@5", references=["r"], a=share(20), b=share(60), r=share(5))
    assert cell(made["a"]).rank == 1 and cell(made["a"]).marked and cell(made["r"]).gap < 0
    assert cells.above(list(made.values()), ["LikeHR@5"]) == {"r": ["LikeHR@5"]}


# -- references ------------------------------------------------------------------------------------------------------
def table_of(made: dict[str, Line], target: str) -> Section:
    every = sorted(made.values(), key=lambda line: line.method.group is not None)
    found = Section("d", ["HR@5"], every, _improvement(every, target, False), target, {"HR@5": N})
    found.above = cells.above(every, ["HR@5"])
    return found


def test_references_stand_apart_and_are_named_where_they_are_above():
    made = lines(references=["r", "s"], target="b", r=share(90), a=share(20), b=share(60), s=share(5))
    assert [cell(made[name]).rank for name in "abrs"] == [2, 1, 0, 0] and cell(made["b"]).versus == "a"
    assert cell(made["r"]).versus == "b" and cell(made["r"]).holds
    section = table_of(made, "b")
    assert section.improvement["HR@5"] == (pytest.approx(0.6 / 0.2 - 1), True)
    assert tables.above(section) == ["the reference r is above b in HR@5 (+.3000*)"]
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(tables.terminal(section, "T", 100)[0])
    shown = [row.split()[0] for row in console.export_text().splitlines() if row[:1].strip()]
    assert [word for word in shown if word in {"a", "b", "r", "s", "references"}][:5] == [
        "a",
        "b",
        "references",
        "r",
        "s",
    ]
    text = markdown([section], "T")
    assert text.index("| b ") < text.index("| *references* ") < text.index("| r ") and "r is above b" in text
    assert "\\multicolumn{2}{l}{\\textit{references}}" in latex([section], "T")
    assert [row.split(",")[1:3] for row in comma_separated([section]).splitlines()[3:]] == [
        ["r", "references"],
        ["s", "references"],
    ]


def test_references_are_compared_with_the_best_where_no_method_is_named():
    made = lines(references=["r"], r=share(90), a=share(20), b=share(60))
    assert cell(made["r"]).versus == "b"


def test_a_board_may_compare_references_as_methods():
    made = lines(references=["r"], compare=True, target="b", r=share(90), a=share(20), b=share(60))
    assert cell(made["r"]).rank == 1 and cell(made["b"]).versus == "r" and cell(made["b"]).rank == 2
    every = list(made.values())
    assert _improvement(every, "b", True)["HR@5"][0] < 0 < _improvement(every, "b", False)["HR@5"][0]


def test_groups_are_read_from_the_yaml(tmp_path):
    file = tmp_path / "mine.yaml"
    text = "datasets: [tiny]\ncompare_references: true\nmethods: [SASRec, {name: Pop, group: GROUP}]\n"
    file.write_text(text.replace("GROUP", "references"))
    board = read_board(str(file))
    assert board.compare_references and [method.group for method in board.methods] == [None, "references"]
    file.write_text(text.replace("GROUP", "reference"))
    with pytest.raises(UserError, match="group: 'reference'; expected references or null"):
        read_board(str(file))


# -- training that ended too early, and searches ---------------------------------------------------------------------
def looks(*values) -> list[dict]:
    return [{"valid": value} for value in values]


@pytest.mark.parametrize(
    ("curve", "stages", "rising"),
    [
        (looks(0.1, 0.2, 0.3), [], [""]),
        (looks(0.1, 0.3, 0.2), [], []),
        (looks(0.1, 0.3, 0.3), [], []),  # no better than before
        (looks(0.3), [], []),
        ([], [{"name": "a", "validation": looks(0.1, 0.2)}, {"name": "b", "validation": looks(0.2, 0.1)}], ["a"]),
        ([], [{"name": "a", "valid": 0.1}], []),
        (looks(0.1, None, 0.2), [], [""]),
    ],
)
def test_a_run_that_was_best_at_its_last_look_is_still_rising(curve, stages, rising):
    assert _rising({"curve": curve, "stages": stages}) == rising


def test_the_mark_is_in_every_output(tmp_path):
    made = lines(a=share(20), b=share(60))
    made["a"].rising = {"warm-up": [1]}
    section = Section("d", ["HR@5"], list(made.values()), {}, "", {"HR@5": N})
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(tables.terminal(section, "T", 100)[0])
    for text in (
        console.export_text(),
        markdown([section], "T"),
        content(SimpleNamespace(title="T"), [section], tmp_path),
    ):
        assert "a ↑" in text.replace("\\u2191", "↑") and "last look of warm-up" in " ".join(text.split())
    assert "a $\\uparrow$" in latex([section], "T") and "last look of warm-up with seed 1" in latex([section], "T")
    row = comma_separated([section]).splitlines()[1]
    assert "still rising at the last look of warm-up" in row and ",1," in row
    assert "↑ still rising" in tables.key(section)


def test_the_sizes_of_searches_are_printed():
    methods = [Method(name="SASRec"), Method(name="Caser"), Method(name="Pop"), Method(name="CoNRec", search=25)]
    section = Section("d", [], [Line(method) for method in methods], {}, "", {})
    assert tables.searches(section) == "options searched on validation: 3 points each; Pop 0; CoNRec 25"
    assert tables.searches(section) in tables.key(section)
