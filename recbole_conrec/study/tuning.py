"""A small search over options, equally large for every method, decided on validation alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.table import Table

from recbole_conrec.evaluation.registry import smaller
from recbole_conrec.evaluation.table import count, seconds
from recbole_conrec.options.schema import Options, Text
from recbole_conrec.options.search import search_space
from recbole_conrec.runs.runner import run
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.yaml_files import read_yaml


class TuneOptions(Options):
    """Options of ``recbole-conrec tune``; it takes those of a run as well."""

    model: Text | None = None
    """Method whose options are searched; null: the one that a file of --config_files names."""
    dataset: Text | None = None
    """Name of the data set; null: as for a run."""
    search: Text | None = None
    """YAML file of searches in place of `properties/search.yaml`."""


@dataclass(frozen=True)
class Point:
    """One point of a search and its result on validation; test figures are left out on purpose.

    Attributes:
        options: the searched options with this point's values.
        valid: the validation metric of the best epoch; NaN where the method cannot fill it.
        epochs: trained epochs. fit_s: seconds of training. parameters: number of trained parameters.
        run_dir: where its record lies.
    """

    options: dict
    valid: float
    epochs: int
    fit_s: float
    parameters: int
    run_dir: Path


@dataclass(frozen=True)
class Search:
    """The result of :func:`tune`.

    Attributes:
        model: name of the method. metric: name of the validation metric.
        points: the best one first; of equals the first in the file's order.
    """

    model: str
    metric: str
    points: list[Point]


def tune(own: TuneOptions, files: Sequence[str] = (), options: dict | None = None) -> Search:
    """Run every point of a method's search that has no record yet, like any other run.

    Args:
        files, options: as for :func:`recbole_conrec.runs.runner.run`.

    Raises UserError for a mistake in the search (see :func:`search_space`), or an option that is searched and given.
    """
    model = own.model or next((c["model"] for c in map(read_yaml, reversed(files)) if "model" in c), None)
    if not model:
        raise UserError("tune: no model; give --model=NAME")
    grid, options = search_space(model, own.search), options or {}
    for option in grid[0]:
        if option in options:
            raise UserError(f"tune: '{option}' is given and searched; leave it out, or give another search by --search")
    results = [(point, run(model, own.dataset, files, {**options, **point})) for point in grid]
    points = [
        Point(
            options=point,
            valid=next(iter(result.record["valid"].values())),
            epochs=len(result.record["curve"]) or _epochs_of_stages(result.record),
            fit_s=result.record["cost"]["fit_s"],
            parameters=result.record["cost"]["parameters"],
            run_dir=result.run_dir,
        )
        for point, result in results
    ]
    metric = next(iter(results[0][1].record["valid"]))
    sign = 1 if smaller(metric) else -1
    points.sort(key=lambda point: math.inf if math.isnan(point.valid) else sign * point.valid)
    return Search(model, metric, points)


def _epochs_of_stages(record: dict) -> int:
    """The epochs of a method that is trained in stages, whose curves count steps."""
    return sum(stage.get("epochs", 0) for stage in record["config"].get("stages") or ())


def show(found: Search) -> Table:
    """The points as a table; its caption repeats the options of the best one as a command."""
    points = found.points
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False, caption_justify="left")
    for option in points[0].options:
        table.add_column(option)
    for column in (f"{found.metric} (validation)", "epochs", "fit", "params"):
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
    table.caption = f"* best of {len(points)}: --model={found.model} {best}"
    return table
