"""What the table of one data set holds: cells in lines, one line for each method."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recbole_conrec.leaderboard.board_options import Method
from recbole_conrec.leaderboard.estimates import LEVEL
from recbole_conrec.options.search import search_points
from recbole_conrec.runs.records import Record


@dataclass
class Cell:
    """A method's figure in one metric.

    Attributes:
        mean: over seeds and instances.
        sd: standard deviation over seeds (n - 1), None for one seed.
        low, high: 95 % interval; None for a figure of all lists together, such as ItemCoverage, which is not ranked
            either.
        n: instances behind it.
        few: fewer than 30 of them.
        macro: mean over users of their own means; None without values of instances.
        users: whose instances they are; effective: (sum n)^2 / sum n^2 of their numbers of instances.
        over_seeds: whether the interval is over users and seeds. False: over users alone, and no claim is made.
        rank: 1 best, 2 second, 0 otherwise, among those that are ranked.
        versus: the best other method; of a reference, the method that the board is about.
        gap: the difference from it, with its 95 % interval in gap_low and gap_high.
        p: of the test of this difference, after Holm's correction; None without a test.
    """

    mean: float
    sd: float | None
    low: float | None
    high: float | None
    n: int
    few: bool
    macro: float | None = None
    users: int = 0
    effective: float = 0.0
    over_seeds: bool = True
    rank: int = 0
    versus: str = ""
    gap: float | None = None
    gap_low: float | None = None
    gap_high: float | None = None
    p: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the difference from ``versus`` is significant at 0.05, in either direction."""
        return self.p is not None and self.p < LEVEL

    @property
    def marked(self) -> bool:
        """Better than the best other method, significantly."""
        return self.rank == 1 and self.holds


@dataclass
class Line:
    """A method's line in the table.

    Attributes:
        cells: its figures by metric.
        records: by seed.
        note: what is missing or weak; '' if nothing is.
        rising: seeds whose validation was best at its last look, by the name of the stage ('' without stages).
        outcomes: float64 [seeds, N] by metric, NaN where an instance does not count.
        figures: (value of each seed, instances) by the name of a figure that has no values of instances.
    """

    method: Method
    cells: dict[str, Cell] = field(default_factory=dict)
    records: dict[int, Record] = field(default_factory=dict)
    note: str = ""
    rising: dict[str, list[int]] = field(default_factory=dict)
    outcomes: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    figures: dict[str, tuple[list[float], int]] = field(default_factory=dict)

    @property
    def random(self) -> bool:
        """Whether another seed gives other figures."""
        return not self.method.deterministic

    @property
    def search(self) -> int:
        """How many points of options were tried on validation."""
        return search_points(self.method.model) if self.method.search is None else self.method.search

    @property
    def cost(self) -> dict[str, float]:
        """fit_s, eval_s, parameters: mean over seeds; peak_mb: the highest."""
        costs = [record.result["cost"] for record in self.records.values()]
        out = {key: float(np.mean([cost[key] for cost in costs])) for key in ("fit_s", "eval_s", "parameters")}
        return {**out, "peak_mb": max(cost["peak_mb"] for cost in costs)}

    @property
    def valid(self) -> dict[str, float]:
        """The metric that selects it, on validation: mean over seeds, of those whose runs name the same metric."""
        return _means([record.result.get("valid", {}) for record in self.records.values()])

    @property
    def valid_of_lists(self) -> dict[str, float]:
        """As `valid`, of the lists that are tested: those with the prior `present`, where it has a weight."""
        found = []
        for record in self.records.values():
            present = record.result.get("present") or {}
            used = any(present.get("weights", {}).values())
            found.append((present if used else record.result).get("valid", {}))
        return _means(found)


def _means(figures: list[dict[str, float]]) -> dict[str, float]:
    """Of the metrics that all have."""
    shared = set.intersection(*map(set, figures)) if figures else set()
    return {metric: float(np.mean([one[metric] for one in figures])) for metric in sorted(shared)}


@dataclass
class Section:
    """The table of one data set.

    Attributes:
        lines: the methods, references last.
        improvement: of the board's ``improvement`` method: {metric: (its mean / the best other mean - 1, whether the
            difference is significant at 0.05)}.
        improved: that method's name.
        usual_n: {metric: instances behind most cells}.
        usual_users: {metric: (their users, the effective number of users)}, likewise.
        above: {reference: the metrics in which it is above the method that it is compared with}.
        users: number of users whose test instances they are.
        user: int64 [N], whose test instance it is; None before any run has ended.
    """

    dataset: str
    columns: list[str]
    lines: list[Line]
    improvement: dict[str, tuple[float, bool]]
    improved: str
    usual_n: dict[str, int]
    usual_users: dict[str, tuple[int, float]] = field(default_factory=dict)
    above: dict[str, list[str]] = field(default_factory=dict)
    users: int = 0
    user: np.ndarray | None = field(default=None, repr=False)

    @property
    def methods(self) -> list[Line]:
        return [line for line in self.lines if line.method.group is None]

    @property
    def references(self) -> list[Line]:
        return [line for line in self.lines if line.method.group is not None]


def looks(curve: Iterable[Mapping[str, Any]]) -> list[float]:
    """The validation figures of a curve, in the order of training."""
    values = (entry.get("valid") for entry in curve)
    return [value for value in values if isinstance(value, int | float) and math.isfinite(value)]
