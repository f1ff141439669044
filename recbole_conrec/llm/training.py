"""What SFT and GRPO share: options, the arguments of transformers' trainers, a silent run, progress and epochs."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch.utils.data import Sampler
from transformers import PrinterCallback, Trainer, TrainerCallback
from transformers.utils import logging

from recbole_conrec.llm.fields import Schedule
from recbole_conrec.options.schema import Count, NonNegative, Options
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import disk_fault
from recbole_conrec.utils.memory import out_of_memory

# TRL uses names that transformers 5 has begun to rename, and so would warn at every run
warnings.filterwarnings("ignore", "`(is_)?gradient_checkpointing` is deprecated", FutureWarning)


NOT_FINITE = "lower lr, keep max_grad_norm above 0, and check rewards and weights of your own"


class TrainingOptions(Options):
    """Options of every kind of training."""

    lr: NonNegative
    """Largest learning rate of the schedule."""
    accumulate: Count = 1
    """Batches per optimizer step, of each process."""
    warmup: NonNegative
    """Share of the optimizer steps over which the learning rate rises from 0; from 1 on, the number of steps."""
    schedule: Schedule
    """Course of the learning rate after the warm-up, by transformers' name of it."""
    max_grad_norm: NonNegative = 1.0
    """Gradients are scaled down to this L2 norm; 0 leaves them as they are."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them: less memory, more time."""
    bf16: bool = False
    """Mixed precision on a GPU; off by default, so that a GPU trains at the precision of a CPU."""


@dataclass(frozen=True)
class Runtime:
    """Where and how one training runs: what does not belong to the method.

    Attributes:
        output_dir: folder of the checkpoints; nothing is written there unless `save_steps` is set.
        seed: of the order of the examples, of dropout and of sampling.
        save_steps: optimizer steps between checkpoints, of which the last two are kept; None writes none.
        resume: a checkpoint folder, or True for the last one in `output_dir`. The run continues bit for bit.
        logging_steps: optimizer steps per entry of the log history.
        progress: called with (step, last step, log entry) after each log entry, on the main process.
        callbacks: transformers' callbacks.
    """

    output_dir: str
    seed: int = 0
    save_steps: int | None = None
    resume: str | bool | None = None
    logging_steps: int = 50
    progress: Callable[[int, int, dict], None] | None = None
    callbacks: Sequence[TrainerCallback] = ()


def training_arguments(backbone, options: TrainingOptions, runtime: Runtime) -> dict[str, Any]:
    """Keyword arguments of transformers' TrainingArguments (and of TRL's configs) that do not depend on the method.

    They fit the machine. TRL's defaults are for large GPUs: on a CPU bf16 is 100 times slower.
    """
    on_cpu = backbone.device.type == "cpu"
    return {
        "output_dir": runtime.output_dir,
        "learning_rate": options.lr,
        "gradient_accumulation_steps": options.accumulate,
        "warmup_steps": options.warmup,
        "lr_scheduler_type": options.schedule,
        "max_grad_norm": options.max_grad_norm,
        "seed": runtime.seed,
        "save_strategy": "no" if runtime.save_steps is None else "steps",
        "save_steps": runtime.save_steps or 1,
        "save_total_limit": 2,
        "logging_steps": runtime.logging_steps,
        "use_cpu": on_cpu,
        "bf16": options.bf16 and not on_cpu,
        "gradient_checkpointing": options.gradient_checkpointing,
        "dataloader_pin_memory": not on_cpu,
        "remove_unused_columns": False,
        "report_to": "none",
        "disable_tqdm": True,
    }


def callbacks(runtime: Runtime) -> list[TrainerCallback]:
    """Those of the caller, and one that reports progress."""
    return [*runtime.callbacks, *([ProgressCallback(runtime.progress)] if runtime.progress else [])]


class EpochSampler(Sampler[int]):
    """An order of the examples that is a function of the seed and `epoch` alone: a resumed run repeats it."""

    epoch = 0


class SampledTrainer(Trainer):
    """A trainer that takes its examples in the order of `sampler`, and neither writes a model card nor sends telemetry.

    `sampler` is set after construction, before `run`, which keeps its `epoch` up to date.
    """

    sampler: EpochSampler

    def training_step(self, *args, **kwargs):
        """The trainer's, which must give a finite loss: any other would end in weights that are no numbers."""
        loss = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss).all():
            raise UserError(f"training: the loss of step {self.state.global_step + 1} is {loss.item()}; {NOT_FINITE}")
        return loss

    def _get_train_sampler(self, *args, **kwargs):
        return self.sampler

    def create_model_card(self, *args, **kwargs):
        """Write none: a checkpoint here belongs to a run, whose own records describe it."""

    def _send_telemetry(self):
        """Send none: training does not use the network."""


def run(trainer: SampledTrainer, resume: str | bool | None) -> list[dict]:
    """Train -> the log history. Nothing is printed; who wants to see progress gives a callback.

    Raises UserError for a `resume` that is no checkpoint folder, for a loss or weights that are not finite, for a
    disk that cannot be written, and where memory runs out.
    """
    if isinstance(resume, str) and not (Path(resume) / "trainer_state.json").is_file():
        raise UserError(f"resume: {resume} is no checkpoint folder; name one like checkpoint-100, or leave it out")
    trainer.add_callback(EpochCallback(trainer.sampler))
    trainer.remove_callback(PrinterCallback)
    logging.disable_progress_bar()  # of writing checkpoints
    remedy = "lower the batch size and raise accumulate, use gradient_checkpointing or a smaller llm"
    # importing RecBole's SINE turns anomaly detection on for the whole process
    with torch.autograd.set_detect_anomaly(False), out_of_memory("training", remedy):
        try:
            trainer.train(resume_from_checkpoint=resume)
        except Exception as error:
            if fault := disk_fault(error):
                raise UserError(
                    f"{trainer.args.output_dir}: the checkpoint cannot be written ({fault.reason}); {fault.remedy}, "
                    "and run the same command again"
                ) from error
            raise
    model = cast(torch.nn.Module, trainer.model)
    if not all(bool(torch.isfinite(weights).all()) for weights in model.parameters() if weights.requires_grad):
        raise UserError(f"training: it ended with weights that are not finite; {NOT_FINITE}")
    model.eval()
    return trainer.state.log_history


class ProgressCallback(TrainerCallback):
    """Calls `progress(step, last step, entry)` whenever the trainer logs."""

    def __init__(self, progress: Callable[[int, int, dict], None]):
        self.progress = progress

    def on_log(self, args, state, control, logs=None, **kwargs):
        if state.is_world_process_zero:
            self.progress(state.global_step, state.max_steps, logs)


class EpochCallback(TrainerCallback):
    """Gives the sampler the epoch that begins; accelerate does not when it resumes on several processes."""

    def __init__(self, sampler: EpochSampler):
        self.sampler = sampler

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.sampler.epoch = int(state.epoch or 0)
