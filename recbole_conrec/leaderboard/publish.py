"""Records to be passed on: without rows of the data, which are rarely anyone's to pass on, and without paths."""

from pathlib import Path

from recbole_conrec.leaderboard.board import Board
from recbole_conrec.runs import records
from recbole_conrec.runs.records import WHERE
from recbole_conrec.utils.errors import UserError

ROWS_OF_DATA = ("item", "t0")  # with the user's number they would be rows of the data set


def publish(board: Board, out: Path) -> list[Path]:
    """Copy a board's records to ``out/DATASET/ROW-HASH/``, less the items and times of instances and the options that
    say where to run. Copied into a ``checkpoint_dir``, they stand in tables and comparisons like any other record.

    Returns the folders written. Raises UserError if the board has no record.
    """
    written = []
    for task in board.tasks:
        record = None if task.unavailable else records.read(task.folder, task.identity)[0]
        if record is None:
            continue
        folder = out / task.folder.parent.name / task.folder.name
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
