"""One run: Config -> data set -> model -> fit -> evaluate -> Result."""

import contextlib
import dataclasses
import importlib.metadata
import logging
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from recbole.data.utils import create_samplers, get_dataloader
from recbole.utils import init_seed

from recbole_conrec.data.dataset import NegativeFeedbackDataset
from recbole_conrec.evaluation.summary import summarise
from recbole_conrec.runs import failures, lock, records
from recbole_conrec.runs.checkpoints import WEIGHTS
from recbole_conrec.runs.checks import check_data
from recbole_conrec.runs.config import make_config
from recbole_conrec.runs.identity import folder_of, hub_models, identify, plain
from recbole_conrec.runs.options import RunOptions
from recbole_conrec.runs.restore import fingerprints_of
from recbole_conrec.runs.stock_models import check_fields, check_files
from recbole_conrec.runs.threads import pinned
from recbole_conrec.runs.trackers import Listener, Reporting, Stopped, reporting
from recbole_conrec.runs.trainer import find_trainer
from recbole_conrec.utils.damage import read_object, set_aside
from recbole_conrec.utils.distributed import process_state, write_once
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import write_json, write_text
from recbole_conrec.utils.model_files import fetch
from recbole_conrec.utils.resources import peak_mb
from recbole_conrec.utils.version import __version__

LOG = "run.log"
PACKAGES = ("recbole", "torch", "transformers", "trl", "peft", "faiss-cpu", "numpy", "pandas")


@dataclass
class Result:
    """What one run leaves behind; ``record`` is also on disk as ``result.json`` in ``run_dir``.

    Attributes:
        record: model, dataset, metrics {name: {value, n}}, cost, config, versions, data fingerprint.
        outcomes: per-instance values of every metric on the test instances, [N] each, NaN where one does not count.
        run_dir: folder with result.json, config.yaml, model.safetensors, outcomes.parquet and run.log.
    """

    record: dict
    outcomes: dict[str, np.ndarray] = field(repr=False)
    run_dir: Path


def run(model: str | None = None, dataset: str | None = None, files=(), options: dict | None = None) -> Result:
    """Train one model on one data set and evaluate it on the test instances.

    A run that is already recorded, with the same options, data and version, is read and not repeated.

    Args: as :func:`recbole_conrec.runs.config.make_config`. Raises UserError for a user's mistake, and
    :class:`recbole_conrec.runs.lock.BusyError` if another process is at the same run.
    """
    asked = RunOptions.of(make_config(model, dataset, files, options))
    with held(asked) as (identity, run_dir):
        found, why = records.read(run_dir, identity)
        if found:
            return Result(found.result, found.outcomes(), run_dir)
        if why != "missing" and process_state().is_main_process:
            records.discard(run_dir, why)
        failures.clear(run_dir)
        with (
            pinned(asked.place.threads),
            logged(asked.place.state, run_dir),
            reporting(asked, run_dir) as report,
        ):
            return _recorded(asked, identity, run_dir, report)


@contextlib.contextmanager
def held(asked: RunOptions, patience: float = 2.0) -> Iterator[tuple[str, Path]]:
    """The run's identity and folder, held against other processes, its data checked; why it fails is kept there."""
    config, model_class = asked.config, asked.choice.network
    identity = identify(config, model_class)
    if not folder_of(config, identity).exists() and sum(map(fetch, hub_models(config))):
        identity = identify(config, model_class)
    run_dir = folder_of(config, identity)
    check_data(config)
    made = [folder for folder in (run_dir, *run_dir.parents) if not folder.exists()]
    run_dir.mkdir(parents=True, exist_ok=True)
    with lock.hold(run_dir, patience) if process_state().is_main_process else contextlib.nullcontext():
        try:
            yield identity, run_dir
        except Stopped:
            raise
        except Exception as error:
            if process_state().is_main_process:
                _failed(run_dir, made, error)
            raise


def _failed(run_dir: Path, made: list[Path], error: Exception) -> None:
    """Keep why a run failed; of one that failed before it trained nothing is kept, nor the folders ``made`` for it."""
    if run_dir not in made or {file.name for file in run_dir.iterdir()} - {lock.RUN, LOG}:
        failures.note(run_dir, failures.reason(error))
        return
    shutil.rmtree(run_dir, ignore_errors=True)
    with contextlib.suppress(OSError):  # of a folder that holds other things by now
        for folder in made[1:]:
            folder.rmdir()


@dataclass
class Fitted:
    """A trained network with what it was trained on."""

    trainer: Any
    network: Any
    data: NegativeFeedbackDataset
    parts: tuple
    fit_s: float


def fit(asked: RunOptions, run_dir: Path, listeners: Sequence[Listener]) -> Fitted:
    """Load the data, build the network and train it."""
    config, place, model_class = asked.config, asked.place, asked.choice.network
    show_progress = place.show_progress and process_state().is_main_process
    init_seed(place.seed, place.reproducibility)
    check_files(config)
    data = NegativeFeedbackDataset(config)
    check_fields(config, data)
    train, valid, test = data.build()
    sampler, *_ = create_samplers(config, data, [train, valid, test])
    train_data = get_dataloader(config, "train")(config, train, sampler, shuffle=asked.loop.shuffle)

    init_seed(place.seed, place.reproducibility)
    try:
        network = model_class(config, train)
        network = network.to(network.device)
    except (ValueError, NotImplementedError) as error:  # how RecBole's models refuse an option
        raise UserError(f"{asked.choice.method}: {error}") from error
    trainer = find_trainer(asked.choice.method, model_class)(config, network, run_dir)
    trainer.listeners = list(listeners)
    with _stopwatch(run_dir / "spent.json") as fit_seconds:
        trainer.fit(train_data, valid, show_progress=show_progress)
    return Fitted(trainer, network, data, (train, valid, test), fit_seconds())


def _recorded(asked: RunOptions, identity: str, run_dir: Path, report: Reporting) -> Result:
    config, chosen, place = asked.config, asked.choice, asked.place
    show_progress = place.show_progress and process_state().is_main_process
    fitted = fit(asked, run_dir, [report])
    trainer, network, data, (train, valid, test) = fitted.trainer, fitted.network, fitted.data, fitted.parts
    started = time.perf_counter()
    calibration = trainer.calibrate(valid, show_progress)
    measured = trainer.measure(test, calibration, show_progress)
    evaluated = time.perf_counter()

    record = {
        "model": chosen.method,
        "dataset": chosen.dataset,
        "metrics": {**summarise(measured.outcomes), **measured.figures},
        "valid": {asked.evaluation.valid_metric: float(trainer.best_valid_score)},
        "cost": {
            "fit_s": fitted.fit_s,
            "eval_s": evaluated - started,
            "peak_mb": peak_mb(),
            "peak_gpu_mb": torch.cuda.max_memory_allocated() / 2**20 if network.device.type == "cuda" else None,
            "parameters": sum(p.numel() for p in network.parameters()),
            **trainer.cost,
            **report.cost(),
        },
        "contrast": calibration.contrast,
        "present": None if calibration.present is None else dataclasses.asdict(calibration.present),
        "stages": trainer.stages,
        "curve": trainer.curve,
        "instances": {part.split: len(part) for part in (train, valid, test)},
        "seed": place.seed,
        "data_fingerprint": data.fingerprint,
        "fingerprints": fingerprints_of(config, network, run_dir / WEIGHTS),
        "config": plain(config),
        "identity": identity,
        "versions": versions(),
        "hardware": hardware(),
        "bit_equal_with": ["hardware", "versions"],  # where these are the same, so are the figures, to the last bit
    }
    write_once(run_dir / "config.yaml", lambda path: write_text(path, yaml.safe_dump(record["config"])))
    records.write(run_dir, record, records.facts(data), measured.outcomes)
    report.finish(record)
    return Result(record, measured.outcomes, run_dir)


def versions() -> dict[str, str]:
    return {
        "recbole-conrec": __version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def hardware() -> dict:
    """Where a run was trained: on other hardware, or with another number of threads, training rounds differently."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "machine": platform.machine(),
        "simd": torch.backends.cpu.get_cpu_capability(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
    }


@contextlib.contextmanager
def _stopwatch(file: Path):
    """Seconds spent inside, those of earlier attempts at the same run included; yields a function that returns them.

    (What a killed process spent is lost: it could not write it.)
    """
    before = _spent(file)
    started = time.perf_counter()
    stopped: list[float] = []
    try:
        yield lambda: before + (stopped[0] if stopped else time.perf_counter() - started)
    finally:
        stopped.append(time.perf_counter() - started)
        if process_state().is_main_process:
            write_json(file, {"fit_s": before + stopped[0]})


def _spent(file: Path) -> float:
    """The seconds that earlier attempts noted; 0, with a warning, where the note is damaged."""
    try:
        return float(read_object(file)["fit_s"])
    except FileNotFoundError:
        return 0.0
    except (OSError, ValueError, KeyError, TypeError) as error:
        set_aside(file, error)
        return 0.0


@contextlib.contextmanager
def logged(state: str | None, run_dir: Path):
    """RecBole's messages go to ``run.log``; warnings also to the terminal, which shows progress bars instead."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    file = logging.FileHandler(run_dir / LOG)
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    file.addFilter(_strip_colour)
    screen = logging.StreamHandler()
    screen.setLevel((state or "WARNING").upper())
    root.handlers, root.level = [file, screen], logging.INFO
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # what a full disk did not take
            file.close()
        root.handlers, root.level = before, level


def _strip_colour(record) -> bool:
    record.msg = re.sub(r"\x1b\[[0-9;]*m", "", str(record.msg))
    return True
