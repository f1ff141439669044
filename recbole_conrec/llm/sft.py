"""Supervised fine-tuning with loss on the answer tokens only: TRL's SFTTrainer, transformers' Trainer for T5."""

from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from datasets import Dataset
from transformers import TrainingArguments
from trl import SFTConfig, SFTTrainer

from recbole_conrec.llm.collators import IGNORED, CausalCollator, PairCollator
from recbole_conrec.llm.fields import MaxSteps, Schedule
from recbole_conrec.llm.head import Head, unwrap
from recbole_conrec.llm.mixture import MixtureSampler
from recbole_conrec.llm.training import Runtime, SampledTrainer, TrainingOptions, callbacks, run, training_arguments
from recbole_conrec.options.schema import Count, NonNegative, Positive
from recbole_conrec.utils.errors import UserError


class SFTOptions(TrainingOptions):
    """Options of supervised fine-tuning."""

    epochs: Positive = 1
    """Passes over the examples; the last one may be a part."""
    batch_size: Count = 32
    """Examples per forward pass, of each process."""
    lr: NonNegative = 1e-3
    """Largest learning rate of the schedule. The default suits fresh weights; pretrained ones want about 1e-4."""
    warmup: NonNegative = 0.05
    """Share of the optimizer steps over which the learning rate rises from 0; from 1 on, the number of steps."""
    schedule: Schedule = "cosine"
    """Course of the learning rate after the warm-up, by transformers' name of it."""
    weight_decay: NonNegative = 0.01
    """Weight decay of AdamW; biases and norms have none."""
    max_steps: MaxSteps = -1
    """Optimizer steps, whatever `epochs` says; -1 (or 0): those of `epochs`."""
    softmax: Literal["vocabulary", "answers"] = "vocabulary"
    """The tokens that an answer's token competes with: all, or those of the stage's answers, which is faster and enough
    where decoding is constrained to them."""


def train_sft(
    backbone,
    examples: list[dict] | dict[str, list[dict]],
    options: SFTOptions,
    runtime: Runtime,
    *,
    weights: dict[str, float] | None = None,
) -> list[dict]:
    """Train `backbone.model` in place -> the log history.

    Args:
        backbone: `Backbone`.
        examples: `{"input_ids": [...], "completion_mask": [...]}` each. The loss is on the tokens whose mask is
            not 0, which may be anywhere, each with its mask as weight (scaled to a mean of 1 in a batch). For an
            encoder-decoder `{"input_ids": prompt, "labels": answer}`: the decoder reads the answer shifted
            by one, and nothing is added to it. Or one such list per task.
        options: see there.
        runtime: see there.
        weights: per task, how often an epoch shows each of its examples (default 1; see `MixtureSampler`).

    Returns:
        dicts with step, loss (mean negative log-likelihood of the answer tokens, in nats), learning_rate, grad_norm;
        the last one has train_samples_per_second and train_runtime in seconds instead.

    Raises UserError for examples that do not fit the model or bear no loss, for weights of unknown tasks, and for a
    loss that is not finite.
    """
    tasks = examples if isinstance(examples, dict) else {"examples": examples}
    unknown = set(weights or {}) - set(tasks)
    if unknown:
        raise UserError(f"mixture: no task is called {sorted(unknown)[0]!r}; tasks are {', '.join(tasks)}")
    flat = [example for task in tasks.values() for example in task]
    check_examples(backbone, flat)
    arguments = training_arguments(backbone, options, runtime) | {
        "num_train_epochs": options.epochs,
        "max_steps": options.max_steps,
        "per_device_train_batch_size": options.batch_size,
        "weight_decay": options.weight_decay,
    }
    trainer = _make_trainer(backbone, flat, arguments, runtime)
    if options.softmax == "answers":
        if not isinstance(trainer, CompactSFTTrainer):
            raise UserError("softmax: 'answers' is for causal models, not for an encoder-decoder; use vocabulary")
        trainer.answers = answer_tokens(flat)
    trainer.sampler = MixtureSampler(
        lengths=[len(example["input_ids"]) for example in flat],
        task=np.repeat(np.arange(len(tasks)), [len(task) for task in tasks.values()]),
        weights=[(weights or {}).get(name, 1.0) for name in tasks],
        batch_size=options.batch_size * options.accumulate * trainer.accelerator.num_processes,
        seed=runtime.seed,
    )
    return run(trainer, runtime.resume)


def _make_trainer(backbone, examples: list[dict], arguments: dict[str, Any], runtime: Runtime) -> SampledTrainer:
    """The trainer for this kind of model, which still lacks its sampler."""
    model_config = unwrap(backbone.model).config
    common = {
        "model": backbone.model,
        "train_dataset": Dataset.from_dict({"example": np.arange(len(examples))}),
        "processing_class": backbone.tokenizer,
        "callbacks": callbacks(runtime),
    }
    if model_config.is_encoder_decoder:
        collate = PairCollator(examples, backbone.pad_id, model_config.decoder_start_token_id)
        return EncoderDecoderTrainer(args=TrainingArguments(**arguments), data_collator=collate, **common)
    config = SFTConfig(dataset_kwargs={"skip_prepare_dataset": True}, **arguments)
    return CompactSFTTrainer(args=config, data_collator=CausalCollator(examples, backbone.pad_id), **common)


def check_examples(backbone, examples: list[dict]) -> None:
    """Raise UserError for no examples, an unknown token, an answer that does not fit its example, or no loss at all."""
    if not examples:
        raise UserError(
            "training examples: there are none; does the training split hold the events of which they are made?"
        )
    vocabulary = backbone.model.get_input_embeddings().weight.shape[0]
    pairs = unwrap(backbone.model).config.is_encoder_decoder
    answer = "labels" if pairs else "completion_mask"
    for n, example in enumerate(examples):
        missing = next((key for key in ("input_ids", answer) if not len(example.get(key, ()))), None)
        if missing is not None:
            kind = "an encoder-decoder" if pairs else "a causal model"
            raise UserError(f"training example {n}: no {missing}; examples of {kind} have input_ids and {answer}")
        for tokens in (example["input_ids"], example["labels"]) if pairs else (example["input_ids"],):
            token = max(tokens) if max(tokens) >= vocabulary else min(tokens)
            if not 0 <= token < vocabulary:
                raise UserError(
                    f"training example {n}: token {token} is not in the vocabulary of {vocabulary}; "
                    "build the prompts with this backbone's tokenizer"
                )
        if not pairs and len(example["completion_mask"]) != len(example["input_ids"]):
            raise UserError(f"training example {n}: completion_mask and input_ids differ in length")
    if not pairs and not any(any(example["completion_mask"][1:]) for example in examples):
        raise UserError(
            "training examples: no token bears loss, as completion_mask is 0 after the first token of each of them; "
            "set it to 1 on the answers' tokens"
        )


def answer_tokens(examples: list[dict]) -> torch.Tensor:
    """The tokens that bear loss in some example, int64 [A], ascending."""
    found: set[int] = set()
    for example in examples:
        tokens, mask = np.asarray(example["input_ids"][1:]), np.asarray(example["completion_mask"][1:])
        found.update(tokens[mask != 0].tolist())
    return torch.tensor(sorted(found))


class CompactSFTTrainer(SampledTrainer, SFTTrainer):
    """SFTTrainer whose head is applied to the answer positions only.

    TRL 1.16 does so on GPUs with Triton; elsewhere it computes the head for every position and masks afterwards. The
    loss is the same mean of the answer tokens' negative log-likelihood: over the whole vocabulary, or over `answers`.
    """

    answers: torch.Tensor | None = None  # the tokens of `answer_tokens`, where the others do not compete

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The mean negative log-likelihood of the answer tokens of the optimizer step, as a scalar."""
        labels = inputs["labels"][:, 1:]
        # Padding is on the right and bears no loss, so the causal mask alone is exact and no padding mask is needed.
        out = model(
            input_ids=inputs["input_ids"],
            use_cache=False,
            output_hidden_states=True,
            logits_to_keep=torch.zeros(0, dtype=torch.int64, device=labels.device),
        )
        at = labels != IGNORED
        targets, head, rows = labels[at], Head(self.model), None
        if self.answers is not None:
            answers = self.answers.to(labels.device)
            targets = torch.searchsorted(answers, targets)
            weight, bias = head.parameters()
            rows = weight[answers], None if bias is None else bias[answers]
        logits = head.logits(out.hidden_states[-1][:, :-1][at], rows)
        weights = inputs["loss_weights"][:, 1:][at] if "loss_weights" in inputs else None
        loss = _mean_loss(self, logits, targets, num_items_in_batch, weights)
        return (loss, out) if return_outputs else loss


class EncoderDecoderTrainer(SampledTrainer):
    """transformers' Trainer, since TRL's SFTTrainer is for causal models. The loss is the same mean over answers."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.model_accepts_loss_kwargs = True  # count the answer tokens of the whole step, as for causal models

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The mean negative log-likelihood of the answer tokens of the optimizer step, as a scalar."""
        labels = inputs.pop("labels")
        out = model(**inputs, use_cache=False)
        loss = _mean_loss(self, out.logits.flatten(0, 1).float(), labels.flatten(), num_items_in_batch)
        return (loss, out) if return_outputs else loss


def _mean_loss(trainer: SampledTrainer, logits, labels, num_items_in_batch, weights=None) -> torch.Tensor:
    """Cross entropy of logits [N, V] and labels [N], per answer token of the optimizer step on all processes.

    weights: float [N], of the tokens; their mean is scaled to 1, so that weights do not change the step's size.
    """
    if weights is None:
        total = F.cross_entropy(logits, labels, reduction="sum", ignore_index=IGNORED)
    else:
        each = F.cross_entropy(logits, labels, reduction="none")
        total = (each * weights).sum() * len(weights) / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
    count = (labels != IGNORED).sum() if num_items_in_batch is None else torch.as_tensor(num_items_in_batch)
    loss = total / count.to(total.device).clamp(min=1)  # a step may hold examples without loss alone
    if trainer.args.average_tokens_across_devices and num_items_in_batch is not None:
        loss = loss * trainer.accelerator.num_processes  # the count is of all processes, DDP averages over them
    return loss
