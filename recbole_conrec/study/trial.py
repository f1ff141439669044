"""One trial of a search: a run up to its validation, with settings from Optuna."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from recbole_conrec.options.search import Space
from recbole_conrec.runs.trackers import Stopped
from recbole_conrec.runs.validate import validate
from recbole_conrec.study.trials import Trials, encoded
from recbole_conrec.utils.damage import one_line
from recbole_conrec.utils.errors import UserError


@dataclass(frozen=True)
class Task:
    """What is searched.

    Attributes:
        model, dataset, files, options: the arguments of a run.
        space: of the searched options. defaults: the method's own values of them, of those that have one.
        metric: of validation. seed: of the run.
        name, folder: of the search.
    """

    model: str
    dataset: str
    files: tuple[str, ...]
    options: dict[str, Any]
    space: Space
    defaults: dict[str, Any]
    metric: str
    seed: int
    name: str
    folder: Path


def run_next(trials: Trials, task: Task, most: int, limit: float, prune: bool) -> bool:
    """Take a trial and run it.

    Args:
        most, limit: how many trials there may be, and how many seconds they may take together.
        prune: whether Optuna may give a trial up.

    Returns False if there are enough.
    """
    with trials.take(most, limit) as trial:
        if trial is None:
            return False
        options, study = trials.options(trial), trials.study
        default = trial.user_attrs.get("default", False)
        trial.set_user_attr("options", encoded(options))
        if (same := trials.same(options)) is not None:  # drawn once more: nothing is trained
            trial.set_user_attr("result", {**same.user_attrs["result"], "seconds": 0.0})
            study.tell(trial, same.value)
            return True
        started, pruner = time.monotonic(), Pruner(trial, trials, task.metric, prune and not default, limit)
        try:
            found = validate(task.model, task.dataset, task.files, {**task.options, **options}, [pruner])
        except Stopped:
            trial.set_user_attr("result", {"seconds": time.monotonic() - started})
            study.tell(trial, state=TrialState.PRUNED)
            return True
        except (UserError, RuntimeError, ValueError) as error:
            if default or isinstance(error.__cause__, OSError):
                raise  # nothing of this setting: it is taken again when what is wrong has been put right
            trial.set_user_attr("result", {"seconds": time.monotonic() - started, "why": one_line(error)})
            study.tell(trial, state=TrialState.FAIL)
            return True
        result: dict[str, Any] = {
            "epochs": found.epochs,
            "fit_s": found.fit_s,
            "parameters": found.parameters,
            "run_dir": str(found.run_dir),
            "seconds": max(found.fit_s, time.monotonic() - started),
        }
        if math.isnan(found.valid):
            trial.set_user_attr("result", {**result, "why": "no validation figure"})
            study.tell(trial, state=TrialState.FAIL)
        else:
            trial.set_user_attr("result", result)
            study.tell(trial, found.valid)
        return True


class Pruner:
    """Gives Optuna each look at validation, and stops a trial that it gives up, or for which no time is left.

    Args:
        prune: whether Optuna may give it up. limit: seconds of all trials; the default setting is trained to its end.
    """

    def __init__(self, trial: optuna.Trial, trials: Trials, metric: str, prune: bool, limit: float):
        self.trial, self.trials, self.name, self.prune = trial, trials, f"valid/{metric}", prune
        self.limit = math.inf if trial.user_attrs.get("default") else limit
        self.looks = 0

    def __call__(self, step: int, values: Mapping[str, float]) -> None:
        value = values.get(self.name)
        if value is None or not math.isfinite(value):
            return
        self.trial.report(value, self.looks)
        self.looks += 1
        if self.prune and self.trial.should_prune():
            raise Stopped
        if self.limit < math.inf and self.trials.seconds > self.limit:
            raise Stopped
