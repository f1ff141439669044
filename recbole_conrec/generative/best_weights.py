"""The best weights of a stage, by the validation metric."""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from recbole_conrec.generative.stage_options import StageOptions
from recbole_conrec.utils.damage import check_tensors, read_object
from recbole_conrec.utils.files import write_json

STATE = "best.json"  # the last file of a checkpoint: one without it is incomplete
BEST = "best.safetensors"
STATE_KEYS = {"curve": list, "best": int | float, "seconds": int | float, "kept": bool}


class BestWeights(TrainerCallback):
    """Scores the model every few steps on validation and keeps the best weights, the starting ones included.

    ``select: last`` still validates but keeps the last weights. Its state goes into every checkpoint.

    Args:
        lm: the language model that trains.
        score: () -> float, the validation metric of the model as it is now.
        stage: the stage's options.
        checkpoint: folder of the checkpoint that the stage resumes from.
        before: the metric of the weights that the stage begins with, if it is known.
    """

    def __init__(
        self,
        lm: torch.nn.Module,
        score: Callable[[], float],
        stage: StageOptions,
        checkpoint: str | None = None,
        before: float | None = None,
    ):
        self.lm, self.score, self.before = lm, score, before
        self.every, self.select = stage.evaluate_every, stage.select
        self.curve: list[dict] = []
        self.best = -1.0
        self.weights: dict[str, torch.Tensor] | None = None
        self._before, self._started = 0.0, time.perf_counter()
        if checkpoint:
            state = read_state(checkpoint)
            self.curve, self.best, self._before = state["curve"], state["best"], state["seconds"]
            if state["kept"]:
                device = next(lm.parameters()).device
                self.weights = {k: v.to(device) for k, v in load_file(Path(checkpoint) / BEST).items()}

    def seconds(self) -> float:
        """Spent on this stage; earlier attempts count up to their last checkpoint."""
        return self._before + time.perf_counter() - self._started

    def on_train_begin(self, args, state, control, **kwargs):
        if self.every and not self.curve:
            self._look(0)

    def on_step_end(self, args, state, control, **kwargs):
        if self.every and (state.global_step % self.every == 0 or state.global_step == state.max_steps):
            self._look(state.global_step)

    def on_save(self, args, state, control, **kwargs):
        if not state.is_world_process_zero:
            return
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if self.weights is not None:
            save_file({k: v.cpu().contiguous() for k, v in self.weights.items()}, folder / BEST)
        content = {"curve": self.curve, "best": self.best, "seconds": self.seconds(), "kept": self.weights is not None}
        write_json(folder / STATE, content)

    def final(self) -> float:
        """The metric of the weights that the stage ends with; the last look, if there was one, is not repeated."""
        if not self.curve:
            self.lm.eval()
            return self.score()
        return self.best if self.select == "best" else self.curve[-1]["valid"]

    def _look(self, step: int) -> None:
        training = self.lm.training
        value = self.before if step == 0 and self.before is not None else self.score()
        self.lm.train(training)
        self.curve.append({"step": step, "valid": value})
        if value > self.best and self.select == "best":
            self.best = value
            self.weights = {n: p.detach().clone() for n, p in self.lm.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def restore(self) -> None:
        """Put the best weights into the model, where ``select`` keeps them."""
        if self.weights is not None:
            for name, parameter in self.lm.named_parameters():
                if name in self.weights:
                    parameter.copy_(self.weights[name])


def read_state(checkpoint) -> dict:
    """What :class:`BestWeights` kept in a checkpoint folder. Raises ValueError or OSError for damaged files."""
    state = read_object(Path(checkpoint) / STATE)
    for key, kind in STATE_KEYS.items():
        if not isinstance(state.get(key), kind):
            raise ValueError(f"{STATE}: {key} is {state.get(key)!r}")
    if state["kept"]:
        check_tensors(Path(checkpoint) / BEST)
    return state
