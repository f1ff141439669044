"""The commands: ``--leaderboard=NAME`` plans or runs what is missing and writes the tables; ``compare A B``."""

import shlex
import sys
from pathlib import Path

from rich.table import Table

from recbole_conrec.evaluation.table import seconds
from recbole_conrec.leaderboard import compare, schedule, stages, tables
from recbole_conrec.leaderboard.board import Board, Task, combine, read_board
from recbole_conrec.leaderboard.page import page
from recbole_conrec.leaderboard.publish import publish
from recbole_conrec.leaderboard.standings import standings
from recbole_conrec.runs import records
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import write_text
from recbole_conrec.utils.yaml_files import read_yaml


def run_board(files: list[str], options: dict, console) -> int:
    """Run a leaderboard.

    Args:
        files: YAML files of options that hold for every row.
        options: ``leaderboard`` (name or YAML), ``rows``, ``seeds``, ``dataset``, ``jobs``, ``dry-run``, ``commands``,
            ``out`` (folder of the tables); anything else is an option for every row, stronger than the row's own.

    Returns the exit code: 0, or 1 if a row could not be run. Raises UserError for a mistake.
    """
    options = dict(options)
    name, jobs, out = options.pop("leaderboard"), options.pop("jobs", 1), options.pop("out", None)
    dry, commands = options.pop("dry-run", False), options.pop("commands", False)
    if not isinstance(jobs, int) or jobs < 1:
        raise UserError(f"--jobs={jobs}: expected a number of processes, 1 or more")
    if commands and not dry:
        raise UserError("--commands prints what --dry-run would run; say --dry-run --commands")
    board = narrowed(name, files, options)

    def say(text):
        if commands:  # the output is a list of commands, and nothing else
            print(text, file=sys.stderr)
            return
        console.print(text, highlight=False, soft_wrap=True, markup=False)

    _check_data(board)
    todo = schedule.missing(board.tasks, say)
    if commands:
        for task in todo:
            print(shlex.join(schedule.command(task)))
        return 0
    if dry:
        console.print(_plan(board, todo, jobs))
        return 0
    failed = schedule.execute(todo, jobs, say)
    written = write(board, Path(str(out or Path("results") / board.name)), console)
    say(f"written to {', '.join(map(str, written))}")
    absent = {task.row.name: task.unavailable for task in board.tasks if task.unavailable}
    for row, why in absent.items():
        say(f"{row}: not available: {why}")
    for task, why in failed.items():
        say(f"{task}: failed: {why}")
    return 1 if failed or absent else 0


def _check_data(board: Board) -> None:
    """Raise UserError for a data set without files, rather than let every one of its runs fail."""
    for dataset in board.datasets:
        task = next((task for task in board.tasks if task.dataset == dataset and not task.unavailable), None)
        file = Path(task.config["data_path"]) / f"{dataset}.inter" if task else None
        if file and not file.is_file():
            raise UserError(f"{file}: there is no such file; check `data_path` and the data set's name")


def run_compare(names: list[str], files: list[str], options: dict, console) -> int:
    """Compare two rows of a board, or two folders of records.

    Args:
        names: two rows of the board, or two folders with a record. files: as for :func:`run_board`.
        options: ``leaderboard`` (default paper), ``dataset`` (default the board's first), ``metric`` (default HR@20),
            ``out`` (CSV of every instance); anything else as when the board was run.

    Returns 0. Raises UserError for a mistake or a row without records.
    """
    options = dict(options)
    metric, out = options.pop("metric", "HR@20"), options.pop("out", None)
    if all((Path(name) / records.RESULT).exists() for name in names):
        found = []
        for name in names:
            record, why = records.read(Path(name))
            if record is None:
                raise UserError(why)
            found.append([record])
        both = compare.pair((names[0], names[1]), *found, metric)
    else:
        board = read_board(options.pop("leaderboard", "paper"))
        dataset = options.pop("dataset", board.datasets[0])
        board = board.narrow(datasets=[dataset], seeds=options.pop("seeds", None), **_overrides(files, options))
        both = compare.from_board(board, (names[0], names[1]), dataset, metric)
    console.print(compare.table(both))
    if out:
        compare.write(both, Path(str(out)))
        console.print(f"every instance: {out}", highlight=False, soft_wrap=True)
    return 0


def run_publish(files: list[str], options: dict, console) -> int:
    """Copy a board's records, fit to be passed on, into the folder ``out``. Options else as when the board was run."""
    options = dict(options)
    if "leaderboard" not in options or "out" not in options:
        raise UserError(
            "usage: recbole-conrec publish --leaderboard=NAME --out=FOLDER [--rows=A,B] [--seeds=3] [--dataset=NAME]"
        )
    name, out = options.pop("leaderboard"), Path(str(options.pop("out")))
    board = narrowed(name, files, options)
    written = publish(board, out)
    console.print(f"{len(written)} of {len(board.tasks)} records: {out}/", highlight=False, soft_wrap=True)
    return 0


def narrowed(name: str, files: list[str], options: dict) -> Board:
    """The board, with the rows, seeds, data sets and options of a command line; ``options`` is used up."""
    if empty := next((key for key in ("rows", "seeds", "dataset") if key in options and options[key] is None), None):
        raise UserError(f"--{empty}= says nothing; give a value, or leave it out for all of the board's")
    wanted = {
        ours: options.pop(key, None) for key, ours in (("rows", "rows"), ("seeds", "seeds"), ("dataset", "datasets"))
    }
    return read_board(name).narrow(**wanted, **_overrides(files, options))


def _overrides(files: list[str], options: dict) -> dict:
    """The user's options, which go over a board's. UserError for a key of the board's own."""
    given = combine(*(read_yaml(file) for file in files), options)
    if key := next((key for key in ("datasets", "rows", "seeds") if key in given), None):
        raise UserError(
            f"'{key}' is a key of a board's YAML; the command line narrows a board by --dataset=A,B, "
            "--rows=A,B and --seeds=3"
        )
    return given


def write(board: Board, folder: Path, console) -> list[Path]:
    """Print a board's tables and write them as board.html, .md, .tex and .csv. Returns the files."""
    sections = standings(board)
    for section in sections:
        for table in tables.terminal(section, board.title, console.width):
            console.print(table)
            console.print()
        console.print(tables.key(section), style="dim")
        console.print()
        if after := stages.terminal(section):
            console.print(after)
            console.print()
    markdown = [tables.markdown(sections, board.title), *filter(None, map(stages.markdown, sections))]
    texts = {
        "html": page(board, sections, folder),
        "md": "\n".join(markdown),
        "tex": tables.latex(sections, board.title),
        "csv": tables.comma_separated(sections),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for ending, text in texts.items():
        write_text(folder / f"board.{ending}", text)
    return [folder / f"board.{ending}" for ending in texts]


def _plan(board: Board, todo: list[Task], jobs: int) -> Table:
    expected = schedule.expected_seconds(todo)
    table = Table(
        title=f"{board.title}: {len(todo)} of {len(board.tasks)} runs to do",
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        caption_justify="left",
    )
    for column, justify in (
        ("data set", "left"),
        ("row", "left"),
        ("seeds to run", "left"),
        ("each", "right"),
        ("together", "right"),
    ):
        table.add_column(column, justify=justify)
    for dataset in board.datasets:
        for row in board.rows:
            mine = [task for task in board.tasks if task.row is row and task.dataset == dataset]
            left = [task for task in todo if task in mine]
            each = expected[left[0]] if left else None
            seeds = "not available" if mine[0].unavailable else ", ".join(str(task.seed) for task in left) or "recorded"
            table.add_row(
                dataset,
                row.name,
                seeds,
                seconds(each) if each else "" if not left else "?",
                seconds(each * len(left)) if each else "",
            )
    total = sum(time or 0 for time in expected.values()) / jobs
    unknown = len({task.row.name for task in todo if expected[task] is None})
    table.caption = (
        f"about {seconds(total)} with {jobs} process{'es' if jobs > 1 else ''}"
        + (f", and {unknown} rows of unknown time" if unknown else "")
        + "; from earlier runs of the same model on the same data, else the board's guess"
    )
    return table
