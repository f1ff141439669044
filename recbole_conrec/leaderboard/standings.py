"""From the records of a board to the figures of its tables. Nothing is trained here."""

import zlib
from dataclasses import dataclass, field

import numpy as np

from recbole_conrec.evaluation.table import FEW
from recbole_conrec.leaderboard import statistics
from recbole_conrec.leaderboard.board import Board, Row, Task
from recbole_conrec.runs import records
from recbole_conrec.runs.records import Record
from recbole_conrec.utils.errors import UserError

LEVEL = 0.05


@dataclass
class Cell:
    """A row's figure in one metric.

    Attributes:
        mean: over seeds. sd: over seeds (n - 1), None for one seed. low, high: 95 % bootstrap over users.
        n: instances behind it. few: fewer than 30 of them. rank: 1 best, 2 second, 0 otherwise, among those not few.
        versus: the best other row. p: of the paired test against it, after Holm; None without a test.
    """

    mean: float
    sd: float | None
    low: float
    high: float
    n: int
    few: bool
    rank: int = 0
    versus: str = ""
    p: float | None = None

    @property
    def marked(self) -> bool:
        """Better than the best other row, and it holds at 0.05."""
        return self.rank == 1 and self.p is not None and self.p < LEVEL


@dataclass
class Line:
    """A row of the table: its cells by metric, its records by seed, and a note where some are missing."""

    row: Row
    cells: dict[str, Cell] = field(default_factory=dict)
    records: dict[int, Record] = field(default_factory=dict)
    note: str = ""
    outcomes: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def cost(self) -> dict[str, float]:
        """fit_s, eval_s, parameters: mean over seeds; peak_mb: the highest."""
        costs = [record.result["cost"] for record in self.records.values()]
        out = {key: float(np.mean([cost[key] for cost in costs])) for key in ("fit_s", "eval_s", "parameters")}
        return {**out, "peak_mb": max(cost["peak_mb"] for cost in costs)}


@dataclass
class Section:
    """The table of one data set.

    Attributes:
        improvement: {metric: (row's mean / best other mean - 1, holds at 0.05)} of the board's `improvement` row.
        usual_n: {metric: instances behind most cells}. users: whom the test instances belong to.
    """

    dataset: str
    columns: list[str]
    lines: list[Line]
    improvement: dict[str, tuple[float, bool]]
    improved: str
    usual_n: dict[str, int]
    users: int = 0


def standings(board: Board) -> list[Section]:
    """The tables of a board, from the records that are there."""
    return [_section(board, dataset) for dataset in board.datasets]


def _section(board: Board, dataset: str) -> Section:
    columns = board.columns
    tasks = [task for task in board.tasks if task.dataset == dataset]
    lines = [_line(row, [task for task in tasks if task.row is row], columns) for row in board.rows]
    there = [line for line in lines if line.records]
    section = Section(dataset, columns, lines, {}, board.improvement or "", {})
    if not there:
        return section
    _check_same_data(there, dataset)
    facts = next(iter(there[0].records.values())).facts()
    section.users = len(np.unique(facts["user"]))
    _fill(there, columns, facts["user"], zlib.crc32(dataset.encode()))
    for column in columns:
        cells = [line.cells[column] for line in there if column in line.cells]
        section.usual_n[column] = max((cell.n for cell in cells), key=[c.n for c in cells].count, default=0)
    improved = next((line for line in there if line.row.name == board.improvement), None)
    for column, cell in (improved.cells if improved else {}).items():
        others = [line.cells[column].mean for line in there if line is not improved and column in line.cells]
        if others and max(others) > 0 and not cell.few:
            section.improvement[column] = cell.mean / max(others) - 1, cell.p is not None and cell.p < LEVEL
    return section


def _line(row: Row, tasks: list[Task], columns: list[str]) -> Line:
    line = Line(row)
    whys = []
    for task in tasks:
        if task.unavailable:
            line.note = f"not available: {task.unavailable.partition(';')[0]}"
            return line
        record, why = records.read(task.folder, task.identity)
        if record:
            line.records[task.seed] = record
        elif why != "missing":
            whys.append(why)
    if len(line.records) < len(tasks):
        line.note = f"{len(line.records)} of {len(tasks)} seeds" if line.records else "not run yet"
    line.note = "; ".join([line.note, *whys] if line.note else whys)
    per_seed = [record.outcomes() for record in line.records.values()]
    for column in columns:
        values = [outcomes[column] for outcomes in per_seed if column in outcomes]
        if values and not np.isnan(values[0]).all():
            line.outcomes[column] = np.stack(values)
    return line


def _check_same_data(lines: list[Line], dataset: str) -> None:
    seen: dict[str, str] = {}
    for line in lines:
        for record in line.records.values():
            seen.setdefault(record.result["data_fingerprint"], line.row.name)
    if len(seen) > 1:
        names = "' and '".join(seen.values())
        raise UserError(
            f"rows '{names}' on {dataset} have different data or protocols and cannot stand in one table; "
            "let every row have the same split, window, feedback and candidates"
        )


def _fill(lines: list[Line], columns: list[str], user: np.ndarray, seed: int) -> None:
    """Cells, ranks and tests of lines that have records. A line's interval does not depend on the other lines."""
    for line in lines:
        names = list(line.outcomes)
        means = np.stack([line.outcomes[name].mean(axis=0) for name in names], axis=1)  # [N, M], over seeds
        low, high = statistics.intervals(*statistics.by_user(means, user), np.random.default_rng(seed))
        for place, name in enumerate(names):
            seeds = np.nanmean(line.outcomes[name], axis=1)
            n = int((~np.isnan(means[:, place])).sum())
            line.cells[name] = Cell(
                float(seeds.mean()),
                float(seeds.std(ddof=1)) if len(seeds) > 1 else None,
                float(low[place]),
                float(high[place]),
                n,
                n < FEW,
            )
            line.outcomes[name] = means[:, place]
    tests = []
    for column in columns:
        ranked = sorted(
            (line for line in lines if column in line.cells and not line.cells[column].few),
            key=lambda line: -line.cells[column].mean,
        )
        for line in ranked:
            _rank(line, ranked, column)
            if line.cells[column].versus:
                tests.append((line, column))
    if not tests:
        return
    by_name = {line.row.name: line for line in lines}
    differences = np.stack(
        [line.outcomes[column] - by_name[line.cells[column].versus].outcomes[column] for line, column in tests], axis=1
    )
    sums, _ = statistics.by_user(differences, user)
    adjusted = statistics.holm(statistics.randomisation(sums, np.random.default_rng(seed)))
    for (line, column), p in zip(tests, adjusted, strict=True):
        line.cells[column].p = float(p)


def _rank(line: Line, ranked: list[Line], column: str) -> None:
    """Best and second by mean (rows of equal means share a rank), and the best other row to be tested against."""
    cell, means = line.cells[column], [other.cells[column].mean for other in ranked]
    distinct = sorted(set(means), reverse=True)[:2]
    cell.rank = distinct.index(cell.mean) + 1 if cell.mean in distinct and cell.mean > 0 and len(ranked) > 1 else 0
    cell.versus = next((other.row.name for other in ranked if other is not line), "")
