"""A board's records for others: one file for each data set, see :mod:`recbole_conrec.runs.published`."""

from pathlib import Path

from recbole_conrec.leaderboard.board import Board
from recbole_conrec.runs import published
from recbole_conrec.runs.records import Record
from recbole_conrec.utils.errors import UserError


def publish(board: Board, out: Path) -> tuple[list[Path], int]:
    """Write a board's records to ``out/BOARD-DATASET.parquet``.

    The files lack the items and times of instances and the options that say where to run. Given to a board by
    ``--records=FILE`` they appear in tables and comparisons like any other record.

    Returns (the files, how many records are in them). Raises UserError if the board has no record.
    """
    found: dict[str, list[tuple[str, Record]]] = {}
    for run in board.runs:
        record = None if run.unavailable else run.read()[0]
        if record is not None:
            found.setdefault(run.dataset, []).append((run.folder.name, record))
    if not found:
        raise UserError(
            f"publish: '{board.name}' has no record on {', '.join(board.datasets)}; run it first, with the same options"
        )
    files = []
    for dataset, records in found.items():
        files.append(out / f"{board.name}-{dataset}.parquet")
        published.write(files[-1], records)
    return files, sum(map(len, found.values()))
