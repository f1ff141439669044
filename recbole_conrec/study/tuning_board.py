"""A leaderboard whose methods are searched first, all with the same budget."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import yaml

from recbole_conrec.leaderboard.board import Board, PlannedRun
from recbole_conrec.leaderboard.commands import LeaderboardOptions
from recbole_conrec.utils.files import write_text

MOST = 10**6  # trials, where minutes are the budget


def tuned(board: Board, own: LeaderboardOptions, out: Path, report: Callable[[str], None]) -> Board:
    """The board with the best options of each method that has a search, by the validation of the first seed.

    Searches of earlier calls count. A page of each search, and a board of what was found, `tuned-DATASET.yaml`, which
    `compare` and `publish` take, are written to ``out``.
    """
    from recbole_conrec.study import tuning_report  # with optuna, which takes seconds to import
    from recbole_conrec.study.tuning import TuneOptions, has_space, tune

    found, tried = {}, {method.name: 0 for method in board.methods}
    first = [run for run in board.runs if run.seed == board.seeds[0] and not run.unavailable]
    for run in first:
        method = run.method
        if method.launch or not has_space(method.model, method.model_class, method.space):
            report(f"{run}: not searched, as {'it is launched' if method.launch else 'it has no search'}")
            continue
        trials = own.trials or (MOST if own.minutes else 20)
        options = TuneOptions(
            model=method.model,
            dataset=run.dataset,
            trials=trials,
            minutes=own.minutes,
            jobs=own.jobs,
            space=method.space,
        )
        search = tune(options, options=run.options)
        tuning_report.write(search, out / "tune", method.name)
        found[run.dataset, method.name] = search.points[0].options
        tried[method.name] = max(tried[method.name], search.trials)
        report(f"{run}: {tuning_report.summary(search)}: {tuning_report.command(search)}")
    methods = tuple(method.model_copy(update={"search": tried[method.name]}) for method in board.methods)
    board = replace(board, methods=methods, tuned=found)
    for dataset in board.datasets:
        report(f"written to {_write(board, dataset, out)}")
    return board


def _write(board: Board, dataset: str, out: Path) -> Path:
    """The board of one data set as a YAML of its own."""
    runs = [run for run in board.runs if run.dataset == dataset and run.seed == board.seeds[0]]
    content = {
        "title": board.title,
        "datasets": [dataset],
        "seeds": list(board.seeds),
        "metrics": list(board.metrics),
        "topk": list(board.topk),
        "improvement": board.improvement,
        "compare_references": board.compare_references,
        "methods": [_entry(board, run) for run in runs],
    }
    file = out / f"tuned-{dataset}.yaml"
    write_text(file, yaml.safe_dump(content, sort_keys=False))
    return file


def _entry(board: Board, run: PlannedRun) -> dict:
    """A method with all options of its runs but those that a board gives to every run."""
    ours = {"seed", "model_class", *board.options}
    options = {key: value for key, value in run.options.items() if key not in ours}
    return {**run.method.model_dump(mode="json", exclude_defaults=True), "options": options}
