"""The commands about leaderboards: run one, compare two of its methods, publish its records."""

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field
from rich.console import Console

from recbole_conrec.cluster.choose import ClusterOptions, check, choose_executor, slurm_folder
from recbole_conrec.cluster.on_slurm import scripts
from recbole_conrec.leaderboard import compare, schedule
from recbole_conrec.leaderboard.board import Board, PlannedRun, combine, read_board
from recbole_conrec.leaderboard.board_options import Once, Seeds
from recbole_conrec.leaderboard.live import live_table
from recbole_conrec.leaderboard.publish import publish
from recbole_conrec.leaderboard.report import plan, write
from recbole_conrec.options.schema import Count, Options, Positive, Several, Text
from recbole_conrec.runs import published, records
from recbole_conrec.runs.checks import check_data
from recbole_conrec.runs.options import PlaceOptions
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.tables import one_line
from recbole_conrec.utils.yaml_files import read_yaml


def _separated(given: Any) -> Any:
    return [name.strip() for name in str(given).split(",")] if isinstance(given, str | int | float) else given


Names = Annotated[Several[Text], Field(min_length=1), Once, BeforeValidator(_separated)]


class NarrowingOptions(Options):
    """Which part of a leaderboard a command is about."""

    RENAMED: ClassVar[dict[str, str]] = {"rows": "methods"}

    methods: Names = ()
    """Some of the board's methods: a list, or names with commas between them; default: all."""
    seeds: Seeds = ()
    """A list of seeds, or how many of the board's (counted on if it has fewer); default: all of the board's."""
    dataset: Names = ()
    """Data sets in place of the board's own: a list, or names with commas between them."""
    records: Names = ()
    """Files of published records, used in place of runs: a list, or paths with commas between them."""


class LeaderboardOptions(ClusterOptions, NarrowingOptions):
    """Options of ``--leaderboard=NAME``."""

    leaderboard: Text
    """Name of a board of properties/leaderboard/, or path of a YAML."""
    dry_run: bool = False
    """Print what would run, and for how long."""
    commands: bool = False
    """With ``dry_run``: print one command for each run that is missing, and nothing else."""
    out: Text | None = None
    """Folder of the tables; default: results/NAME."""
    tune: bool = False
    """Search the options of every method first, by Optuna on the validation of the first seed (docs/search.md)."""
    trials: Count | None = None
    """With ``tune``: settings that are tried for each method and data set; null: 20, or as many as `minutes` allow."""
    minutes: Positive | None = None
    """With ``tune``: training time of each method's trials together, in minutes."""


class CompareOptions(Options):
    """Options of ``recbole-conrec compare A B``."""

    leaderboard: Text = "paper"
    """The board that has the two methods."""
    dataset: Text | None = None
    """The data set; default: the board's first."""
    seeds: Seeds = ()
    """A list of seeds, or how many of the board's; default: all of the board's."""
    records: Names = ()
    """Files of published records, used in place of runs: a list, or paths with commas between them."""
    metric: Text = "HR@20"
    """The metric that is compared."""
    out: Text | None = None
    """CSV file of every instance."""


class PublishOptions(NarrowingOptions):
    """Options of ``recbole-conrec publish``."""

    leaderboard: Text
    """The board whose records are written."""
    out: Text
    """Folder that gets the files, BOARD-DATASET.parquet."""


Tuner = Callable[[Board, LeaderboardOptions, Path, Callable[[str], None]], Board]


def run_board(files: list[str], options: dict[str, Any], console: Console, tuner: Tuner | None = None) -> int:
    """Run a leaderboard.

    Args:
        files: YAML files of options that hold for every method.
        options: those of :class:`LeaderboardOptions`; any other is an option of every method that reads it, stronger
            than the method's own.
        console: what is printed on.
        tuner: (board, options, folder of the tables, report) -> the board with options that it has searched.

    Returns the exit code: 0, or 1 if a method could not be run. Raises UserError for a mistake.
    """
    options = {"dry_run" if key == "dry-run" else key: value for key, value in options.items()}
    own, others = LeaderboardOptions.take(options)
    if own.commands and not own.dry_run:
        raise UserError("--commands prints what --dry-run would run; give --dry-run --commands")
    check(own)
    if own.tune and own.dry_run:
        raise UserError("--tune trains; leave --dry-run out, or list the runs of a tuned board when it is done")
    if (own.trials or own.minutes) and not own.tune:
        raise UserError("--trials and --minutes are budgets of a search; give --tune with them")
    board = _narrowed(own.leaderboard, own, files, others)
    out = Path(own.out or Path("results") / board.name)

    def report(text: str) -> None:
        text = one_line(text)  # names may hold line ends
        if own.commands:  # the output is a list of commands, and nothing else
            print(text, file=sys.stderr)
            return
        console.print(text, highlight=False, soft_wrap=True, markup=False)

    _check_data(board)
    if own.tune and tuner is not None:
        board = tuner(board, own, out, report)
    missing = schedule.missing(board.runs, report)
    if own.commands:
        for run in missing:
            print(shlex.join(schedule.command(run)))
        return 0
    if own.dry_run:
        console.print(plan(board, missing, own.jobs))
        for script in _scripts(own, missing):
            print(script)
        return 0
    failed = _execute(own, missing, report, console) if missing else {}
    written = write(board, out, console)
    report(f"written to {', '.join(map(str, written))}")
    absent = {run.method.name: run.unavailable for run in board.runs if run.unavailable}
    for method, why in absent.items():
        report(f"{method}: not available: {why}")
    for run, why in failed.items():
        report(f"{run}: failed: {why}")
    return 1 if failed or absent else 0


def _execute(
    own: LeaderboardOptions, missing: list[PlannedRun], report: Callable[[str], None], console: Console
) -> dict[PlannedRun, str]:
    """Run what is missing; returns {run: why it failed}."""
    executor = choose_executor(own, _saved(missing), report)
    with live_table(console, wanted=own.cluster is not None or own.jobs > 1) as watch:
        return schedule.execute(missing, executor, report, watch)


def _scripts(own: LeaderboardOptions, missing: list[PlannedRun]) -> list[str]:
    """What Slurm would get."""
    if own.cluster != "slurm" or not missing:
        return []
    tasks = [schedule.task_of(run, quiet=True) for run in missing]
    return scripts(tasks, own.slurm_options(), slurm_folder(_saved(missing)))


def _saved(runs: list[PlannedRun]) -> Path:
    return Path(PlaceOptions.of(runs[0].config).checkpoint_dir).absolute()


def run_compare(names: list[str], files: list[str], options: dict[str, Any], console: Console) -> int:
    """Compare two methods of a board, or the runs in two folders.

    Args:
        names: two methods of the board, or two folders with a record.
        files: as for :func:`run_board`.
        options: those of :class:`CompareOptions`; any other as when the board was run.
        console: what is printed on.

    Returns 0. Raises UserError for a mistake, or a method without records.
    """
    own, others = CompareOptions.take(options, "compare")
    first, second = names
    if all((Path(name) / records.RESULT).exists() for name in names):
        if useless := [*(own.model_fields_set - {"metric", "out"}), *files, *others]:
            raise UserError(f"compare: two folders need no '{useless[0]}'; remove it, or name two methods of a board")
        both = compare.from_folders((first, second), own.metric)
    else:
        board = replace(read_board(own.leaderboard), published=_published(own.records))
        dataset = own.dataset or board.datasets[0]
        board = board.narrow(datasets=[dataset], seeds=own.seeds, **_run_options(files, others))
        both = compare.from_board(board, (first, second), dataset, own.metric)
    console.print(compare.table(both))
    if own.out:
        compare.write(both, Path(own.out))
        console.print(f"every instance: {own.out}", highlight=False, soft_wrap=True)
    return 0


def run_publish(files: list[str], options: dict[str, Any], console: Console) -> int:
    """Write a board's records, without what may not be passed on, into one file for each data set.

    Args:
        files: as for :func:`run_board`.
        options: those of :class:`PublishOptions`; any other as when the board was run.
        console: what is printed on.

    Returns 0. Raises UserError for a mistake, or a board without records.
    """
    own, others = PublishOptions.take(options, "publish")
    board = _narrowed(own.leaderboard, own, files, others)
    written, count = publish(board, Path(own.out))
    console.print(
        f"{count} of {len(board.runs)} records: {', '.join(map(str, written))}", highlight=False, soft_wrap=True
    )
    return 0


def narrowed(name: str, files: list[str], options: dict[str, Any]) -> Board:
    """The board, with the methods, seeds, data sets and options of a command line. Raises UserError for a mistake."""
    own, others = NarrowingOptions.take(options)
    return _narrowed(name, own, files, others)


def _narrowed(name: str, own: NarrowingOptions, files: list[str], others: dict[str, Any]) -> Board:
    above = _run_options(files, others)
    board = replace(read_board(name), published=_published(own.records))
    return board.narrow(methods=own.methods, seeds=own.seeds, datasets=own.dataset, **above)


def _published(files: Sequence[str]) -> dict[str, records.Record]:
    return {identity: record for file in files for identity, record in published.read(Path(file)).items()}


def _run_options(files: list[str], options: dict[str, Any]) -> dict[str, Any]:
    """The user's options of runs, which go over a board's. Raises UserError for a key of a board's YAML."""
    given = combine(*(read_yaml(file) for file in files), options)
    if key := next((key for key in ("datasets", "methods", "rows", "seeds") if key in given), None):
        raise UserError(
            f"'{key}' is a key of a board's YAML; the command line narrows a board by --dataset=A,B, "
            "--methods=A,B and --seeds=3"
        )
    return given


def _check_data(board: Board) -> None:
    """Raise UserError for a data set without files, rather than let every one of its runs fail."""
    for dataset in board.datasets:
        run = next((run for run in board.runs if run.dataset == dataset and not run.unavailable), None)
        if run:
            check_data(run.config)
