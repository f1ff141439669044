"""What a board prints is not what its runs measure: other columns come from the records that are there."""

import csv

import numpy as np
import pytest

from recbole_conrec.leaderboard.board import read_board
from recbole_conrec.leaderboard.standings import standings
from recbole_conrec.runs import records
from recbole_conrec.utils.errors import UserError

NEW = ["HR", "LikeHR", "DeltaHR", "AUCLike", "ItemCoverage", "GiniIndex"]


@pytest.fixture(scope="module")
def narrowed(small):
    """Function (**options) -> the small board with them."""
    folder, options = small
    return lambda **more: read_board(str(folder / "board.yaml")).narrow(**options, **more)


@pytest.mark.slow
def test_other_columns_and_places_are_those_of_the_same_runs(narrowed):
    before, after = narrowed(), narrowed(metrics=NEW, topk=[10, 20])
    assert [run.identity for run in after.runs] == [run.identity for run in before.runs]
    assert before.columns == ["HR@5", "FHR@5", "LUF@5", "LIF@5", "CandAcc"]
    assert after.columns[:5] == ["HR@10", "HR@20", "LikeHR@10", "LikeHR@20", "DeltaHR@10"]
    assert after.columns[-5:] == ["AUCLike", "ItemCoverage@10", "ItemCoverage@20", "GiniIndex@10", "GiniIndex@20"]
    assert all(run.config["topk"] == [5, 10, 20] for run in before.runs)
    assert narrowed(topk=7).runs[0].config["topk"] == [5, 7, 10, 20]  # which no record has
    with pytest.raises(UserError, match="topk"):
        narrowed(topk="five")
    with pytest.raises(UserError, match="metrics: 'ItemCoverag' is unknown; did you mean 'ItemCoverage'"):
        narrowed(metrics=["ItemCoverag"])


@pytest.mark.slow
def test_figures_are_those_of_the_records(narrowed):
    board = narrowed(metrics=NEW, topk=[10])
    (section,) = standings(board)
    for line in section.lines:
        found = [records.read(run.folder, run.identity)[0] for run in board.runs if run.method is line.method]
        for column in board.columns:
            values = [record.result["metrics"][column]["value"] for record in found]
            assert line.cells[column].mean == pytest.approx(np.mean(values))
            assert line.cells[column].n == found[0].result["metrics"][column]["n"]


@pytest.mark.slow
def test_a_figure_of_all_lists_has_no_interval_and_no_rank(narrowed):
    (section,) = standings(narrowed(metrics=NEW, topk=[10]))
    for line in section.lines:
        for column in ("ItemCoverage@10", "GiniIndex@10"):
            cell = line.cells[column]
            assert cell.low is cell.high is cell.p is None and cell.rank == 0 and not cell.versus
    several = section.lines[2].cells["ItemCoverage@10"]
    assert several.sd is not None and section.lines[0].cells["ItemCoverage@10"].sd is None


@pytest.mark.slow
def test_the_smallest_share_of_likes_is_the_best(narrowed):
    (section,) = standings(narrowed(metrics=NEW, topk=[10]))
    cells = [line.cells["LikeHR@10"] for line in section.lines]
    assert min(cells, key=lambda cell: cell.mean).rank == 1 and len({cell.mean for cell in cells}) == 3
    best = [line.cells["HR@10"] for line in section.lines]
    assert max(best, key=lambda cell: cell.mean).rank == 1


@pytest.mark.slow
@pytest.mark.parametrize("metrics", [NEW, ["ItemCoverage"]])
def test_every_table_is_written(board, tmp_path, metrics):
    code, text = board(metrics=metrics)
    assert code == 0 and f"{metrics[-1]}@5" in text
    folder = tmp_path / "results"
    rows = list(csv.DictReader((folder / "board.csv").open()))
    alone = [row for row in rows if row["metric"] == "ItemCoverage@5"]
    assert len(alone) == 3 and all(row["mean"] and not row["low"] and not row["p_holm"] for row in alone)
    assert "nan" not in (folder / "board.md").read_text() and "None" not in (folder / "board.md").read_text()
    assert "ItemCoverage@5" in (folder / "board.tex").read_text()
    assert '"low": null' in (folder / "board.html").read_text()
