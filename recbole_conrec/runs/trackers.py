"""What a run reports while it trains, to TensorBoard, Weights & Biases or MLflow, and the energy that it used.

Nothing is written unless the option `report_to` asks for it. Every tracker gets the same values, by name: `loss`,
`learning_rate`, `valid/<metric>` and `time/...` of an epoch; the same below the name of a stage (`grpo-1/reward`,
`grpo-1/kl`); at the end the figures (`test/HR@20`) and the cost (`cost/fit_s`). A step is an epoch, or a step of the
optimiser counted over all stages.
"""

import contextlib
import importlib
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import yaml

from recbole_conrec.runs.identity import plain
from recbole_conrec.runs.options import RunOptions
from recbole_conrec.utils.damage import read_object, set_aside
from recbole_conrec.utils.distributed import process_state
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import write_json

STATE = "reported.json"  # in the run's folder: what its trackers have, so that a resumed run continues there
PROJECT = "recbole-conrec"
Listener = Callable[[int, Mapping[str, float]], None]
"""Is called with a step and what was measured there; values of earlier attempts come again when a run resumes."""


class Stopped(Exception):  # noqa: N818  # no error
    """A listener ends the training."""


class Tracker(Protocol):
    """Where reports go."""

    def log(self, step: int, values: dict[str, float]) -> None:
        """Take values of a step, which never decreases."""

    def finish(self, figures: dict[str, float], ended: bool) -> None:
        """Take the final figures; ``ended``: the run has not failed."""


class Reporting:
    """What a run reports to. Calling it is reporting; a value that an earlier attempt has reported is left out.

    Args:
        folder: of the run.
        trackers: where reports go.
        meter: codecarbon's tracker; None without one.
    """

    def __init__(self, folder: Path, trackers: list[Tracker], meter: Any = None):
        self.file, self.trackers, self.meter = folder / STATE, trackers, meter
        self._last: dict[str, int] = _read(self.file).get("last", {})
        self._step = 0

    def __call__(self, step: int, values: Mapping[str, float]) -> None:
        new = {k: v for k, v in _numbers(values).items() if self._last.get(k, -1) < step}
        self._step = max(self._step, step)
        if not (new and self.trackers):
            return
        for tracker in self.trackers:
            tracker.log(step, new)
        self._last |= dict.fromkeys(new, step)
        write_json(self.file, {**_read(self.file), "last": self._last})

    def cost(self) -> dict[str, float]:
        """{energy_kwh: what processor, memory and GPU took since the run began}, where codecarbon measures; else {}."""
        if self.meter is None:
            return {}
        self.meter.stop()
        energy, self.meter = self.meter.final_emissions_data.energy_consumed, None
        return {"energy_kwh": float(energy)}

    def finish(self, record: dict | None = None) -> None:
        """Report the figures of a finished run, or (None) that it ended without."""
        self.cost()
        figures = {} if record is None else final(record)
        for tracker in self.trackers:
            tracker.finish(figures, record is not None)
        self.trackers = []


def final(record: dict) -> dict[str, float]:
    """The figures of a record by the names under which they are reported."""
    test = {f"test/{name}": figure["value"] for name, figure in record["metrics"].items()}
    valid = {f"valid/best {name}": value for name, value in record["valid"].items()}
    return _numbers({**test, **valid, **{f"cost/{name}": value for name, value in record["cost"].items()}})


@contextlib.contextmanager
def reporting(asked: RunOptions, folder: Path) -> Iterator[Reporting]:
    """The trackers that the options ask for, while a run trains; of several processes only the main one reports.

    Raises UserError for one that is not installed.
    """
    names = asked.place.report_to if process_state().is_main_process else ()
    trackers = [TRACKERS[name](asked, folder) for name in names if name in TRACKERS]
    report = Reporting(folder, trackers, _meter() if "codecarbon" in names else None)
    try:
        yield report
    finally:
        report.finish()


# -- trackers --------------------------------------------------------------------------------------------------------
class TensorBoard:
    """Event files in the folder `tensorboard` of the run."""

    def __init__(self, asked: RunOptions, folder: Path):
        writer = _installed("torch.utils.tensorboard", "tensorboard").SummaryWriter
        self.writer, self.step = writer(str(folder / "tensorboard")), 0
        self.writer.add_text("options", f"```\n{yaml.safe_dump(plain(asked.config))}\n```")

    def log(self, step: int, values: dict[str, float]) -> None:
        self.step = step
        for name, value in values.items():
            self.writer.add_scalar(_tame(name, "@"), value, step)
        self.writer.flush()

    def finish(self, figures: dict[str, float], ended: bool) -> None:
        self.log(self.step, figures)
        self.writer.close()


class WandB:
    """A run of the project recbole-conrec; `WANDB_PROJECT`, `WANDB_MODE=offline` and the like are W&B's own."""

    def __init__(self, asked: RunOptions, folder: Path):
        wandb = _installed("wandb")
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=re.sub(r"[^\w-]", "_", folder.name),
            resume="allow",
            name=_title(asked),
            group=asked.choice.dataset,
            dir=str(folder.absolute()),
            config=plain(asked.config),
            settings=wandb.Settings(silent=True),
        )

    def log(self, step: int, values: dict[str, float]) -> None:
        self.run.log(values, step=step)

    def finish(self, figures: dict[str, float], ended: bool) -> None:
        self.run.summary.update(figures)
        self.run.finish(exit_code=0 if ended else 1)


class MLflow:
    """A run of the experiment that has the data set's name, at `MLFLOW_TRACKING_URI`, or in files in `mlruns` of
    `checkpoint_dir`. MLflow allows no @ in a name: HR@20 is HR_at_20 there.
    """

    def __init__(self, asked: RunOptions, folder: Path):
        self.entities = _installed("mlflow.entities", "mlflow")
        client = _installed("mlflow.tracking", "mlflow").MlflowClient
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if not uri:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            uri = (Path(asked.place.checkpoint_dir).absolute() / "mlruns").as_uri()
        self.client, self.step = client(tracking_uri=uri), 0
        state = _read(folder / STATE)
        self.run = state.get("mlflow")
        if self.run is None:
            experiment = self._experiment(asked.choice.dataset)
            self.run = self.client.create_run(experiment, run_name=_title(asked)).info.run_id
            given = [self.entities.Param(key, str(value)[:500]) for key, value in plain(asked.config).items()]
            for first in range(0, len(given), 100):  # as many as it takes at a time
                self.client.log_batch(self.run, params=given[first : first + 100])
            write_json(folder / STATE, {**state, "mlflow": self.run})

    def _experiment(self, name: str) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is None:
            try:
                return self.client.create_experiment(name)
            except Exception:  # another process has just made it
                found = self.client.get_experiment_by_name(name)
                if found is None:
                    raise
        return found.experiment_id

    def log(self, step: int, values: dict[str, float]) -> None:
        self.step, now = step, int(time.time() * 1000)
        named = {_tame(name, "/"): value for name, value in values.items()}
        self.client.log_batch(self.run, [self.entities.Metric(k, v, now, step) for k, v in named.items()])

    def finish(self, figures: dict[str, float], ended: bool) -> None:
        self.log(self.step, figures)
        self.client.set_terminated(self.run, "FINISHED" if ended else "FAILED")


TRACKERS: Mapping[str, Callable[[RunOptions, Path], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
    "mlflow": MLflow,
}


def _meter() -> Any:
    """Codecarbon, started. Its offline form asks no service where this machine is, which energy does not depend on."""
    meter = _installed("codecarbon").OfflineEmissionsTracker(
        country_iso_code="USA", save_to_file=False, log_level="critical", allow_multiple_runs=True
    )
    meter.start()
    return meter


def _installed(module: str, package: str = "") -> Any:
    package = package or module
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"report_to: {package} cannot be imported ({error}); pip install 'recbole-conrec[{package}]', or leave it "
            "out"
        ) from None


def _title(asked: RunOptions) -> str:
    return f"{asked.choice.method} seed {asked.place.seed}"


def _tame(name: str, also: str) -> str:
    """A name of the characters that every tracker takes, and ``also`` these."""
    return re.sub(rf"[^\w./ {also}-]", "_", name if "@" in also else name.replace("@", "_at_"))


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers among values."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def _read(file: Path) -> dict[str, Any]:
    try:
        return read_object(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        set_aside(file, error)
        return {}
