"""Training in stages: checks, and what a task may call.

A stage is a mapping of ``stages`` in a model's YAML: a ``name``, a ``task`` out of the model's ``TASKS``, and the
options of that task. A task is a function of a :class:`StageRun`; it builds its rows and ends in ``run.sft`` or
``run.grpo``.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm
from transformers import TrainerCallback

from recbole_conrec.data.events import Window
from recbole_conrec.generative.prompts import context_of
from recbole_conrec.generative.rewards import REWARDS
from recbole_conrec.generative.stage_store import StageStore
from recbole_conrec.llm.sft import train_sft
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.names import nearest
from recbole_conrec.utils.resources import peak_mb

COMMON = frozenset({"evaluate_every", "save_every", "select", "bf16"})
SFT_NEEDS = frozenset({"epochs", "lr", "batch_size"})
SFT_TAKES = COMMON | {"weight_decay", "warmup", "schedule", "accumulate", "max_grad_norm"}
GRPO_NEEDS = frozenset({"samples", "steps", "prompts_per_step", "G", "beta", "lr"})
GRPO_TAKES = COMMON | {
    "temperature",
    "iterations",
    "clip",
    "accumulate",
    "rollout",
    "constrained",
    "warmup",
    "schedule",
}
# Options that are no numbers: checked elsewhere, or one of a few values.
OTHERS = {"name", "task", "context", "window", "clean", "weights", "future"}
CHOICES = {
    "reward": tuple(REWARDS),
    "select": ("best", "last"),
    "constrained": (True, False),
    "bf16": (True, False),
    "rollout": ("sample", "beam"),
    "schedule": (
        "cosine",
        "linear",
        "constant",
        "constant_with_warmup",
        "inverse_sqrt",
        "polynomial",
        "cosine_with_restarts",
    ),
}
COUNTS = {
    "epochs",
    "evaluate_every",
    "save_every",
    "batch_size",
    "samples",
    "steps",
    "prompts_per_step",
    "G",
    "accumulate",
    "iterations",
    "neighbours",
    "history",
    "min_negatives",
}
MAY_BE_ZERO = {"evaluate_every", "steps", "neighbours", "history", "min_negatives"}  # steps: -1 is one pass


@dataclass(frozen=True)
class Task:
    """How a stage trains: ``run`` is a function of a StageRun that returns ``run.sft(...)`` or ``run.grpo(...)``;
    ``needs`` and ``takes`` are the names of its options. ``check(stage, config)`` may raise UserError early."""

    run: Callable
    needs: frozenset[str]
    takes: frozenset[str] = frozenset()
    check: Callable | None = None


def check_stages(stages, tasks: dict[str, Task], config) -> None:
    """Raise UserError for a stage that is no mapping, an unknown task, or options that do not suit its task."""
    if not isinstance(stages, list) or not stages:
        raise UserError(f"stages: expected a list of at least one stage, see properties/model/{config['row']}.yaml")
    for number, stage in enumerate(stages):
        where = f"stages[{number}]"
        name = stage.get("task") if isinstance(stage, dict) else None
        if not isinstance(name, str) or name not in tasks or not isinstance(stage.get("name"), str):
            raise UserError(f"{where}: expected a mapping with a `name` and a `task` out of {', '.join(tasks)}")
        task, where = tasks[name], f"{where} ({stage['name']})"
        known = {"name", "task"} | task.needs | task.takes
        for key in sorted(set(stage) - known):
            raise UserError(
                f"{where}: '{key}' is no option of the task '{name}'{nearest(key, known)}; it takes "
                f"{', '.join(sorted(known))}"
            )
        for key in sorted(task.needs - set(stage)):
            raise UserError(f"{where}: the task '{name}' needs `{key}`; see properties/model/{config['row']}.yaml")
        for key in sorted(set(stage) - OTHERS - set(CHOICES)):
            if not isinstance(stage[key], int | float) or isinstance(stage[key], bool):
                raise UserError(f"{where}: {key} is {stage[key]!r}; expected a number")
            if key in COUNTS and not isinstance(stage[key], int):
                raise UserError(f"{where}: {key} is {stage[key]!r}; expected a whole number")
            if key in COUNTS - MAY_BE_ZERO and stage[key] < 1:
                raise UserError(f"{where}: {key} is {stage[key]!r}; expected at least 1")
        for key in sorted(set(stage) & set(CHOICES)):
            if stage[key] not in CHOICES[key]:
                choices = ", ".join(map(str, CHOICES[key]))
                raise UserError(f"{where}: {key} is {stage[key]!r}; expected one of {choices}")
        if stage.get("G", 2) < 2:
            raise UserError(f"{where}: G is {stage['G']}; a group needs at least 2 completions")
        if not _is_clean(stage.get("clean")):
            raise UserError(
                f"{where}: clean is {stage['clean']!r}; expected a mapping of `threshold` (a number) and "
                "`factor` (a whole number of at least 1), or null"
            )
        if {"context", "window", "history"} & (task.needs | task.takes):
            stage_context(stage, config)
        if task.check:
            task.check(stage, config)


def _is_clean(given) -> bool:
    if not isinstance(given, dict):
        return given is None
    factor = given.get("factor")
    return (
        set(given) == {"threshold", "factor"}
        and isinstance(given["threshold"], int | float)
        and isinstance(factor, int)
        and not isinstance(factor, bool)
        and factor >= 1
    )


def stage_context(stage: dict, config):
    """The Context of a stage's prompts; what the stage does not say is as in the model's options."""
    context = stage.get("context") or config["context"]
    context = context_of(context, int(stage.get("history") or config["history"]))
    return replace(context, window=stage_window(stage, "window", config))


def stage_window(stage: dict, option: str, config) -> Window | None:
    """The Window that an option of a stage names by ``{unit, length}``; None if it is not given.

    The unit ``window`` counts in windows of the data set's protocol: the paper's last 3 of 7 days, wherever windows
    count something else than days (ours).
    """
    given = stage.get(option)
    if given is None:
        return None
    if not isinstance(given, dict) or set(given) != {"unit", "length"}:
        raise UserError(f"stage {stage['name']}: {option}: {given!r} must be a mapping of `unit` and `length`")
    if given["unit"] != "window":
        return Window(**given)
    whole, share = config["window"], given["length"]
    if isinstance(share, bool) or not isinstance(share, int | float) or share <= 0 or whole["length"] is None:
        raise UserError(
            f"stage {stage['name']}: {option}: {share!r} times the option `window` ({whole}) is none; give "
            "a positive share of one with a length, or a unit of days, seconds or events"
        )
    length = share * whole["length"]
    return Window(whole["unit"], max(round(length), 1) if whole["unit"] == "events" else length)


@dataclass
class StageRun:
    """One stage in the making, as its task sees it.

    Attributes:
        model, data: the GenerativeRecommender and the training part of the data set.
        stage, config: the stage's options, and the run's.
        rng: the stage's own generator, a function of seed and stage.
        notes: plain values that a task wants in the stage's entry.
    """

    model: object
    data: object
    stage: dict
    config: object
    rng: np.random.Generator
    best: "BestWeights"
    store: StageStore
    show_progress: bool
    notes: dict = field(default_factory=dict)

    def sft(self, rows: list[dict] | dict[str, list[dict]], epochs: float | None = None) -> tuple[int, list[dict]]:
        """Supervised training on rows of ``train_sft`` (or one list per task) -> (rows, log)."""
        stage = self.stage
        with _Bar(stage["name"], self.show_progress) as bar:
            log = train_sft(
                self.model.backbone,
                rows,
                epochs=stage["epochs"] if epochs is None else epochs,
                lr=stage["lr"],
                batch_size=stage["batch_size"],
                weights=stage.get("weights"),
                weight_decay=stage.get("weight_decay", 0.01),
                warmup=stage.get("warmup", 0.05),
                schedule=stage.get("schedule", "cosine"),
                accumulate=stage.get("accumulate", 1),
                max_grad_norm=stage.get("max_grad_norm", 1.0),
                **self._common(bar, 50),
            )
        return sum(map(len, rows.values())) if isinstance(rows, dict) else len(rows), log

    def grpo(self, rows: list[dict], rewards) -> tuple[int, list[dict]]:
        """GRPO on rows and rewards of ``train_grpo`` -> (prompts, log)."""
        from recbole_conrec.llm.grpo import train_grpo

        stage = self.stage
        options = {key: stage[key] for key in GRPO_TAKES - COMMON if key in stage}
        with _Bar(stage["name"], self.show_progress) as bar:
            log = train_grpo(
                self.model.backbone,
                self.model.trie,
                rows,
                rewards,
                G=stage["G"],
                steps=stage["steps"],
                prompts_per_step=stage["prompts_per_step"],
                beta=stage["beta"],
                lr=stage["lr"],
                **options,
                **self._common(bar, 10),
            )
        return len(rows), log

    def _common(self, bar, log_every: int) -> dict:
        """log_every: steps per entry of the curve, at most. A checkpoint comes right after an entry: what is averaged
        for the next one is in no checkpoint, and would be lost with an interrupted attempt."""
        save_every = self.stage.get("save_every", 500)
        return {
            "output_dir": str(self.store.folder),
            "seed": self.config["seed"],
            "progress": bar,
            "callbacks": [self.best],
            "save_steps": save_every,
            "logging_steps": math.gcd(log_every, save_every),
            "resume": self.store.checkpoint(),
            "bf16": self.stage.get("bf16", False),
        }


def run_stage(
    model, data, config, number: int, store: StageStore, score, show_progress: bool, before: float | None = None
) -> dict:
    """Train stage ``number`` in place, from its last checkpoint if it was interrupted.

    Args:
        score: () -> float, the validation metric of the model as it stands.
        before: what it is now, if that is known from the stage before.

    Returns:
        the stage's entry: name, task, samples, steps, seconds, peak_mb, valid (`valid_metric` after it), what the
        model's ``probe`` measures, curve (loss or reward), validation (the looks while it trained).
    """
    stage = config["stages"][number]
    best = BestWeights(model.lm, score, stage, store.checkpoint(), before)
    run = StageRun(
        model,
        data,
        stage,
        config,
        np.random.default_rng([config["seed"], *stage["name"].encode()]),
        best,
        store,
        show_progress,
    )
    model.eval()
    samples, log = model.TASKS[stage["task"]].run(run)
    best.restore()
    curve = [{k: v for k, v in entry.items() if isinstance(v, int | float)} for entry in log]
    return {
        "name": stage["name"],
        "task": stage["task"],
        "samples": samples,
        "steps": max((entry.get("step", 0) for entry in log), default=0),
        "seconds": best.seconds(),
        "peak_mb": peak_mb(),
        "valid": best.final(),
        **model.probe(data),
        **run.notes,
        "curve": curve,
        "validation": best.curve,
    }


# -- while a stage runs --------------------------------------------------------------------------------------------
class BestWeights(TrainerCallback):
    """Scores the model every few steps on validation and keeps the best weights, the starting ones included.

    ``select: last`` still looks but ends with the last weights. What it knows goes into every checkpoint, as the last
    file of it: a checkpoint without ``best.json`` is not whole.
    """

    def __init__(self, lm, score, stage: dict, checkpoint: str | None = None, before: float | None = None):
        self.lm, self.score, self.before = lm, score, before
        self.every, self.select = stage.get("evaluate_every"), stage.get("select", "best")
        self.curve: list[dict] = []
        self.best, self.weights = -1.0, None
        self._before, self._started = 0.0, time.perf_counter()
        if checkpoint:
            state = json.loads((Path(checkpoint) / "best.json").read_text())
            self.curve, self.best, self._before = state["curve"], state["best"], state["seconds"]
            if state["kept"]:
                self.weights = {k: v.to(lm.device) for k, v in load_file(Path(checkpoint) / "best.safetensors").items()}

    def seconds(self) -> float:
        """Spent on this stage, earlier attempts included as far as their last checkpoint."""
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
            save_file({k: v.cpu().contiguous() for k, v in self.weights.items()}, folder / "best.safetensors")
        content = {"curve": self.curve, "best": self.best, "seconds": self.seconds(), "kept": self.weights is not None}
        (folder / ".best.json").write_text(json.dumps(content))
        (folder / ".best.json").replace(folder / "best.json")

    def final(self) -> float:
        """The metric of the weights that the stage ends with; a look costs seconds, and the last one was at the end."""
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
        if self.weights is not None:
            for name, parameter in self.lm.named_parameters():
                if name in self.weights:
                    parameter.copy_(self.weights[name])


class _Bar:
    """A progress bar that train_sft and train_grpo move."""

    def __init__(self, name: str, show: bool):
        self.bar = tqdm(desc=f"stage {name}", unit="step", disable=not show)

    def __call__(self, step: int, of: int, entry: dict) -> None:
        self.bar.total = of
        shown = {k: entry[k] for k in ("loss", "reward", "kl") if k in entry}
        self.bar.set_postfix({k: f"{v:.3f}" for k, v in shown.items()}, refresh=False)
        self.bar.update(step - self.bar.n)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bar.close()
