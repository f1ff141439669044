"""Records for others: without rows of the data, which may rarely be passed on, and without paths."""

from pathlib import Path

from recbole_conrec.leaderboard.board import Board
from recbole_conrec.runs import records
from recbole_conrec.runs.records import WHERE
from recbole_conrec.utils.errors import UserError

ROWS_OF_DATA = ("item", "t0")  # with the user's number they would be rows of the data set


def publish(board: Board, out: Path) -> list[Path]:
    """Copy a board's records to ``out/DATASET/MODEL-HASH/``.

    The copies lack the items and times of instances and the options that say where to run. In a ``checkpoint_dir`` they
    appear in tables and comparisons like any other record.

    Returns the folders written. Raises UserError if the board has no record.
    """
    written = []
    for run in board.runs:
        record = None if run.unavailable else records.read(run.folder, run.identity)[0]
        if record is None:
            continue
        folder = out / run.folder.parent.name / run.folder.name
        folder.mkdir(parents=True, exist_ok=True)
        config = {key: value for key, value in record.result["config"].items() if key not in WHERE}
        facts = {name: values for name, values in record.facts().items() if name not in ROWS_OF_DATA}
        records.write(folder, {**record.result, "config": config}, facts, record.outcomes())
        written.append(folder)
    if not written:
        raise UserError(
            f"publish: '{board.name}' has no record on {', '.join(board.datasets)}; run it first, with the same options"
        )
    return written
