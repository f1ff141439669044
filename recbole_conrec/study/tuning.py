"""A small search over options, the same in size for every row, decided on validation alone."""

import importlib.resources
import math
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.table import Table

from recbole_conrec.evaluation.table import count, seconds
from recbole_conrec.runs.runner import run
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.names import nearest
from recbole_conrec.utils.yaml_files import read_yaml

MOST = 3  # points; more for one row than for another would be no fair comparison


@dataclass(frozen=True)
class Point:
    """One point of a search and how its run did; what the run scored on the test instances is not kept.

    Attributes:
        options: the searched options with this point's values.
        valid: the validation metric of the best epoch; NaN where the row cannot fill it.
        epochs, fit_s, parameters: what it cost.
        run_dir: where its record lies.
    """

    options: dict
    valid: float
    epochs: int
    fit_s: float
    parameters: int
    run_dir: Path


def search_space(model: str, file: str | None = None) -> list[dict]:
    """The points of a model: the first values that ``properties/search.yaml`` (or a file like it) lists for it, and
    each other value by itself in the place of the first. Raises UserError for a model that is not in it, a value that
    is no list, and more than 3 points."""
    source = importlib.resources.files("recbole_conrec.properties") / "search.yaml" if file is None else file
    spaces, where = read_yaml(source), file or "properties/search.yaml"
    if model not in spaces:
        raise UserError(
            f"{where}: there is no search for '{model}'{nearest(model, spaces)}; write one, such as "
            f"'{model}: {{learning_rate: [0.001, 0.003]}}', into a file and name it with --search=FILE"
        )
    space = spaces[model]
    if not isinstance(space, dict) or not space or not all(isinstance(v, list) and v for v in space.values()):
        raise UserError(f"{where}: {model}: {space!r} must map options to lists of values")
    start = {option: values[0] for option, values in space.items()}
    points = [start, *({**start, option: value} for option, values in space.items() for value in values[1:])]
    if len(points) > MOST:
        raise UserError(f"{where}: {model} has {len(points)} points; {MOST} at most, no row gets more than others")
    return points


def tune(
    model: str | None = None,
    dataset: str | None = None,
    files=(),
    options: dict | None = None,
    search: str | None = None,
) -> tuple[str, list[Point]]:
    """Run every point of a model's search that has no record yet, like any other run.

    Args: as :func:`recbole_conrec.runs.runner.run`; ``search`` is a file in the place of ``properties/search.yaml``.

    Returns:
        (name of the validation metric, points, the best one first; of equals the first in the file's order).
    """
    model = model or next((c["model"] for c in map(read_yaml, reversed(files)) if "model" in c), None)
    if not model:
        raise UserError("tune: no model; say --model=NAME")
    grid, options = search_space(model, search), options or {}
    for option in grid[0]:
        if option in options:
            raise UserError(f"tune: '{option}' is given and searched; leave it away, or write a file for --search")
    metric, points = None, []
    for point in grid:
        result = run(model, dataset, files, {**options, **point})
        ((metric, valid),) = result.record["valid"].items()
        cost, epochs = result.record["cost"], len(result.record["curve"]) or _epochs_of_stages(result.record)
        points.append(Point(point, valid, epochs, cost["fit_s"], cost["parameters"], result.run_dir))
    return metric, sorted(points, key=lambda p: -math.inf if math.isnan(p.valid) else p.valid, reverse=True)


def _epochs_of_stages(record: dict) -> int:
    """Rows that train in stages have a curve for each of them, by steps."""
    return sum(stage.get("epochs", 0) for stage in record["config"].get("stages") or ())


def show(model: str, metric: str, points: list[Point]) -> Table:
    """The points as a table; the last line of its caption is the command of the best one."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False, caption_justify="left")
    for option in points[0].options:
        table.add_column(option)
    for column in (f"{metric} (validation)", "epochs", "fit", "params"):
        table.add_column(column, justify="right", no_wrap=True)
    for n, point in enumerate(points):
        table.add_row(
            *map(str, point.options.values()),
            f"{point.valid:.4f}{' ' if n else '*'}",
            str(point.epochs),
            seconds(point.fit_s),
            count(point.parameters),
            style="bold" if n == 0 else "",
        )
    best = " ".join(f"--{option}={value}" for option, value in points[0].options.items())
    table.caption = f"* best of {len(points)}: --model={model} {best}"
    return table
