"""From the records of a board to the figures of its tables. Nothing is trained here."""

from typing import Any

import numpy as np

from recbole_conrec.evaluation.registry import smaller
from recbole_conrec.leaderboard.board import Board, PlannedRun
from recbole_conrec.leaderboard.board_options import Method
from recbole_conrec.leaderboard.cells import above, fill
from recbole_conrec.leaderboard.section import Line, Section, looks
from recbole_conrec.runs import failures, records
from recbole_conrec.runs.records import Record
from recbole_conrec.utils.errors import UserError

POPULARITY = "Pop"  # the model that every trained one must beat


def standings(board: Board) -> list[Section]:
    """The tables of a board, from the records that are there."""
    return [_section(board, dataset) for dataset in board.datasets]


def _section(board: Board, dataset: str) -> Section:
    columns = board.columns
    runs = [run for run in board.runs if run.dataset == dataset]
    methods = sorted(board.methods, key=lambda method: method.group is not None)  # references last
    lines = [_line(m, [run for run in runs if run.method is m], columns) for m in methods]
    there = [line for line in lines if line.records]
    section = Section(dataset, columns, lines, {}, board.improvement or "", {})
    if not there:
        return section
    _check_same_data(there, dataset)
    _note_weak(there)
    facts = next(iter(there[0].records.values())).facts()
    section.user, section.users = facts["user"], len(np.unique(facts["user"]))
    fill(there, columns, facts["user"], section.improved, board.compare_references)
    section.above = {} if board.compare_references else above(there, columns)
    for column in columns:
        cells = [line.cells[column] for line in there if column in line.cells]
        section.usual_n[column] = _usual([cell.n for cell in cells])
        usual = next((cell for cell in cells if cell.n == section.usual_n[column] and cell.users), None)
        if usual is not None:
            section.usual_users[column] = usual.users, usual.effective
    section.improvement = _improvement(there, section.improved, board.compare_references)
    return section


def _usual(numbers: list[int]) -> int:
    """The most frequent number; 0 without any."""
    return max(numbers, key=numbers.count, default=0)


def _improvement(lines: list[Line], name: str, references: bool) -> dict[str, tuple[float, bool]]:
    """Of the method of this name: {metric: (its mean / the best other mean - 1, whether the difference holds)}.

    ``references``: whether they count among the others.
    """
    improved = next((line for line in lines if line.method.name == name), None)
    rivals = [line for line in lines if line is not improved and (references or line.method.group is None)]
    found: dict[str, tuple[float, bool]] = {}
    for column, cell in (improved.cells if improved else {}).items():
        others = [line.cells[column].mean for line in rivals if column in line.cells]
        if others and max(others) > 0 and not cell.few and cell.low is not None and not smaller(column):
            found[column] = cell.mean / max(others) - 1, cell.holds
    return found


def _line(method: Method, runs: list[PlannedRun], columns: list[str]) -> Line:
    line = Line(method)
    reasons: dict[str, list[str]] = {}  # why there is no record: the seeds
    whys: list[str] = []
    per_seed: list[dict[str, np.ndarray]] = []
    for run in runs:
        if run.unavailable:
            line.note = f"not available: {run.unavailable.partition(';')[0]}"
            return line
        record, why = run.read()
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
    for seed, record in line.records.items():
        for stage in _rising(record.result):
            line.rising.setdefault(stage, []).append(seed)
    for column in columns:
        values = [outcomes[column] for outcomes in per_seed if column in outcomes]
        if values and not np.isnan(values[0]).all():
            line.outcomes[column] = np.stack(values)
        found = [record.result["metrics"][column] for record in line.records.values() if _single(record, column)]
        if found and not values:
            line.figures[column] = [one["value"] for one in found], found[0]["n"]
    return line


def _rising(result: dict[str, Any]) -> list[str]:
    """The stages of a run ('' without stages) whose validation was best at its last look: more training might help.

    (Early stopping ends a run some looks after its best one, so that a budget has ended here.)
    """
    curves = {"": result["curve"], **{stage["name"]: stage.get("validation", []) for stage in result["stages"]}}
    figures = {name: looks(curve) for name, curve in curves.items()}
    return [name for name, values in figures.items() if len(values) > 1 and values[-1] > max(values[:-1])]


def _single(record: Record, column: str) -> bool:
    return record.result["metrics"].get(column, {}).get("value") is not None


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
    """Say of each method whose lists are below popularity's on validation that they are: it has hardly been trained."""
    pop = next((line for line in lines if line.method.model == POPULARITY), None)
    if pop is None:
        return
    known = pop.valid_of_lists
    for line in lines:
        for metric, value in line.valid_of_lists.items():
            if value < known.get(metric, value) and not smaller(metric):
                weak = f"below {pop.method.name} on validation ({metric} {value:.4f} < {known[metric]:.4f})"
                line.note = "; ".join(filter(None, [line.note, weak]))
