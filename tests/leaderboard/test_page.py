"""The board's page: what it shows beside the table, and that names and notes are text in it, whatever they contain."""

import itertools
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from browser import HOSTILE, Parsed, assert_only_text, opened

from recbole_conrec.leaderboard.board import read_board
from recbole_conrec.leaderboard.board_options import Method
from recbole_conrec.leaderboard.distribution import BINS, distributions
from recbole_conrec.leaderboard.page import content, page
from recbole_conrec.leaderboard.section import Line, Section
from recbole_conrec.leaderboard.standings import standings

STAGES = [{"name": "align", "valid": 0.1, "alignment": 0.6}, {"name": HOSTILE, "valid": 0.2, "alignment": 0.5}]


@pytest.fixture
def hostile(small, tmp_path):
    """The page of the small board, in which whatever a user can name contains markup."""
    folder, options = small
    board = read_board(str(folder / "board.yaml")).narrow(**options)
    sections = standings(board)
    first = sections[0].lines[0]
    first.method, first.note = Method(name=HOSTILE), HOSTILE
    for record in first.records.values():
        record.result["stages"] = STAGES
    file = tmp_path / "board.html"
    file.write_text(page(content(replace(board, title=HOSTILE), [replace(sections[0], dataset=HOSTILE)], tmp_path)))
    return file


@pytest.mark.slow
def test_names_are_text_to_a_parser(hostile):
    shown = Parsed(hostile.read_text(encoding="utf-8"))
    assert shown.tags.count("script") == 2 and "img" not in shown.tags
    assert not [name for name, _ in shown.attributes if name.startswith("on")]
    assert shown.text.strip() == ""  # all of it comes from the data


@pytest.mark.slow
def test_names_are_text_in_a_browser(hostile):
    shown = opened(hostile)
    assert_only_text(shown, least=5)  # the title, the data set, the method, its note, its stage
    assert shown.tags.count("script") == 2
    heads = ("After each stage", "Quality and cost", "Pareto front: ", "By user", "Protocol")
    assert all(head in shown.text for head in heads)
    assert shown.tags.count("svg") == 4 and shown.tags.count("table") == 2


@pytest.mark.slow
def test_the_data_has_stages_and_directions(hostile):
    text = hostile.read_text(encoding="utf-8")
    (section,) = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])["sections"]
    assert section["stages"]["names"] == ["align", HOSTILE] and section["smaller"] == []
    assert section["stages"]["rows"][1] == [HOSTILE, "alignment", {"align": ".6000", HOSTILE: ".5000"}]
    assert set(section["distributions"]["HR@5"]["methods"]) == {method["name"] for method in section["methods"]}


def test_distributions_are_those_of_a_loop():
    random = np.random.default_rng(0)
    user = random.integers(1, 12, 60)
    values = random.integers(-1, 3, (2, 60)).astype(float)
    values[:, random.random(60) < 0.3] = np.nan
    lines = [Line(Method(name="A"), outcomes={"DeltaHR@5": values}), Line(Method(name="B"))]
    found = distributions(Section("d", ["DeltaHR@5", "HR@5"], lines, {}, "", {}, user=user))
    assert list(found) == ["DeltaHR@5"] and list(found["DeltaHR@5"]["methods"]) == ["A"]
    means = []
    for one in sorted(set(user.tolist())):
        mine = [float(values[:, n].mean()) for n in range(60) if user[n] == one and not np.isnan(values[0, n])]
        means += [sum(mine) / len(mine)] if mine else []
    edges, shown = found["DeltaHR@5"]["edges"], found["DeltaHR@5"]["methods"]["A"]
    assert edges[0] == min(*means, 0) and edges[-1] == pytest.approx(max(means))
    inside = [
        sum(low <= mean < high or (n == BINS - 1 and mean >= high) for mean in means)
        for n, (low, high) in enumerate(itertools.pairwise(edges))
    ]
    assert shown["counts"] == inside and sum(inside) == shown["users"] == len(means)
    assert shown["mean"] == pytest.approx(np.mean(means)) and shown["zero"] == means.count(0.0)


def test_without_runs_or_with_equal_users_it_is_empty_or_one_bar():
    line = Line(Method(name="A"), outcomes={"HR@5": np.zeros((1, 3))})
    assert distributions(Section("d", ["HR@5"], [line], {}, "", {})) == {}
    found = distributions(Section("d", ["HR@5"], [line], {}, "", {}, user=np.array([1, 2, 2])))["HR@5"]
    assert found["methods"]["A"]["counts"] == [2] + [0] * (BINS - 1) and found["edges"][-1] == 1
