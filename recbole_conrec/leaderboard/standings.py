"""From the records of a board to the figures of its tables. Nothing is trained here."""

import zlib
from dataclasses import dataclass, field

import numpy as np

from recbole_conrec.evaluation.table import FEW
from recbole_conrec.leaderboard import statistics
from recbole_conrec.leaderboard.board import Board, PlannedRun
from recbole_conrec.leaderboard.board_options import Method
from recbole_conrec.runs import failures, records
from recbole_conrec.runs.records import Record
from recbole_conrec.utils.errors import UserError

LEVEL = 0.05
POPULARITY = "Pop"  # the model that every trained one must beat


@dataclass
class Cell:
    """A method's figure in one metric.

    Attributes:
        mean: over seeds.
        sd: standard deviation over seeds (n - 1), None for one seed.
        low, high: 95 % bootstrap interval over users.
        n: instances behind it.
        few: fewer than 30 of them.
        rank: 1 best, 2 second, 0 otherwise, among those not few.
        versus: the best other method.
        p: of the paired test against it, after Holm's correction; None without a test.
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
        """Better than the best other method, significantly at 0.05."""
        return self.rank == 1 and self.p is not None and self.p < LEVEL


@dataclass
class Line:
    """A method's line in the table.

    Attributes:
        cells: its figures by metric.
        records: by seed.
        note: what is missing; '' if nothing is.
        outcomes: float64 [seeds, N] by metric, NaN where an instance does not count.
    """

    method: Method
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

    @property
    def valid(self) -> dict[str, float]:
        """The metric that selects it, on validation: mean over seeds, of those whose runs name the same metric."""
        found = [record.result.get("valid", {}) for record in self.records.values()]
        shared = set.intersection(*map(set, found)) if found else set()
        return {metric: float(np.mean([one[metric] for one in found])) for metric in sorted(shared)}


@dataclass
class Section:
    """The table of one data set.

    Attributes:
        improvement: of the board's ``improvement`` method: {metric: (its mean / the best other mean - 1, whether the
            difference is significant at 0.05)}.
        improved: that method's name.
        usual_n: {metric: instances behind most cells}.
        users: number of users whose test instances they are.
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
    runs = [run for run in board.runs if run.dataset == dataset]
    lines = [_line(m, [run for run in runs if run.method is m], columns) for m in board.methods]
    there = [line for line in lines if line.records]
    section = Section(dataset, columns, lines, {}, board.improvement or "", {})
    if not there:
        return section
    _check_same_data(there, dataset)
    _note_weak(there)
    facts = next(iter(there[0].records.values())).facts()
    section.users = len(np.unique(facts["user"]))
    _fill(there, columns, facts["user"], zlib.crc32(dataset.encode()))
    for column in columns:
        cells = [line.cells[column] for line in there if column in line.cells]
        section.usual_n[column] = max((cell.n for cell in cells), key=[c.n for c in cells].count, default=0)
    improved = next((line for line in there if line.method.name == board.improvement), None)
    for column, cell in (improved.cells if improved else {}).items():
        others = [line.cells[column].mean for line in there if line is not improved and column in line.cells]
        if others and max(others) > 0 and not cell.few:
            section.improvement[column] = cell.mean / max(others) - 1, cell.p is not None and cell.p < LEVEL
    return section


def _line(method: Method, runs: list[PlannedRun], columns: list[str]) -> Line:
    line = Line(method)
    reasons: dict[str, list[str]] = {}  # why there is no record: the seeds
    whys: list[str] = []
    per_seed: list[dict[str, np.ndarray]] = []
    for run in runs:
        if run.unavailable:
            line.note = f"not available: {run.unavailable.partition(';')[0]}"
            return line
        record, why = records.read(run.folder, run.identity)
        try:
            outcomes = record.outcomes() if record else {}
        except (OSError, ValueError, KeyError) as error:  # a Parquet file with its digest that is none
            record, why = None, f"{run.folder / records.OUTCOMES} is corrupt ({type(error).__name__})"
        if record:
            line.records[run.seed] = record
            per_seed.append(outcomes)
        elif failed := failures.read(run.folder):
            reasons.setdefault(f"failed: {failed}", []).append(str(run.seed))
        elif why != "missing":
            whys.append(why)
    line.note = _note(len(line.records), len(runs), reasons, whys)
    for column in columns:
        values = [outcomes[column] for outcomes in per_seed if column in outcomes]
        if values and not np.isnan(values[0]).all():
            line.outcomes[column] = np.stack(values)
    return line


def _note(there: int, wanted: int, failed: dict[str, list[str]], corrupt: list[str]) -> str:
    """What a method lacks. ``failed``: {why: seeds}."""
    parts = [f"{there} of {wanted} seeds"] if 0 < there < wanted else []
    parts += [why + (f" (seed {', '.join(seeds)})" if wanted > 1 else "") for why, seeds in failed.items()]
    if there + sum(map(len, failed.values())) == 0:
        parts.append("not run yet")
    return "; ".join([*parts, *corrupt])


def _check_same_data(lines: list[Line], dataset: str) -> None:
    seen: dict[str, str] = {}
    for line in lines:
        for record in line.records.values():
            seen.setdefault(record.result["data_fingerprint"], line.method.name)
    if len(seen) > 1:
        names = "' and '".join(seen.values())
        raise UserError(
            f"methods '{names}' on {dataset} have different data or protocols and cannot share a table; "
            "give every method the same split, window, feedback and candidates"
        )


def _note_weak(lines: list[Line]) -> None:
    """Say of each method whose validation figure is below popularity's that it is: it has hardly been trained."""
    pop = next((line for line in lines if line.method.model == POPULARITY), None)
    if pop is None:
        return
    for line in lines:
        for metric, value in line.valid.items():
            if value < pop.valid.get(metric, value):
                weak = f"below {pop.method.name} on validation ({metric} {value:.4f} < {pop.valid[metric]:.4f})"
                line.note = "; ".join(filter(None, [line.note, weak]))


def _fill(lines: list[Line], columns: list[str], user: np.ndarray, seed: int) -> None:
    """Cells, ranks and tests of lines that have records. A line's interval does not depend on the other lines."""
    averaged = {line.method.name: _cells(line, user, seed) for line in lines}
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
    differences = np.stack(
        [averaged[line.method.name][column] - averaged[line.cells[column].versus][column] for line, column in tests],
        axis=1,
    )
    sums, _ = statistics.by_user(differences, user)
    adjusted = statistics.holm(statistics.randomisation(sums, np.random.default_rng(seed)))
    for (line, column), p in zip(tests, adjusted, strict=True):
        line.cells[column].p = float(p)


def _cells(line: Line, user: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Fill the line's cells, without ranks and tests. Returns its outcomes averaged over seeds, float64 [N] each."""
    means = {name: outcomes.mean(axis=0) for name, outcomes in line.outcomes.items()}
    sums, counts = statistics.by_user(np.stack(list(means.values()), axis=1), user)
    low, high = statistics.intervals(sums, counts, np.random.default_rng(seed))
    for place, (name, outcomes) in enumerate(line.outcomes.items()):
        seeds = np.nanmean(outcomes, axis=1)
        n = int((~np.isnan(means[name])).sum())
        line.cells[name] = Cell(
            mean=float(seeds.mean()),
            sd=float(seeds.std(ddof=1)) if len(seeds) > 1 else None,
            low=float(low[place]),
            high=float(high[place]),
            n=n,
            few=n < FEW,
        )
    return means


def _rank(line: Line, ranked: list[Line], column: str) -> None:
    """Best and second by mean (equal means share a rank), and the best other method, which it is tested against."""
    cell, means = line.cells[column], [other.cells[column].mean for other in ranked]
    distinct = sorted(set(means), reverse=True)[:2]
    cell.rank = distinct.index(cell.mean) + 1 if cell.mean in distinct and cell.mean > 0 and len(ranked) > 1 else 0
    cell.versus = next((other.method.name for other in ranked if other is not line), "")
