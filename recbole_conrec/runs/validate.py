"""A run up to its validation: what a search over options looks at."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recbole_conrec.runs import records
from recbole_conrec.runs.config import make_config
from recbole_conrec.runs.identity import plain
from recbole_conrec.runs.options import RunOptions
from recbole_conrec.runs.runner import fit, held, logged
from recbole_conrec.runs.threads import pinned
from recbole_conrec.runs.trackers import Listener, reporting


@dataclass(frozen=True)
class Validated:
    """What a run shows of itself before it is tested.

    Attributes:
        metric: name of the validation metric. valid: its value for the best weights; NaN where the method has none.
        epochs: trained epochs. fit_s: seconds of training. parameters: number of trained parameters.
        run_dir: its folder.
    """

    metric: str
    valid: float
    epochs: int
    fit_s: float
    parameters: int
    run_dir: Path


def validate(
    model: str | None, dataset: str | None, files=(), options: dict | None = None, listeners: Sequence[Listener] = ()
) -> Validated:
    """Train a model as :func:`recbole_conrec.runs.runner.run` does and validate it, without a look at the test.

    ``run`` with the same options then continues from here: it is tested and recorded. Of a run that is recorded
    already the validation is read. A run that another process is training is waited for.

    Args:
        listeners: get what training measures (see trackers.py); one may end it by raising Stopped, which comes out.
    """
    asked = RunOptions.of(make_config(model, dataset, files, options))
    with held(asked, patience=math.inf) as (identity, run_dir):
        found, _ = records.read(run_dir, identity)
        if found:
            return _validated(found.result, run_dir, listeners)
        with (
            pinned(asked.place.threads),
            logged(asked.place.state, run_dir),
            reporting(asked, run_dir) as report,
        ):
            fitted = fit(asked, run_dir, [report, *listeners])
    trainer = fitted.trainer
    return Validated(
        metric=asked.evaluation.valid_metric,
        valid=float(trainer.best_valid_score),
        epochs=_epochs(trainer.curve, plain(asked.config).get("stages")),
        fit_s=trainer.cost.get("fit_s", fitted.fit_s),
        parameters=sum(p.numel() for p in fitted.network.parameters()),
        run_dir=run_dir,
    )


def _validated(record: dict, run_dir: Path, listeners: Sequence[Listener]) -> Validated:
    """The validation of a recorded run; its looks are reported as if it were trained now."""
    (metric, valid), *_ = record["valid"].items()
    valid = math.nan if valid is None else valid
    looks = [one["valid"] for stage in record["stages"] for one in stage.get("validation") or [stage]]
    for step, look in enumerate(looks or [one["valid"] for one in record["curve"]]):
        for listener in listeners:
            listener(step, {f"valid/{metric}": look})
    epochs, cost = _epochs(record["curve"], record["config"].get("stages")), record["cost"]
    return Validated(metric, valid, epochs, cost["fit_s"], cost["parameters"], run_dir)


def _epochs(curve: list, stages: list[dict] | None) -> int:
    """Trained epochs; of a method that is trained in stages, whose curves count steps, those of its options."""
    return len(curve) or sum(int(stage.get("epochs") or 0) for stage in stages or ())
