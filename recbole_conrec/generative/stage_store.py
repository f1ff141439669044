"""Finished stages, kept beside the runs and named by content."""

import contextlib
import hashlib
import json
import shutil
import sys
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME

from recbole_conrec.generative.best_weights import STATE, read_state
from recbole_conrec.runs import lock
from recbole_conrec.runs.identity import WHERE, foreign_source, named_files, plain
from recbole_conrec.runs.options import ChoiceOptions, EvaluationOptions, PlaceOptions
from recbole_conrec.utils.damage import check_tensors, has_tensors, one_line, read_object, set_aside
from recbole_conrec.utils.distributed import process_state, write_once
from recbole_conrec.utils.files import write_json
from recbole_conrec.utils.version import __version__

STAGE = "stage.json"
NUMBER = (int, float)
ENTRY: dict[str, type | tuple[type, ...]] = {  # what stage.json holds at least
    "name": str,
    "steps": int,
    "seconds": NUMBER,
    "peak_mb": NUMBER,
    "valid": NUMBER,
    "curve": list,
}
# Options that no training looks at: stages are shared by runs that differ in these alone, or in what comes later.
NOT_TRAINED = {"as_of", "contrast_scoring", "present", "metrics", "candidate_scores", "metric_decimal_place", "stages"}


@dataclass(frozen=True)
class StageStore:
    """The folder of one stage, named by all that decides its weights: data, options, seed, and the stages before it.

    ``weights.safetensors`` and, last, ``stage.json`` are there once it is finished; checkpoints until then.
    """

    folder: Path

    @classmethod
    def of(cls, config, model, data, number: int) -> "StageStore":
        ignored = WHERE | NOT_TRAINED
        if EvaluationOptions.of(config).valid_metric.lower() == "candacc":
            ignored = ignored - {"candidate_scores"}  # the first of them selects the weights
        every = plain(config)
        names = [stage.name for stage in model.stages[: number + 1]]  # without those that are skipped or left out
        options = {k: v for k, v in every.items() if k not in ignored}
        content = [
            options,
            [entry for entry in every["stages"] if entry["name"] in names],
            data.training_fingerprint,
            model.semantic_ids.fingerprint,
            type(model).__qualname__,
            __version__,
            *foreign_source(type(model)),
            *named_files(options),
        ]
        key = hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]
        return cls(Path(PlaceOptions.of(config).checkpoint_dir) / ChoiceOptions.of(config).dataset / "stages" / key)

    @property
    def weights(self) -> Path:
        return self.folder / "weights.safetensors"

    @contextlib.contextmanager
    def hold(self):
        """Of several runs that need this stage one trains it, and the others wait."""
        self.folder.mkdir(parents=True, exist_ok=True)
        main = process_state().is_main_process
        if main and lock.is_held(self.folder):
            print(f"waiting for another run, which trains the same stage ({self.folder})", file=sys.stderr)
        with lock.hold(self.folder, patience=float("inf")) if main else contextlib.nullcontext():
            if main:
                self.clean()
            process_state().wait_for_everyone()
            try:
                yield
            except BaseException:
                if main:
                    self.clean()
                raise

    def read(self, wanted: dict[str, tuple[int, ...]]) -> dict | None:
        """The entry of the finished stage; None if it is not finished, or its files are damaged.

        Args:
            wanted: names and shapes of the tensors that its weights hold.
        """
        file = self.folder / STAGE
        if not file.exists():
            return None
        try:
            entry = read_object(file)
            for key, kind in ENTRY.items():
                if not isinstance(entry.get(key), kind):
                    raise ValueError(f"{key} is {entry.get(key)!r}")
        except (OSError, ValueError) as error:
            set_aside(file, error)
            return None
        return entry if has_tensors(self.weights, wanted) else None

    def write(self, weights: dict[str, torch.Tensor], entry: dict) -> None:
        write_once(self.weights, lambda path: save_file(weights, path))
        write_once(self.folder / STAGE, lambda path: write_json(path, entry))
        if process_state().is_main_process:
            for checkpoint in self.folder.glob("checkpoint-*"):
                shutil.rmtree(checkpoint)

    def checkpoint(self) -> str | None:
        """The last whole checkpoint of an interrupted attempt."""
        whole = [folder for folder in self._checkpoints() if not checkpoint_damage(folder)]
        return str(whole[-1]) if whole else None

    def clean(self) -> None:
        """Remove what an attempt that was killed, or ran out of disk, left half-written; the lock must be held."""
        for folder in self._checkpoints():
            if not (folder / STATE).exists():
                shutil.rmtree(folder)
            elif why := checkpoint_damage(folder):
                shutil.rmtree(folder)
                warnings.warn(f"{folder} was damaged ({why}) and is removed; an earlier one is used", stacklevel=2)

    def _checkpoints(self) -> list[Path]:
        return sorted(self.folder.glob("checkpoint-*"), key=lambda folder: int(folder.name.split("-")[1]))


def checkpoint_damage(folder: Path) -> str:
    """What is wrong with a checkpoint of :class:`BestWeights` and of transformers' trainer; '' for a whole one."""
    try:
        read_state(folder)
        read_object(folder / TRAINER_STATE_NAME)
        archives = [folder / OPTIMIZER_NAME, folder / SCHEDULER_NAME, *folder.glob("rng_state*.pth")]
        for file in archives:
            if not zipfile.is_zipfile(file):
                raise ValueError(f"{file.name} is missing or not whole")
        weights = list(folder.glob("*model*.safetensors"))
        for file in weights:
            check_tensors(file)
        if len(archives) < 3 or not weights:
            raise ValueError("files are missing")
    except (OSError, ValueError) as error:
        return one_line(error)
    return ""
