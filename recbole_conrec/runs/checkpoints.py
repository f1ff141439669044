"""Checkpoints that hold no pickled objects: the best weights as safetensors, and the state after the last epoch."""

import copy
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.trainer import Trainer
from safetensors.torch import load_file, save_file

from recbole_conrec.utils.damage import check_tensors, set_aside, shapes
from recbole_conrec.utils.distributed import write_once

WEIGHTS = "model.safetensors"  # the file of a run's weights
LAST = "last.pt"  # the state after the last epoch


class CheckpointMixin(Trainer):
    """Saving, loading and resuming, over any RecBole trainer.

    Attributes:
        run_dir: folder of the run.
        curve: an entry per epoch.
    """

    run_dir: Path
    curve: list[dict]
    best_valid_score: float
    best_valid_result: dict | None
    train_loss_dict: dict
    _loader: Any  # of the training data

    def _save_checkpoint(self, epoch, verbose=True, **kwargs):
        """The best model so far, as safetensors."""
        self.saved_model_file = str(self.run_dir / WEIGHTS)
        state = {k: v.detach().cpu().contiguous().clone() for k, v in self.model.state_dict().items()}
        write_once(self.saved_model_file, lambda path: save_file(state, path))

    def load(self, file) -> None:
        self.model.load_state_dict(load_file(str(file)))

    def _save_last(self, epoch: int) -> None:
        write_once(self.run_dir / LAST, lambda path: torch.save(self._state(epoch), path))

    def _state(self, epoch: int) -> dict[str, Any]:
        """Everything that the next epoch depends on: tensors, numbers and random states."""
        state = {
            "epoch": epoch,
            "cur_step": self.cur_step,
            "best": self.best_valid_score,
            "curve": self.curve,
            "best_result": dict(self.best_valid_result or {}),
            "losses": self.train_loss_dict,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "torch": torch.get_rng_state(),
            "random": list(random.getstate()[1]),
            "numpy": _numpy_state(),
            "loader": self._loader.generator.get_state(),
        }
        if self.device.type == "cuda":  # dropout draws there
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def _resume(self) -> bool:
        """Resume from the last epoch of an earlier attempt, if its files are there and whole."""
        last, best = self.run_dir / LAST, self.run_dir / WEIGHTS
        if not last.exists():
            return False
        start = copy.deepcopy(self._state(-1))
        file = best
        try:
            check_tensors(best, shapes(self.model.state_dict()))
            file = last
            self._restore(torch.load(last, weights_only=True, map_location="cpu"))
        except Exception as error:  # whatever torch raises for bytes that are no checkpoint, or half of one
            set_aside(file, error)
            (last if file == best else best).unlink(missing_ok=True)  # one is of no use without the other
            self._restore(start)
            return False
        self.saved_model_file = str(best)
        return True

    def _restore(self, state: dict[str, Any]) -> None:
        """Put back what :meth:`_state` gave."""
        self.start_epoch, self.cur_step = state["epoch"] + 1, state["cur_step"]
        self.best_valid_score, self.best_valid_result = state["best"], state["best_result"]
        self.train_loss_dict, self.curve = state["losses"], state["curve"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["torch"])
        if self.device.type == "cuda" and "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], self.device)
        np.random.set_state(("MT19937", np.array(state["numpy"][0], dtype=np.uint32), *state["numpy"][1:]))
        random.setstate((3, tuple(state["random"]), None))
        self._loader.generator.set_state(state["loader"])


def _numpy_state() -> list:
    _, keys, *others = np.random.get_state(legacy=True)
    return [np.asarray(keys).tolist(), *others]
