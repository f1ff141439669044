"""A board whose methods are searched first: the same budget for each, and a board of what was found."""

from pathlib import Path

import pytest
from rich.console import Console

from recbole_conrec.leaderboard.board import read_board
from recbole_conrec.leaderboard.commands import LeaderboardOptions, run_board
from recbole_conrec.runs.validate import Validated
from recbole_conrec.study.tuning_board import tuned
from recbole_conrec.utils.errors import UserError


@pytest.mark.slow
def test_every_method_gets_the_same_trials(small, tmp_path, monkeypatch):
    folder, options = small
    calls = []

    def known(model, dataset, files, given, listeners):
        calls.append((model, given["seed"], given))
        return Validated("HR@5", given.get("learning_rate", given.get("swing.theta")), 1, 1.0, 5, Path("there"))

    monkeypatch.setattr("recbole_conrec.study.trial.validate", known)
    board = read_board(str(folder / "board.yaml")).narrow(**{**options, "checkpoint_dir": str(tmp_path / "saved")})
    lines = []
    found = tuned(board, LeaderboardOptions(leaderboard="x", trials=4), tmp_path, lines.append)
    assert {model: [one[0] for one in calls].count(model) for model in ("Pop", "ItemSwing", "SASRec")} == {
        "Pop": 0,
        "ItemSwing": 4,
        "SASRec": 4,
    }
    assert {seed for _, seed, _ in calls} == {5} and any("Pop on tiny, seed 5: not searched" in line for line in lines)
    assert [method.search for method in found.methods] == [0, 4, 4]
    best = max(given["learning_rate"] for model, _, given in calls if model == "SASRec")
    for run in found.runs:
        if run.method.model == "SASRec":
            assert run.options["learning_rate"] == best and run.options["context"] == "both"
    # the board that is written has the same runs, and says how many settings were tried
    again = read_board(str(tmp_path / "tuned-tiny.yaml"))
    assert [run.identity for run in again.runs] == [run.identity for run in found.runs]
    assert [method.search for method in again.methods] == [0, 4, 4] and again.improvement == board.improvement
    pages = {file.name for file in (tmp_path / "tune").iterdir()}
    assert pages == {"Swing-tiny.html", "SASRec_both_-tiny.html"}


@pytest.mark.parametrize(
    "given, words",
    [
        ({"trials": 3}, "give --tune with them"),
        ({"tune": True, "dry_run": True}, "leave --dry-run out"),
    ],
)
def test_mistakes_are_named(small, given, words):
    folder, options = small
    with pytest.raises(UserError, match=words):
        run_board([], {"leaderboard": str(folder / "board.yaml"), **options, **given}, Console())
