"""What SFT and GRPO share: arguments that fit the machine, a silent run, progress and epochs."""

import os
import warnings

import torch
from transformers import PrinterCallback, TrainerCallback
from transformers.utils import logging

from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.memory import out_of_memory

# TRL uses names that transformers 5 has begun to rename, and so would warn at every run
warnings.filterwarnings("ignore", "`(is_)?gradient_checkpointing` is deprecated", FutureWarning)


def runtime_arguments(backbone, gradient_checkpointing: bool, bf16: bool) -> dict:
    """Trainer arguments that fit the machine. TRL's defaults are for large GPUs: on a CPU bf16 is 100 times slower."""
    on_cpu = backbone.device.type == "cpu"
    return {
        "use_cpu": on_cpu,
        "bf16": bf16 and not on_cpu,
        "gradient_checkpointing": gradient_checkpointing,
        "dataloader_pin_memory": not on_cpu,
        "remove_unused_columns": False,
        "report_to": "none",
        "disable_tqdm": True,
    }


def run(trainer, resume: str | bool | None) -> list[dict]:
    """Train -> the log history. Nothing is printed: whoever wants to see progress gives a callback."""
    if isinstance(resume, str) and not os.path.isfile(os.path.join(resume, "trainer_state.json")):
        raise UserError(f"resume: {resume} is no checkpoint folder; name one like checkpoint-100, or leave it out")
    trainer.remove_callback(PrinterCallback)
    logging.disable_progress_bar()  # of writing checkpoints
    mend = "lower the batch size and raise accumulate, use gradient_checkpointing or a smaller llm"
    # importing RecBole's SINE turns anomaly detection on for the whole process
    with torch.autograd.set_detect_anomaly(False), out_of_memory("training", mend):
        trainer.train(resume_from_checkpoint=resume)
    trainer.model.eval()
    return trainer.state.log_history


class ProgressCallback(TrainerCallback):
    """Calls `progress(step, of how many, entry)` whenever the trainer logs."""

    def __init__(self, progress):
        self.progress = progress

    def on_log(self, args, state, control, logs=None, **kwargs):
        if state.is_world_process_zero:
            self.progress(state.global_step, state.max_steps, logs)


class EpochCallback(TrainerCallback):
    """Tells the sampler which epoch begins; accelerate forgets to when it resumes on several processes."""

    def __init__(self, sampler):
        self.sampler = sampler

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.sampler.epoch = int(state.epoch or 0)
