"""Where two methods differ: wins and losses by instance, along facts of the instances."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv
from rich import box
from rich.table import Table

from recbole_conrec.evaluation.table import FEW
from recbole_conrec.leaderboard import estimates
from recbole_conrec.leaderboard.board import Board
from recbole_conrec.leaderboard.section import Line
from recbole_conrec.leaderboard.tables import figure
from recbole_conrec.runs import records
from recbole_conrec.runs.records import Record
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import replacing
from recbole_conrec.utils.tables import plain

GROUPS = {
    "activity": "user activity (events before t0)",
    "popularity": "item popularity (training dislikes)",
    "negatives": "history length (dislikes before t0)",
    "window": "window size (items of F)",
}


@dataclass
class Pair:
    """Outcomes of two methods in one metric on the same instances.

    Attributes:
        names: of the two methods.
        metric: such as 'HR@20'.
        first: float64 [seeds, N] of the first method, NaN where an instance does not count.
        second: float64 [seeds, N] of the second one, perhaps of another number of seeds.
        facts: int64 [N] each, see :func:`recbole_conrec.runs.records.facts`.
        random: whether another seed of each gives other figures.
        searches: what is known of the searches for their options, in words; '' if nothing is.
    """

    names: tuple[str, str]
    metric: str
    first: np.ndarray
    second: np.ndarray
    facts: dict[str, np.ndarray]
    random: tuple[bool, bool] = (True, True)
    searches: str = ""

    @property
    def counting(self) -> np.ndarray:
        """Bool [N]: the instances that count for both, with every seed."""
        return ~(np.isnan(self.first).any(axis=0) | np.isnan(self.second).any(axis=0))

    @property
    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """float64 [N] each: the outcomes averaged over seeds."""
        return self.first.mean(axis=0), self.second.mean(axis=0)


def pair(
    names: tuple[str, str],
    one: list[Record],
    other: list[Record],
    metric: str,
    random: tuple[bool, bool] = (True, True),
    searches: str = "",
) -> Pair:
    """Two methods from their records, one for each seed. Raises UserError if they do not share data or the metric."""
    prints = {record.result["data_fingerprint"] for record in [*one, *other]}
    if len(prints) > 1:
        raise UserError(f"'{names[0]}' and '{names[1]}' were run on different data or protocols; expected the same")
    first, second = _outcomes(names[0], one, metric), _outcomes(names[1], other, metric)
    return Pair(names, metric, first, second, one[0].facts(), random, searches)


def _outcomes(name: str, records: list[Record], metric: str) -> np.ndarray:
    outcomes = [record.outcomes() for record in records]
    if metric not in outcomes[0] or np.isnan(outcomes[0][metric]).all():
        there = [key for key, values in outcomes[0].items() if not np.isnan(values).all()]
        raise UserError(f"'{name}' has no {metric}; it has {', '.join(there)}")
    return np.stack([values[metric] for values in outcomes])


def from_folders(folders: tuple[str, str], metric: str) -> Pair:
    """Two folders of runs. Raises UserError for a corrupt record."""
    found: list[list[Record]] = []
    for folder in folders:
        record, why = records.read(Path(folder))
        if record is None:
            raise UserError(why)
        found.append([record])
    return pair(folders, found[0], found[1], metric)


def from_board(board: Board, names: tuple[str, str], dataset: str, metric: str) -> Pair:
    """Two methods of a board, each with its own seeds. Raises UserError for a method without records."""
    found: list[list[Record]] = []
    lines: list[Line] = []
    for name in names:
        runs = [run for run in board.narrow(methods=[name]).runs if run.dataset == dataset]
        if runs and runs[0].unavailable:
            raise UserError(f"'{name}': not available: {runs[0].unavailable}")
        read = [run.read()[0] for run in runs]
        found.append([record for record in read if record])
        if not found[-1]:
            raise UserError(f"'{name}' has no record on {dataset}; run --leaderboard={board.name} first")
        lines += [Line(method) for method in board.methods if method.name == name]
    searches = f"options searched on validation: A {lines[0].search} points, B {lines[1].search}"
    return pair(names, found[0], found[1], metric, (lines[0].random, lines[1].random), searches)


def table(both: Pair) -> Table:
    """Wins, losses and means over all instances and by quarter of each fact, with a 95 % interval of the difference."""
    a, b = both.names
    out = Table(
        title=plain(f"{both.metric}: A = {a}, B = {b}", "italic"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        caption_justify="left",
        caption_style="dim",
        caption=_caption(both),
    )
    for column in ("instances", "n", "A wins", "B wins", "A", "B", "A - B", "interval"):
        out.add_column(column, justify="left" if column == "instances" else "right", no_wrap=column != "instances")
    counts = both.counting
    out.add_row(*_row("all", both, counts))
    for fact, words in GROUPS.items():
        out.add_section()
        out.add_row(words.partition(" (")[0], *[""] * 7, style="italic")
        for label, inside in bins(both.facts[fact][counts]):
            chosen = counts.copy()
            chosen[counts] = inside
            out.add_row(*_row(f"  {label}", both, chosen))
    return out


def _caption(both: Pair) -> str:
    seeds = f"A has {_seeds(both.first)}, B {_seeds(both.second)}"
    single = any(len(runs) == 1 and random for runs, random in zip((both.first, both.second), both.random, strict=True))
    meaning = (
        f"its 95 % interval over users alone ({seeds}: with one seed there is no claim)"
        if single
        else f"its 95 % interval over users and seeds ({seeds}); * p < .05 (not corrected for many groups; none below "
        f"{FEW} instances)"
    )
    words = [
        f"A wins where its outcome is higher (averaged over seeds). Difference A - B with {meaning}",
        both.searches,
    ]
    return "; ".join(filter(None, words))


def _seeds(outcomes: np.ndarray) -> str:
    return f"{len(outcomes)} seed{'' if len(outcomes) == 1 else 's'}"


def bins(values: np.ndarray, parts: int = 4) -> list[tuple[str, np.ndarray]]:
    """Up to four groups of about equal size, equal values together: [('3-7', bool [N]), ...]."""
    if not len(values):
        return []
    edges = np.unique(np.quantile(values, np.arange(1, parts) / parts, method="inverted_cdf"))
    place = np.searchsorted(edges, values)  # group g holds edges[g-1] < value <= edges[g]
    out = []
    for group in np.unique(place):
        inside = place == group
        low, high = values[inside].min(), values[inside].max()
        out.append((f"{low:,}" if low == high else f"{low:,} - {high:,}", inside))
    return out


def _row(label: str, both: Pair, chosen: np.ndarray) -> list[str]:
    first, second = (values[chosen] for values in both.means)
    if not len(first):
        return [label, "0", *["-"] * 6]
    difference = first - second
    runs = np.concatenate([both.first, both.second])[:, chosen]
    sums, counts = estimates.sums_by_user(runs, both.facts["user"][chosen])
    found = estimates.difference(sums[: len(both.first)], sums[len(both.first) :], counts, both.random)
    low, high = map(float, found.interval())
    mark = "*" if found.p < estimates.LEVEL and len(first) >= FEW else ""
    return [
        label,
        f"{len(first):,}",
        f"{int((difference > 0).sum()):,}",
        f"{int((difference < 0).sum()):,}",
        figure(first.mean()),
        figure(second.mean()),
        figure(difference.mean(), sign=True) + mark,
        f"[{figure(low, sign=True)} {figure(high, sign=True)}]",
    ]


def write(both: Pair, file: Path) -> None:
    """Every instance with its facts, both outcomes (averaged over seeds) and who wins, as CSV; instances that do not
    count are left out.
    """
    counts = both.counting
    first, second = (values[counts] for values in both.means)
    winner = np.select([first > second, first < second], both.names, "")
    columns = {name: values[counts] for name, values in both.facts.items()}
    table = pa.table({**columns, "A": first, "B": second, "winner": winner})
    with replacing(file) as temporary:
        csv.write_csv(table, temporary)
