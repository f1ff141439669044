"""One stage of training: a task prepares what it shows, an algorithm learns from it.

prepare:    StageRun -> TrainingSet                     (generative/tasks.py, and methods' own)
algorithm:  StageRun, TrainingSet -> log history        (sft, grpo, or a function of your own)
"""

import math
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm

from recbole_conrec.generative.best_weights import BestWeights
from recbole_conrec.generative.stage_options import StageOptions
from recbole_conrec.generative.stage_store import StageStore
from recbole_conrec.llm.grpo import train_grpo
from recbole_conrec.llm.sft import train_sft
from recbole_conrec.llm.training import Runtime
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.names import load_function, nearest
from recbole_conrec.utils.resources import peak_mb


@dataclass(frozen=True)
class TrainingSet:
    """What a stage trains on.

    Attributes:
        examples: see :func:`recbole_conrec.llm.sft.train_sft` and :func:`recbole_conrec.llm.grpo.train_grpo`; a list,
            or one list for each task of a mixture.
        weights: of a mixture, how often an epoch shows each example of a task.
        epochs: in place of the stage's option, for examples that hold several epochs already.
        rewards: of GRPO.
        notes: plain values for the stage's entry in the record.
    """

    examples: list[dict] | dict[str, list[dict]]
    weights: dict[str, float] | None = None
    epochs: float | None = None
    rewards: list[Callable] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        lists = self.examples.values() if isinstance(self.examples, dict) else [self.examples]
        return sum(map(len, lists))


@dataclass(frozen=True)
class StageRun:
    """One stage while it trains, as its task and its algorithm see it.

    Attributes:
        model: the StagedRecommender; ``model.options`` are the method's options.
        data: the training part of the data set.
        stage: the stage's options.
        rng: the stage's own generator, a function of the run's seed and the stage's name.
        seed: of the run.
        folder: where checkpoints go; checkpoint: the one to resume from.
        callbacks: of the trainer; progress: ``(step, of, entry)``, called after each log entry.
    """

    model: Any
    data: Any
    stage: Any
    rng: np.random.Generator
    seed: int = 0
    folder: str = ""
    checkpoint: str | None = None
    callbacks: tuple = ()
    progress: Callable[[int, int, dict], None] | None = None

    def runtime(self, log_every: int) -> Runtime:
        """Where and how a trainer of this stage runs. ``log_every``: steps per entry of the curve, at most.

        A checkpoint comes right after an entry: what is averaged for the next entry is in no checkpoint, and would be
        lost with an interrupted attempt.
        """
        save_every = self.stage.save_every
        return Runtime(
            output_dir=self.folder,
            seed=self.seed,
            save_steps=save_every,
            resume=self.checkpoint,
            logging_steps=math.gcd(log_every, save_every),
            progress=self.progress,
            callbacks=self.callbacks,
        )


# -- algorithms ------------------------------------------------------------------------------------------------------
def sft(run: StageRun, training: TrainingSet) -> list[dict]:
    """Supervised fine-tuning; the options are :class:`recbole_conrec.llm.sft.SFTOptions`."""
    options = run.stage if training.epochs is None else run.stage.model_copy(update={"epochs": training.epochs})
    return train_sft(run.model.backbone, training.examples, options, run.runtime(50), weights=training.weights)


def grpo(run: StageRun, training: TrainingSet) -> list[dict]:
    """Group-relative policy optimisation; the options are :class:`recbole_conrec.llm.grpo.GRPOOptions`."""
    prompts, backbone, trie = training.examples, run.model.backbone, run.model.trie
    assert isinstance(prompts, list)  # a mixture has no rewards, and read_stages refuses GRPO for it
    return train_grpo(backbone, trie, prompts, training.rewards, run.stage, run.runtime(10))


ALGORITHMS: Mapping[str, Callable[[StageRun, TrainingSet], list[dict]]] = {"sft": sft, "grpo": grpo}


def find_algorithm(name: str, where: str = "algorithm") -> Callable[[StageRun, TrainingSet], list[dict]]:
    """An algorithm by name or dotted path. Raises UserError that names the option ``where``."""
    if ":" in name:
        return load_function(name, where)
    if name not in ALGORITHMS:
        raise UserError(
            f"{where}: '{name}' is unknown{nearest(name, ALGORITHMS)}; give {', '.join(ALGORITHMS)} or "
            "package.module:function"
        )
    return ALGORITHMS[name]


# -- tasks -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Task:
    """What a stage shows the model.

    Attributes:
        prepare: builds the training set.
        options: the type of the stage's options.
        algorithm: how the model learns from it, unless the stage names another.
        reads_text: it is about the texts of items; its stages are left out where the data set has none.
    """

    prepare: Callable[[StageRun], TrainingSet]
    options: type[StageOptions]
    algorithm: str = "sft"
    reads_text: bool = False


def read_stages(given: Any, tasks: Mapping[str, Task]) -> list[Any]:
    """The option ``stages``, each entry as the options of its task. Raises UserError naming stage and option."""
    if not isinstance(given, list | tuple) or not given:
        raise UserError(f"stages: {given!r}; expected a list of at least one stage")
    stages: list[Any] = []
    for number, entry in enumerate(given):
        where = f"stages[{number}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise UserError(f"{where}: {entry!r}; expected a mapping with a `name` and a `task` ({', '.join(tasks)})")
        where = f"stages.{entry['name']}"
        name = entry.get("task")
        task = tasks.get(str(name))
        if task is None:
            raise UserError(f"{where}.task: {name!r}; expected one of {', '.join(tasks)}{nearest(str(name), tasks)}")
        stage = task.options.read(entry, where)
        if stage.algorithm is not None:
            find_algorithm(stage.algorithm, f"{where}.algorithm")
            if stage.algorithm in ALGORITHMS and stage.algorithm != task.algorithm:
                raise UserError(
                    f"{where}.algorithm: '{stage.algorithm}' cannot learn from the task '{name}'; give "
                    f"{task.algorithm} or package.module:function"
                )
        if stage.name in (other.name for other in stages):
            raise UserError(f"stages: two stages are called '{stage.name}'; give each a name of its own")
        stages.append(stage)
    if all(stage.skip for stage in stages):
        raise UserError("stages: every stage is skipped; set `skip: false` for one")
    return [stage for stage in stages if not stage.skip]


def without_texts(stages: list[Any], tasks: Mapping[str, Task]) -> list[Any]:
    """The stages that a data set without texts of items can train; a warning names the others."""
    left_out = [stage.name for stage in stages if tasks[stage.task].reads_text]
    if left_out:
        warnings.warn(f"stages left out, as the data set has no texts of items: {', '.join(left_out)}", stacklevel=2)
    return [stage for stage in stages if stage.name not in left_out]


# -- running one -----------------------------------------------------------------------------------------------------
def run_stage(
    model,
    data,
    number: int,
    *,
    seed: int,
    store: StageStore,
    score,
    show_progress: bool,
    before: float | None = None,
    report: Callable[[int, dict], None] | None = None,
) -> dict:
    """Train stage ``number`` in place, from its last checkpoint if it was interrupted.

    Args:
        model: a StagedRecommender.
        data: the training part of the data set.
        store: where checkpoints and finished stages are.
        score: () -> float, the validation metric of the model as it is now.
        before: its value at the start, if the stage before has measured it.
        report: called with the step and what was measured there, on the main process; validation is `valid`.

    Returns:
        the stage's entry: name, task, samples, steps, seconds, peak_mb, valid (`valid_metric` after it), what the
        model's ``probe`` measures, curve (loss or reward), validation (scores during training).
    """
    stage = model.stages[number]
    task = model.TASKS[stage.task]
    report = report or (lambda step, values: None)
    best = BestWeights(model.lm, score, stage, store.checkpoint(), before, report)
    with _Bar(stage.name, show_progress, report) as bar:
        run = StageRun(
            model=model,
            data=data,
            stage=stage,
            rng=np.random.default_rng([seed, *stage.name.encode()]),
            seed=seed,
            folder=str(store.folder),
            checkpoint=store.checkpoint(),
            callbacks=(best,),
            progress=bar,
        )
        model.eval()
        training = task.prepare(run)
        log = find_algorithm(stage.algorithm or task.algorithm)(run, training)
    best.restore()
    curve = [{k: v for k, v in entry.items() if isinstance(v, int | float) and math.isfinite(v)} for entry in log]
    return {
        "name": stage.name,
        "task": stage.task,
        "samples": len(training),
        "steps": max((entry.get("step", 0) for entry in log), default=0),
        "seconds": best.seconds(),
        "peak_mb": peak_mb(),
        "valid": best.final(),
        **model.probe(data),
        **training.notes,
        "curve": curve,
        "validation": best.curve,
    }


class _Bar:
    """A progress bar that the trainers move; what they log is reported, with the seconds of a step."""

    def __init__(self, name: str, show: bool, report: Callable[[int, dict], None]):
        self.report, self.last = report, (0, time.perf_counter())
        self.bar = tqdm(desc=f"stage {name}", unit="step", disable=not show)

    def __call__(self, step: int, of: int, entry: dict) -> None:
        self.bar.total = of
        shown = {k: entry[k] for k in ("loss", "reward", "kl") if k in entry}
        self.bar.set_postfix({k: f"{v:.3f}" for k, v in shown.items()}, refresh=False)
        self.bar.update(step - self.bar.n)
        before, now = self.last, time.perf_counter()
        self.last = step, now
        self.report(
            step, {**entry, **({"time/step": (now - before[1]) / (step - before[0])} if step > before[0] else {})}
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bar.close()
