"""Finished stages, kept beside the runs and named by content."""

import contextlib
import hashlib
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from recbole_conrec.runs import lock, records
from recbole_conrec.utils.distributed import process_state, write_once
from recbole_conrec.utils.files import write_json
from recbole_conrec.utils.version import __version__

# Options that no training looks at: stages are shared by runs that differ in these alone, or in what comes later.
NOT_TRAINED = {"metrics", "candidate_scores", "metric_decimal_place", "stages"}


@dataclass(frozen=True)
class StageStore:
    """The folder of one stage, named by all that decides its weights: data, options, seed, and the stages before it.

    ``weights.safetensors`` and, last, ``stage.json`` are there once it is finished; checkpoints until then.
    """

    folder: Path

    @classmethod
    def of(cls, config, model, data, number: int) -> "StageStore":
        ignored = records.WHERE | NOT_TRAINED
        if config["valid_metric"].lower() == "candacc":  # then the first way to rank candidates selects the weights
            ignored = ignored - {"candidate_scores"}
        options = {k: v for k, v in records.plain(config).items() if k not in ignored}
        content = [
            options,
            config["stages"][: number + 1],
            data.fingerprint,
            model.semantic_ids.fingerprint,
            type(model).__qualname__,
            __version__,
            *records.foreign_source(type(model)),
            *records.named_files(options),
        ]
        key = hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]
        return cls(Path(config["checkpoint_dir"]) / config["dataset"] / "stages" / key)

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
            process_state().wait_for_everyone()
            yield

    def read(self) -> dict | None:
        file = self.folder / "stage.json"
        return json.loads(file.read_text()) if file.exists() else None

    def write(self, weights: dict[str, torch.Tensor], entry: dict) -> None:
        write_once(self.weights, lambda path: save_file(weights, path))
        write_once(self.folder / "stage.json", lambda path: write_json(path, entry))
        if process_state().is_main_process:
            for checkpoint in self.folder.glob("checkpoint-*"):
                shutil.rmtree(checkpoint)

    def checkpoint(self) -> str | None:
        """The last complete checkpoint of an interrupted attempt."""
        whole = [file.parent for file in self.folder.glob("checkpoint-*/best.json")]
        return str(max(whole, key=lambda folder: int(folder.name.split("-")[1]))) if whole else None
