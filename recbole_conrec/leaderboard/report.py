"""What a leaderboard's command prints and writes: the plan of its runs, and its tables."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from recbole_conrec.evaluation.table import seconds
from recbole_conrec.leaderboard import schedule, stages, tables
from recbole_conrec.leaderboard.board import Board, PlannedRun
from recbole_conrec.leaderboard.latex import latex
from recbole_conrec.leaderboard.markdown import markdown
from recbole_conrec.leaderboard.page import content, page
from recbole_conrec.leaderboard.sheet import comma_separated
from recbole_conrec.leaderboard.standings import standings
from recbole_conrec.utils.files import write_text
from recbole_conrec.utils.tables import plain


def write(board: Board, folder: Path, console: Console) -> list[Path]:
    """Print a board's tables and write them into a folder as board.html, .json, .md, .tex and .csv.

    Returns the files.
    """
    sections = standings(board)
    for section in sections:
        for table in tables.terminal(section, board.title, console.width):
            console.print(table)
            console.print()
        for text in (tables.key(section), *tables.above(section)):
            console.print(plain(text, "dim"))
            console.print()
        if after := stages.terminal(section):
            console.print(after)
            console.print()
    texts = [markdown(sections, board.title), *filter(None, map(stages.markdown, sections))]
    data = content(board, sections, folder)
    files = {
        "html": page(data),
        "json": data,
        "md": "\n".join(texts),
        "tex": latex(sections, board.title),
        "csv": comma_separated(sections),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for ending, text in files.items():
        write_text(folder / f"board.{ending}", text)
    return [folder / f"board.{ending}" for ending in files]


def plan(board: Board, missing: list[PlannedRun], jobs: int) -> Table:
    """What is to be run, and how long it will take.

    Args:
        board: the whole board.
        missing: the board's runs without a record.
        jobs: runs at a time.
    """
    expected = schedule.expected_seconds(missing)
    table = Table(
        title=plain(f"{board.title}: {len(missing)} of {len(board.runs)} runs to do", "italic"),
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        caption_justify="left",
    )
    for column in ("data set", "method", "seeds to run"):
        table.add_column(column)
    for column in ("each", "together"):
        table.add_column(column, justify="right")
    for dataset in board.datasets:
        for method in board.methods:
            mine = [run for run in board.runs if run.method is method and run.dataset == dataset]
            left = [run for run in missing if run in mine]
            each = expected[left[0]] if left else None
            seeds = "not available" if mine[0].unavailable else ", ".join(str(run.seed) for run in left) or "recorded"
            times = ["?" if left else "", ""] if each is None else [_about(each), _about(each * len(left))]
            table.add_row(plain(dataset), plain(method.name), seeds, *times)
    total = sum(time or 0 for time in expected.values()) / jobs
    unknown = len({run.method.name for run in missing if expected[run] is None})
    table.caption = (
        "; ".join(
            [
                *([f"about {_about(total)} with {jobs} process{'es' if jobs > 1 else ''}"] if total else []),
                *([f"{unknown} method{'s' if unknown > 1 else ''} of unknown time"] if unknown else []),
                *(
                    ["from earlier runs with the same options on the same data, else the board's guess"]
                    if total
                    else []
                ),
            ]
        )
        if missing
        else "nothing to do"
    )
    return table


def _about(time: float) -> str:
    """A duration that is only an estimate."""
    return seconds(time) if time >= 1 else "<1s"
