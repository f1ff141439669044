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
AVERAGE = "average.safetensors"
STATE_KEYS = {"curve": list, "best": int | float, "seconds": int | float, "kept": bool, "averaged": bool}


class BestWeights(TrainerCallback):
    """Scores the model every few steps on validation and keeps the best weights, the starting ones included.

    ``select: last`` still validates but keeps the last weights. With ``ema`` it is a moving average of the weights that
    is scored and kept; training itself continues with its own. The state of all this goes into every checkpoint.

    Args:
        lm: the language model that trains.
        score: () -> float, the validation metric of the model as it is now.
        stage: the stage's options.
        checkpoint: folder of the checkpoint that the stage resumes from.
        before: the metric of the weights that the stage begins with, if it is known.
        report: called with the step and {valid: the metric} after each look; those of earlier attempts come first.
    """

    def __init__(
        self,
        lm: torch.nn.Module,
        score: Callable[[], float],
        stage: StageOptions,
        checkpoint: str | None = None,
        before: float | None = None,
        report: Callable[[int, dict], None] = lambda step, values: None,
    ):
        self.lm, self.score, self.before = lm, score, before
        self.every, self.select, self.ema = stage.evaluate_every, stage.select, stage.ema
        self.report = report
        self.curve: list[dict] = []
        self.best = -1.0
        self.weights: dict[str, torch.Tensor] | None = None
        self.average: dict[str, torch.Tensor] | None = None
        self._before, self._started = 0.0, time.perf_counter()
        if checkpoint:
            state = read_state(checkpoint)
            self.curve, self.best, self._before = state["curve"], state["best"], state["seconds"]
            device = next(lm.parameters()).device
            if state["kept"]:
                self.weights = {k: v.to(device) for k, v in load_file(Path(checkpoint) / BEST).items()}
            if state["averaged"]:
                self.average = {k: v.to(device) for k, v in load_file(Path(checkpoint) / AVERAGE).items()}
            for look in self.curve:
                report(look["step"], {"valid": look["valid"]})

    def seconds(self) -> float:
        """Spent on this stage; earlier attempts count up to their last checkpoint."""
        return self._before + time.perf_counter() - self._started

    def on_train_begin(self, args, state, control, **kwargs):
        if self.every and not self.curve:
            self._look(0)

    def on_step_end(self, args, state, control, **kwargs):
        if self.ema:
            self._add_to_average(state.global_step)
        if self.every and (state.global_step % self.every == 0 or state.global_step == state.max_steps):
            self._look(state.global_step)

    def on_save(self, args, state, control, **kwargs):
        if not state.is_world_process_zero:
            return
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        for file, weights in ((BEST, self.weights), (AVERAGE, self.average)):
            if weights is not None:
                save_file({k: v.cpu().contiguous() for k, v in weights.items()}, folder / file)
        content = {
            "curve": self.curve,
            "best": self.best,
            "seconds": self.seconds(),
            "kept": self.weights is not None,
            "averaged": self.average is not None,
        }
        write_json(folder / STATE, content)

    def final(self) -> float:
        """The metric of the weights that the stage ends with; the last look, if there was one, is not repeated."""
        if not self.curve:
            self.lm.eval()
            return self.score()
        return self.best if self.select == "best" else self.curve[-1]["valid"]

    def _trained(self) -> dict[str, torch.Tensor]:
        return {name: p for name, p in self.lm.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def _add_to_average(self, step: int) -> None:
        """At first the average is that of the last half or so of the steps; then it keeps ``ema`` of itself."""
        trained = self._trained()
        if self.average is None:
            self.average = {name: p.detach().clone() for name, p in trained.items()}
        keep = min(self.ema, step / (10 + step))
        for name, average in self.average.items():
            average.lerp_(trained[name], 1 - keep)

    @torch.no_grad()
    def _exchange(self) -> None:
        """The model's weights for their average, and the other way round."""
        for name, parameter in self._trained().items():
            if self.average is not None:
                own = parameter.detach().clone()
                parameter.copy_(self.average[name])
                self.average[name].copy_(own)

    def _look(self, step: int) -> None:
        training = self.lm.training
        self._exchange()
        value = self.before if step == 0 and self.before is not None else self.score()
        if value > self.best and self.select == "best":
            self.best = value
            self.weights = {name: p.detach().clone() for name, p in self._trained().items()}
        self._exchange()
        self.lm.train(training)
        self.curve.append({"step": step, "valid": value})
        self.report(step, {"valid": value})

    @torch.no_grad()
    def restore(self) -> None:
        """Put the weights that the stage ends with into the model: the best, the average, or the last."""
        kept = self.weights or self.average
        if kept is not None:
            for name, parameter in self._trained().items():
                parameter.copy_(kept[name])


def read_state(checkpoint) -> dict:
    """What :class:`BestWeights` kept in a checkpoint folder. Raises ValueError or OSError for damaged files."""
    state = read_object(Path(checkpoint) / STATE)
    for key, kind in STATE_KEYS.items():
        if not isinstance(state.get(key), kind):
            raise ValueError(f"{STATE}: {key} is {state.get(key)!r}")
    for key, file in (("kept", BEST), ("averaged", AVERAGE)):
        if state[key]:
            check_tensors(Path(checkpoint) / file)
    return state
