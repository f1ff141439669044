"""The figures of a table: means, intervals, ranks and tests. estimates.py has the statistics."""

import numpy as np

from recbole_conrec.evaluation.registry import smaller
from recbole_conrec.evaluation.table import FEW
from recbole_conrec.leaderboard import estimates, statistics
from recbole_conrec.leaderboard.section import Cell, Line


def fill(lines: list[Line], columns: list[str], user: np.ndarray, target: str = "", compare: bool = False) -> None:
    """Cells, ranks and tests of lines that have records. A line's interval does not depend on the other lines.

    Args:
        columns: the metrics of the table.
        user: int [N], the users of the test instances.
        target: the method that references are tested against; '': the best of each metric.
        compare: whether references are ranked and tested as the other methods are.
    """
    for line in lines:
        line.cells.update(_cells(line, user))
    by_name = {line.method.name: line for line in lines}
    tests: list[tuple[Line, str]] = []
    against: list[tuple[Line, str]] = []  # tests of references
    for column in columns:
        there = _sorted([line for line in lines if column in line.outcomes and not line.cells[column].few], column)
        ranked = [line for line in there if compare or line.method.group is None]
        for line in ranked:
            _rank(line, ranked, column)
        best = next((line for line in ranked if line.method.name == target), ranked[0] if ranked else None)
        for line in there:
            if line not in ranked and best is not None:
                line.cells[column].versus = best.method.name
                against.append((line, column))
        tests += [(line, column) for line in ranked if line.cells[column].versus]
    for family in (tests, against):
        _test(family, by_name, user)


def above(lines: list[Line], columns: list[str]) -> dict[str, list[str]]:
    """The metrics in which each reference has a better figure than the method that it is tested against."""
    found: dict[str, list[str]] = {}
    for line in lines:
        for column in columns if line.method.group is not None else ():
            gap = line.cells[column].gap if column in line.cells else None
            if gap and (gap < 0) == smaller(column):
                found.setdefault(line.method.name, []).append(column)
    return found


def _sorted(lines: list[Line], column: str) -> list[Line]:
    """The best first."""
    return sorted(lines, key=lambda line: line.cells[column].mean * (1 if smaller(column) else -1))


def _cells(line: Line, user: np.ndarray) -> dict[str, Cell]:
    """The line's cells, without ranks and tests."""
    cells = {}
    for name, (values, n) in line.figures.items():
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
        cells[name] = Cell(float(np.mean(values)), sd, None, None, n, n < FEW)
    for name, outcomes in line.outcomes.items():
        sums, counts = estimates.sums_by_user(outcomes, user)
        found = estimates.mean(sums, counts, line.random)
        share = bool(np.nanmin(outcomes) >= 0 and np.nanmax(outcomes) <= 1)
        low, high = found.interval(share)
        n, seeds = int(counts.sum()), sums.sum(axis=1) / counts.sum()
        cells[name] = Cell(
            mean=float(found.value),
            sd=float(seeds.std(ddof=1)) if len(seeds) > 1 else None,
            low=float(low),
            high=float(high),
            n=n,
            few=n < FEW,
            macro=float((sums.mean(axis=0) / counts).mean()),
            users=len(counts),
            effective=float(estimates.effective(counts)),
            over_seeds=found.over_seeds,
        )
    return cells


def _rank(line: Line, ranked: list[Line], column: str) -> None:
    """Best and second by mean (equal means share a rank), and the best other method, which it is tested against."""
    cell, means = line.cells[column], [other.cells[column].mean for other in ranked]
    distinct = list(dict.fromkeys(means))[:2]
    counts = cell.mean != 0 or smaller(column)
    cell.rank = distinct.index(cell.mean) + 1 if cell.mean in distinct and counts and len(ranked) > 1 else 0
    cell.versus = next((other.method.name for other in ranked if other is not line), "")


def _test(family: list[tuple[Line, str]], by_name: dict[str, Line], user: np.ndarray) -> None:
    """Test each line of a family of tests against its ``versus`` in a metric; Holm's correction is over the family."""
    p = np.full(len(family), np.nan)
    for place, (line, column) in enumerate(family):
        cell, other = line.cells[column], by_name[line.cells[column].versus]
        first, second = line.outcomes[column], other.outcomes[column]
        sums, counts = estimates.sums_by_user(np.concatenate([first, second]), user)
        if not len(counts):
            continue
        size = len(first)
        found = estimates.difference(sums[:size], sums[size:], counts, (line.random, other.random))
        low, high = found.interval()
        cell.gap, cell.gap_low, cell.gap_high = float(found.value), float(low), float(high)
        p[place] = found.p
    for (line, column), adjusted in zip(family, statistics.holm(p), strict=True):
        line.cells[column].p = None if np.isnan(adjusted) else float(adjusted)
