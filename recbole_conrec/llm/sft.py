"""Supervised fine-tuning with loss on the answer tokens only: TRL's SFTTrainer, transformers' Trainer for T5."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from datasets import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments
from trl import SFTConfig, SFTTrainer

from recbole_conrec.llm.batch import pad
from recbole_conrec.llm.head import Head, unwrap
from recbole_conrec.llm.mixture import MixtureSampler
from recbole_conrec.llm.training import EpochCallback, ProgressCallback, run, runtime_arguments
from recbole_conrec.utils.errors import UserError


def train_sft(
    backbone,
    rows: list[dict] | dict[str, list[dict]],
    *,
    output_dir: str,
    epochs: float = 1.0,
    lr: float = 1e-3,
    batch_size: int = 32,
    weights: dict[str, float] | None = None,
    max_steps: int = -1,
    accumulate: int = 1,
    warmup: float = 0.05,
    schedule: str = "cosine",
    weight_decay: float = 0.01,
    max_grad_norm: float = 1.0,
    seed: int = 0,
    save_steps: int | None = None,
    resume: str | bool | None = None,
    logging_steps: int = 50,
    gradient_checkpointing: bool = False,
    bf16: bool = False,
    progress: Callable[[int, int, dict], None] | None = None,
    callbacks: list[TrainerCallback] = (),
) -> list[dict]:
    """Train `backbone.model` in place -> the log history (dicts with step, loss, learning_rate; the last one has
    train_samples_per_second and train_runtime in seconds).

    Args:
        rows: training rows `{"input_ids": [...], "completion_mask": [...]}`; the loss is on the tokens whose mask is
            1, which may stand anywhere. For an encoder-decoder `{"input_ids": prompt, "labels": answer}`: the decoder
            is fed the answer shifted by one, and nothing is added to it. Or one such list per task.
        output_dir: checkpoints go here, and only if `save_steps` is set.
        weights: per task, how often an epoch shows each of its rows (default 1; see `MixtureSampler`).
        max_steps: stop after so many optimizer steps (-1: after `epochs`).
        accumulate: batches per optimizer step.
        warmup: share of the steps over which the learning rate rises; `schedule` as transformers names it.
        resume: a checkpoint folder, or True for the last one in `output_dir`. The run continues bit for bit.
        bf16: mixed precision, on a GPU; not by default, so that a run has the precision that it has on a CPU.
        progress: called with (step, of how many, last log entry) after each log entry.
    """
    tasks = rows if isinstance(rows, dict) else {"rows": rows}
    unknown = set(weights or {}) - set(tasks)
    if unknown:
        raise UserError(f"mixture: no task is called {sorted(unknown)[0]!r}; tasks are {', '.join(tasks)}")
    flat = [row for task in tasks.values() for row in task]
    check_rows(backbone, flat)
    model_config = unwrap(backbone.model).config
    if model_config.is_encoder_decoder:
        trainer_class, arguments, own = EncoderDecoderTrainer, TrainingArguments, {}
        collate = _PairCollator(flat, backbone.pad_id, model_config.decoder_start_token_id)
    else:
        trainer_class, arguments, own = CompactSFTTrainer, SFTConfig, {"dataset_kwargs": {"skip_prepare_dataset": True}}
        collate = _Collator(flat, backbone.pad_id)
    config = arguments(
        output_dir=output_dir,
        num_train_epochs=epochs,
        max_steps=max_steps,
        learning_rate=lr,
        per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=accumulate,
        warmup_steps=warmup,
        lr_scheduler_type=schedule,
        weight_decay=weight_decay,
        max_grad_norm=max_grad_norm,
        seed=seed,
        save_strategy="no" if save_steps is None else "steps",
        save_steps=save_steps or 1,
        save_total_limit=2,
        logging_steps=logging_steps,
        **own,
        **runtime_arguments(backbone, gradient_checkpointing, bf16),
    )
    trainer = trainer_class(
        model=backbone.model,
        args=config,
        train_dataset=Dataset.from_dict({"row": np.arange(len(flat))}),
        data_collator=collate,
        processing_class=backbone.tokenizer,
        callbacks=[*callbacks, *([ProgressCallback(progress)] if progress else [])],
    )
    trainer.sampler = MixtureSampler(
        lengths=[len(row["input_ids"]) for row in flat],
        task=np.repeat(np.arange(len(tasks)), [len(task) for task in tasks.values()]),
        weights=[(weights or {}).get(name, 1.0) for name in tasks],
        batch_size=batch_size * accumulate * trainer.accelerator.num_processes,
        seed=seed,
    )
    trainer.add_callback(EpochCallback(trainer.sampler))
    return run(trainer, resume)


def check_rows(backbone, rows: list[dict]) -> None:
    """Raise UserError for no rows, a token that the model does not have, or an answer that does not fit its row."""
    if not rows:
        raise UserError("training rows: there are none; check that the training split holds negative events")
    vocabulary = backbone.model.get_input_embeddings().weight.shape[0]
    pairs = unwrap(backbone.model).config.is_encoder_decoder
    answer = "labels" if pairs else "completion_mask"
    for n, row in enumerate(rows):
        missing = next((key for key in ("input_ids", answer) if not len(row.get(key, ()))), None)
        if missing is not None:
            kind = "an encoder-decoder" if pairs else "a causal model"
            raise UserError(f"training row {n}: no {missing}; the rows of {kind} have input_ids and {answer}")
        for tokens in (row["input_ids"], row["labels"]) if pairs else (row["input_ids"],):
            token = max(tokens) if max(tokens) >= vocabulary else min(tokens)
            if not 0 <= token < vocabulary:
                raise UserError(
                    f"training row {n}: token {token} is not in the vocabulary of {vocabulary}; "
                    "build the prompts with this backbone's tokenizer"
                )
        if not pairs and len(row["completion_mask"]) != len(row["input_ids"]):
            raise UserError(f"training row {n}: completion_mask and input_ids differ in length")


class CompactSFTTrainer(SFTTrainer):
    """SFTTrainer whose head is applied to the answer positions only.

    TRL 1.16 does so on GPUs with Triton; elsewhere it computes the head for every position and masks afterwards. The
    loss is the same mean of the answer tokens' negative log-likelihood.
    """

    sampler: MixtureSampler

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if not hasattr(self, "_head"):
            self._head = Head(self.model)
        labels = inputs["labels"][:, 1:]
        # Padding is on the right and bears no loss, so the causal mask alone is exact and no padding mask is needed.
        out = model(
            input_ids=inputs["input_ids"],
            use_cache=False,
            output_hidden_states=True,
            logits_to_keep=torch.zeros(0, dtype=torch.int64, device=labels.device),
        )
        at = labels != -100
        logits = self._head.logits(out.hidden_states[-1][:, :-1][at])
        total = F.cross_entropy(logits, labels[at], reduction="sum")
        loss = total / (at.sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes  # the count is of all processes, DDP averages over them
        return (loss, out) if return_outputs else loss

    def _get_train_sampler(self, *args, **kwargs):
        return self.sampler

    def create_model_card(self, *args, **kwargs):
        """None: a checkpoint here belongs to a run, whose own records tell what it is."""

    def _send_telemetry(self):
        """None: training does not use the network."""


class EncoderDecoderTrainer(Trainer):
    """transformers' Trainer, since TRL's SFTTrainer is for causal models. The loss is the same mean over answers."""

    sampler: MixtureSampler

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.model_accepts_loss_kwargs = True  # count the answer tokens of the whole step, as for causal models

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        labels = inputs.pop("labels")
        out = model(**inputs, use_cache=False)
        total = F.cross_entropy(out.logits.flatten(0, 1).float(), labels.flatten(), reduction="sum")
        loss = total / ((labels != -100).sum() if num_items_in_batch is None else num_items_in_batch)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes
        return (loss, out) if return_outputs else loss

    def _get_train_sampler(self, *args, **kwargs):
        return self.sampler


class _Collator:
    """Row numbers -> a right-padded batch. The tokens are kept here, once, as arrays, not in an Arrow table."""

    def __init__(self, rows: list[dict], pad_id: int):
        self.ids = [np.asarray(row["input_ids"], dtype=np.int64) for row in rows]
        self.labels = [
            np.where(np.asarray(row["completion_mask"], dtype=bool), ids, -100)
            for row, ids in zip(rows, self.ids, strict=True)
        ]
        self.pad_id = pad_id

    def __call__(self, examples: list[dict]) -> dict[str, torch.Tensor]:
        picked = [example["row"] for example in examples]
        shape = (len(picked), max(len(self.ids[row]) for row in picked))
        input_ids, labels = np.full(shape, self.pad_id), np.full(shape, -100)
        for n, row in enumerate(picked):
            input_ids[n, : len(self.ids[row])] = self.ids[row]
            labels[n, : len(self.ids[row])] = self.labels[row]
        return {"input_ids": torch.from_numpy(input_ids), "labels": torch.from_numpy(labels)}


class _PairCollator:
    """Row numbers -> right-padded prompts for the encoder, and answers as the decoder's input and its labels."""

    def __init__(self, rows: list[dict], pad_id: int, start_id: int):
        self.prompts = [np.asarray(row["input_ids"], dtype=np.int64) for row in rows]
        self.answers = [np.asarray(row["labels"], dtype=np.int64) for row in rows]
        self.pad_id, self.start_id = pad_id, start_id

    def __call__(self, examples: list[dict]) -> dict[str, torch.Tensor]:
        picked = [example["row"] for example in examples]
        input_ids, attention_mask = pad([self.prompts[row] for row in picked], self.pad_id, side="right")
        labels, real = pad([self.answers[row] for row in picked], self.pad_id, side="right")
        return {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "decoder_input_ids": F.pad(labels[:, :-1], (1, 0), value=self.start_id),  # causal: needs no padding mask
            "labels": labels.masked_fill(real == 0, -100),
        }
