"""All runs of a board in one table, while they run."""

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.live import Live
from rich.table import Table

from recbole_conrec.cluster.task import State
from recbole_conrec.evaluation.table import seconds
from recbole_conrec.leaderboard.board import PlannedRun
from recbole_conrec.utils.tables import one_line, plain

Watch = Callable[[list[PlannedRun], dict[PlannedRun, State]], None]


@contextlib.contextmanager
def live_table(console: Console, wanted: bool) -> Iterator[Watch]:
    """Inside, a table below the printed lines that follows the runs.

    Args:
        wanted: whether there is to be one; never where the output is no terminal.

    Yields the function that gets the waiting runs and what the others are doing.
    """
    if not (wanted and console.is_terminal):
        yield lambda waiting, running: None
        return
    with Live(console=console, refresh_per_second=2, transient=True) as live:
        yield lambda waiting, running: live.update(table(waiting, running, console.height))


def table(waiting: list[PlannedRun], running: dict[PlannedRun, State], height: int) -> Table:
    """One line for each run that was started, at most what a screen of this height holds, and how many wait."""
    out = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), caption_justify="left", caption_style="dim")
    for column in ("method", "data set", "seed", "where", "for", "doing"):
        out.add_column(column, no_wrap=True, justify="right" if column in ("seed", "for") else "left")
    queued = [run for run, state in running.items() if state.since is None]
    going = [(run, state) for run, state in running.items() if state.since is not None]
    for run, state in going[: max(3, height - 6)]:
        took = seconds(time.time() - (state.since or time.time()))
        words = plain(one_line(state.note)), plain(state.where)
        out.add_row(plain(run.method.name), plain(run.dataset), str(run.seed), words[1], took, words[0])
    hidden = len(going) - len(out.rows)
    more = [f"{hidden} more are running"] if hidden else []
    out.caption = ", ".join([*more, f"{len(waiting) + len(queued)} are waiting"])
    return out
