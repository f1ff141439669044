"""A search over a method's options by Optuna, decided on validation alone, of equal budget for every method.

Every trial is a run up to its validation (runs/validate.py): no test instance is looked at. Trials lie in a storage
that processes and machines share; the same command in each of them adds trials until there are enough, and resumes.
"""

import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.trial import TrialState

from recbole_conrec import registry
from recbole_conrec.evaluation.registry import smaller
from recbole_conrec.options.schema import Count, Options, Positive, Text
from recbole_conrec.options.search import Choice, Space, search_space
from recbole_conrec.runs.checks import check_data, read_by
from recbole_conrec.runs.config import VISIBLE_GPUS, make_config
from recbole_conrec.runs.identity import folder_name, identify
from recbole_conrec.runs.options import ChoiceOptions, EvaluationOptions, PlaceOptions
from recbole_conrec.study.trial import Task, run_next
from recbole_conrec.study.trials import Trials, storing
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.processes import PARENT
from recbole_conrec.utils.yaml_files import read_yaml

STORAGE = "searches.sqlite3"


class TuneOptions(Options):
    """Options of ``recbole-conrec tune``; it takes those of a run as well."""

    model: Text | None = None
    """Method whose options are searched; null: the one that a file of --config_files names."""
    dataset: Text | None = None
    """Name of the data set; null: as for a run."""
    trials: Count = 20
    """Settings that are tried in all, the method's defaults first; those of earlier calls and other processes count."""
    minutes: Positive | None = None
    """Training time of all trials together, in minutes, after which no more begin, if that comes before `trials`."""
    jobs: Count = 1
    """Trials at a time, each in a process of its own."""
    space: Text | dict[str, Any] | None = None
    """What is searched: a YAML file in the form of `properties/search.yaml`, or a file of RecBole's hyperopt; null: the
    key `space` of a file of --config_files, else `properties/search.yaml`."""
    sampler: Literal["tpe", "random"] = "tpe"
    """How settings are drawn, from `seed`."""
    prune: bool = True
    """Whether a trial ends early whose validation is below the median of the others at the same look."""
    storage: Text | None = None
    """Where trials are kept: a SQLite file, a journal (a file NAME.log, for network disks), or a URL of Optuna's; null:
    `searches.sqlite3` beside the runs of the data set."""
    out: Text = "results/tune"
    """Folder of the report, a page with Optuna's plots."""
    report: bool = True
    """Whether a table and a page are written at the end; false for a process that only adds trials."""


@dataclass(frozen=True)
class Point:
    """A trial and its result on validation.

    Attributes:
        options: the searched options with this trial's values.
        valid: the validation metric of the best epoch; NaN where the trial has none.
        epochs: trained epochs. fit_s: seconds of training. parameters: number of trained parameters.
        run_dir: where its weights lie, and its record once it is run.
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
        model, dataset: their names. metric: name of the validation metric.
        points: the complete trials, the best one first; of equals the earlier.
        pruned, failed: number of other trials; why: of the last failed one.
        study: Optuna's.
    """

    model: str
    dataset: str
    metric: str
    points: list[Point]
    pruned: int
    failed: int
    why: str
    study: optuna.Study = field(repr=False)

    @property
    def trials(self) -> int:
        """How many settings were tried."""
        return len(self.points) + self.pruned + self.failed


def tune(own: TuneOptions, files: Sequence[str] = (), options: dict | None = None) -> Search:
    """Add trials to a method's search until it has as many as asked for.

    The first trial has the method's defaults, or what is given of the searched options.

    Args:
        files, options: as for :func:`recbole_conrec.runs.runner.run`.

    Raises UserError for a mistake in the space (see :func:`search_space`), and where no trial has ended with a figure.
    """
    task = _task(own, files, options or {})
    minimize = smaller(task.metric)
    storage = own.storage or str(task.folder.parents[1] / STORAGE)
    with storing(storage):
        trials = Trials.open(
            task.name,
            storage,
            task.space,
            task.defaults,
            task.folder,
            minimize=minimize,
            seed=task.seed,
            random=own.sampler == "random",
        )
        if own.jobs > 1:
            _start(own, task, storage)
        else:
            limit = math.inf if own.minutes is None else own.minutes * 60
            while run_next(trials, task, own.trials, limit, own.prune):
                pass
        return _search(trials, task, minimize)


def has_space(model: str, model_class: str | None, space: Any) -> bool:
    """Whether something is searched of a method."""
    try:
        _space(model, model_class, space)
    except UserError:
        if space is not None:
            raise
        return False
    return True


def _space(model: str, model_class: str | None, given: Any) -> Space:
    network = registry.find_model(model_class or model)
    ours = model_class is None and model in registry.stock_models()
    return search_space(model, given, others=ours and bool(read_by(network, {"learning_rate": 0})))


def _task(own: TuneOptions, files: Sequence[str], options: dict[str, Any]) -> Task:
    contents = [read_yaml(file) for file in files]
    last = {key: value for content in contents for key, value in content.items()} | options
    if not (own.model or last.get("model")):
        raise UserError("tune: no model; give --model=NAME")
    model = registry.spelling(str(own.model or last["model"]))
    config = make_config(model, own.dataset, files, options, TuneOptions.model_fields)
    check_data(config)
    given = last.get("space") if own.space is None else own.space
    space: Space = {}
    defaults: dict[str, Any] = {}
    for option, dimension in _space(model, last.get("model_class"), given).items():
        found, value = _value(config.final_config_dict, option.split("."))
        space[option] = dimension.holding(value, f"space: {option}") if found else dimension
        defaults |= {option: value} if found else {}
    others = {o: d.values[0] if isinstance(d, Choice) else d.low for o, d in space.items() if o not in defaults}
    make_config(model, own.dataset, files, {**options, **defaults, **others})  # names and values
    chosen, place = ChoiceOptions.of(config), PlaceOptions.of(config)
    metric = EvaluationOptions.of(config).valid_metric
    identity = identify(config, chosen.network)
    parts = [identity, metric, {option: one.model_dump() for option, one in space.items()}]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:12]
    name = f"{folder_name(config)}-{digest}"
    folder = Path(place.checkpoint_dir) / chosen.dataset / "searches" / name
    return Task(model, chosen.dataset, tuple(files), options, space, defaults, metric, place.seed, name, folder)


def _value(options: Any, path: list[str]) -> tuple[bool, Any]:
    """(Whether options have something at this path, what it is); entries of a list are found by their names."""
    if not path:
        return True, options
    if isinstance(options, list):
        options = {one.get("name"): one for one in options if isinstance(one, dict)}
    return _value(options[path[0]], path[1:]) if isinstance(options, Mapping) and path[0] in options else (False, None)


def _start(own: TuneOptions, task: Task, storage: str) -> None:
    """Processes that add trials, until all have ended."""
    mine = own.model_dump(exclude={"model", "dataset", "jobs", "report", "space"}, exclude_none=True)
    given = {**task.options, **mine, "model": task.model, "dataset": task.dataset, "jobs": 1, "report": False}
    given = {"show_progress": False, **given, "storage": storage}
    if own.space is not None:
        given["space"] = own.space
    words = [f"--{key}={json.dumps(value, default=str)}" for key, value in given.items()]
    words += [f"--config_files={' '.join(task.files)}"] if task.files else []
    gpus = (VISIBLE_GPUS or "").split(",")
    processes = []
    try:
        for n in range(own.jobs):
            environment = {**os.environ, PARENT: str(os.getpid())}
            if len(gpus) > 1 and "gpu_id" not in task.options:
                environment["CUDA_VISIBLE_DEVICES"] = gpus[n % len(gpus)]
            with open(task.folder / f"process-{n}.log", "wb") as log:
                command = [sys.executable, "-m", "recbole_conrec", "tune", *words]
                processes.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment))
        codes = [process.wait() for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                process.terminate()
                process.wait()
    for n, code in enumerate(codes):
        if code:
            lines = (task.folder / f"process-{n}.log").read_text(encoding="utf-8", errors="replace").splitlines()
            why = lines[-1].removeprefix("error: ") if lines else f"exit code {code}"
            raise UserError(
                f"tune: a process ended with {code}: {why} (complete output: {task.folder}/process-{n}.log)"
            )


def _search(trials: Trials, task: Task, minimize: bool) -> Search:
    ended = trials.ended
    complete = [one for one in ended if one.state == TrialState.COMPLETE]
    failed = [one for one in ended if one.state == TrialState.FAIL]
    why = str(failed[-1].user_attrs["result"]["why"]) if failed else ""
    if not complete:
        raise UserError(f"tune: no trial has ended with a figure; the last one: {why or 'none was started'}")
    points = [
        Point(
            options=json.loads(one.user_attrs["options"]),
            valid=float(one.value if one.value is not None else math.nan),
            epochs=one.user_attrs["result"]["epochs"],
            fit_s=one.user_attrs["result"]["fit_s"],
            parameters=one.user_attrs["result"]["parameters"],
            run_dir=Path(one.user_attrs["result"]["run_dir"]),
        )
        for one in complete
    ]
    points.sort(key=lambda point: point.valid if minimize else -point.valid)
    pruned = len(ended) - len(complete) - len(failed)
    return Search(task.model, task.dataset, task.metric, points, pruned, len(failed), why, trials.study)
