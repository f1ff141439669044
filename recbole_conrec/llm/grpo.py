"""GRPO on TRL's GRPOTrainer: constrained sampling, log-probabilities under the same constraint, packed groups."""

import contextlib
import time
import warnings
from collections import defaultdict
from collections.abc import Callable

import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import RepeatSampler

from recbole_conrec.llm.adapters import merged
from recbole_conrec.llm.batch import left_pad
from recbole_conrec.llm.constraint import Constraint, Free
from recbole_conrec.llm.decoding import beam_search, sample
from recbole_conrec.llm.head import unwrap
from recbole_conrec.llm.packed import completion_logps, group_rows
from recbole_conrec.llm.reference import Reference
from recbole_conrec.llm.training import EpochCallback, ProgressCallback, run, runtime_arguments
from recbole_conrec.utils.errors import UserError


def _beams(backbone, trie, *prompts, G, **_):
    leaves, _ = beam_search(backbone, trie, *prompts, width=G, normalise="allowed")
    return leaves, trie.leaf_codes[leaves]


# How the G completions of a prompt come about: f(backbone, trie, ids, mask, G=, temperature=, constrained=) -> leaves
# [P, G], codes [P, G, depth]
ROLLOUTS = {
    "sample": lambda *prompts, G, **options: sample(*prompts, n=G, **options)[:2],
    "beam": _beams,
}


def train_grpo(
    backbone,
    trie,
    rows: list[dict],
    rewards: Callable | list[Callable],
    *,
    output_dir: str,
    G: int = 8,
    prompts_per_step: int = 8,
    steps: int = -1,
    epochs: float = 1.0,
    beta: float = 0.04,
    lr: float = 1e-5,
    clip: float = 0.2,
    temperature: float = 1.0,
    iterations: int = 1,
    accumulate: int = 1,
    reward_weights: list[float] | None = None,
    normalise: str = "allowed",
    rollout: str = "sample",
    constrained: bool = True,
    packed: bool = True,
    warmup: float = 0.0,
    schedule: str = "constant_with_warmup",
    max_grad_norm: float = 1.0,
    seed: int = 0,
    save_steps: int | None = None,
    resume: str | bool | None = None,
    logging_steps: int = 1,
    gradient_checkpointing: bool = False,
    bf16: bool = False,
    progress: Callable[[int, int, dict], None] | None = None,
    callbacks: list[TrainerCallback] = (),
) -> list[dict]:
    """Train `backbone.model` in place by GRPO -> the log history.

    For every prompt, G completions from the policy, rewards r_i, advantages A_i = (r_i - mean r) / std r, the clipped
    ratio, minus beta * KL(policy || reference), where the reference is the model as it comes in.

    Args:
        trie: on the model's device.
        rows: `{"input_ids": prompt token ids, **columns}`, one per prompt.
        rewards: one or several functions `f(items int64 [P, G], **columns) -> [P, G]`; each column is the list of that
            column's values of the P prompts. An ID that several items share stands as its first item.
        prompts_per_step: P, prompts of one process per forward; a step sees P * `accumulate` * processes of them.
        steps: optimizer steps (-1: `epochs` passes over the rows).
        iterations: updates on the same completions (mu of the paper).
        normalise: 'allowed' trains the distribution that samples; 'vocabulary' is TRL's own likelihood.
        rollout: 'sample' draws the G completions; 'beam' takes the G most likely, all different, best first (the group
            of MiniOneRec), so that a reward knows a completion's rank by its column.
        constrained: False samples from the whole vocabulary, and trains that distribution (`normalise` is then of no
            use). What is no ID comes to the rewards as item 0, and is counted as `invalid`.
        packed: compute a prompt once for its G completions; False repeats it.
        bf16: mixed precision, as in ``train_sft``.
        resume: a checkpoint folder, or True for the last in `output_dir`. The backbone must come in as it did the first
            time (it is the reference); the run continues bit for bit.

    Each log entry has reward, reward_std, rewards/<name>/mean, zero_advantage (share of groups whose rewards are all
    equal), distinct (different IDs per group), invalid (share of completions that are no ID, where `constrained` is
    off), kl, entropy, clip_ratio/..., time/generation and time/update in seconds.
    """
    if unwrap(backbone.model).config.is_encoder_decoder:
        raise UserError("grpo: an encoder-decoder model cannot be trained by GRPO here; use a causal llm")
    rewards = rewards if isinstance(rewards, list) else [rewards]
    if len(rows) < prompts_per_step:
        raise UserError(f"grpo: {len(rows)} prompts are fewer than prompts_per_step={prompts_per_step}; lower it")
    config = GRPOConfig(
        output_dir=output_dir,
        max_steps=steps,
        num_train_epochs=epochs,
        learning_rate=lr,
        per_device_train_batch_size=prompts_per_step * G,
        gradient_accumulation_steps=accumulate,
        steps_per_generation=1,  # each forward draws its own whole groups
        num_generations=G,
        num_iterations=iterations,
        max_completion_length=trie.depth,
        temperature=temperature,
        epsilon=clip,
        beta=0.0,  # the trainer keeps its own reference and beta, see ConstrainedGRPOTrainer
        reward_weights=reward_weights,
        loss_type="grpo",
        warmup_steps=warmup,
        lr_scheduler_type=schedule,
        max_grad_norm=max_grad_norm,
        seed=seed,
        save_strategy="no" if save_steps is None else "steps",
        save_steps=save_steps or 1,
        save_total_limit=2,
        logging_steps=logging_steps,
        **runtime_arguments(backbone, gradient_checkpointing, bf16),
    )
    trainer = ConstrainedGRPOTrainer(
        backbone,
        trie,
        rows,
        rewards,
        beta=beta,
        normalise=normalise,
        rollout=rollout,
        constrained=constrained,
        packed=packed,
        args=config,
        callbacks=[*callbacks, *([ProgressCallback(progress)] if progress else [])],
    )
    return run(trainer, resume)


class ConstrainedGRPOTrainer(GRPOTrainer):
    """GRPOTrainer whose completions are valid IDs and whose policy is the distribution over valid IDs.

    Uses TRL's extension points: `rollout_func` for sampling, `_get_per_token_logps_and_entropies` for likelihoods (its
    full-vocabulary ones would be off-policy after the first token), reward functions with `log_metric`. TRL sees each
    prompt as its row number; token ids and columns stay in `rows`.
    """

    def __init__(
        self,
        backbone,
        trie,
        rows,
        rewards,
        *,
        args,
        beta,
        normalise="allowed",
        rollout="sample",
        constrained=True,
        packed=True,
        **kwargs,
    ):
        if rollout not in ROLLOUTS:
            raise UserError(f"rollout: {rollout!r} is none of {', '.join(ROLLOUTS)}")
        if rollout == "beam" and trie.n_leaves < args.num_generations:
            raise UserError(f"rollout: beam needs G different IDs and the catalogue has {trie.n_leaves}; lower G")
        if rollout == "beam" and not constrained:
            raise UserError("rollout: beams are constrained to IDs; take rollout: sample with constrained: false")
        self.draw, self.constrained = ROLLOUTS[rollout], constrained
        self.backbone, self.trie, self.rows = backbone, trie, rows
        self.packed = packed
        temperature = args.temperature
        self.constraint = (
            Constraint(backbone, trie, normalise, temperature) if constrained else Free(backbone, trie, temperature)
        )
        vocabulary = backbone.model.get_input_embeddings().weight.shape[0]
        self.code_of = torch.full((trie.depth, vocabulary), -1, device=backbone.device)
        for level, tokens in enumerate(self.constraint.tokens):
            self.code_of[level, tokens] = torch.arange(len(tokens), device=backbone.device)
        self.seconds = defaultdict(float)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "You are using 'rollout_func'")
            super().__init__(
                model=backbone.model,
                reward_funcs=[self._as_trl_reward(reward, n == 0) for n, reward in enumerate(rewards)],
                args=args,
                train_dataset=Dataset.from_dict({"prompt": [str(n) for n in range(len(rows))]}),
                processing_class=backbone.tokenizer,
                rollout_func=self._rollout,
                **kwargs,
            )
        # TRL would load a full model's reference from a path; ours is a copy of what trains. See Reference.
        self.beta = beta
        self.ref_model = Reference(self.model) if beta else None

    def _rollout(self, prompts: list[str], trainer) -> dict:
        """G valid IDs for each of the prompts, which come repeated G times and consecutive."""
        G = self.num_generations
        ids = [self.rows[int(prompt)]["input_ids"] for prompt in prompts[::G]]
        input_ids, mask = left_pad(ids, self.backbone.pad_id, self.backbone.device)
        with merged(self.backbone.model):
            leaves, codes = self.draw(
                self.backbone,
                self.trie,
                input_ids,
                mask,
                G=G,
                temperature=self.temperature,
                constrained=self.constrained,
            )
        tokens = torch.stack([t[codes[:, :, level]] for level, t in enumerate(self.constraint.tokens)], 2)
        return {
            "prompt_ids": [list(row) for row in ids for _ in range(G)],
            "completion_ids": tokens.flatten(0, 1).tolist(),
            "logprobs": None,  # TRL computes those it needs by _get_per_token_logps_and_entropies
            "leaf": leaves.flatten().tolist(),
        }

    def _as_trl_reward(self, reward: Callable, first: bool) -> Callable:
        """TRL's convention of lists over completions around a function of items [P, G] and per-prompt columns."""

        def function(prompts, leaf, log_metric, **_):
            leaves = torch.tensor(leaf).view(-1, self.num_generations)
            rows = [self.rows[int(prompt)] for prompt in prompts[:: self.num_generations]]
            columns = {name: [row[name] for row in rows] for name in rows[0] if name != "input_ids"}
            at = self.trie.leaf_ptr[leaves.clamp(min=0).to(self.backbone.device)]
            items = self.trie.leaf_items[at].cpu().masked_fill(leaves < 0, 0)
            if first and not self.constrained:
                log_metric("invalid", (leaves < 0).float().mean().item())
            if first:
                ordered = leaves.sort(1).values
                log_metric("distinct", 1 + (ordered.diff(dim=1) != 0).sum(1).float().mean().item())
            return torch.as_tensor(reward(items, **columns)).flatten().tolist()

        function.__name__ = getattr(reward, "__name__", "reward")
        return function

    def _get_per_token_logps_and_entropies(
        self, model, input_ids, attention_mask, logits_to_keep, batch_size=None, compute_entropy=False, **_
    ):
        """Rows [N, T + depth] of prompt and completion -> (log-probabilities, entropies, None), each [N, depth]."""
        if model is self.ref_model:
            with self.ref_model.in_place():
                return self._logps(self.model, input_ids, attention_mask, logits_to_keep)
        return self._logps(model, input_ids, attention_mask, logits_to_keep)

    def _logps(self, model, input_ids, attention_mask, depth):
        prompt, mask = input_ids[:, :-depth], attention_mask[:, :-depth]
        codes = input_ids[:, -depth:]
        if self.constrained:
            codes = self.code_of.gather(1, codes.T).T
        if self.packed:
            first, group, place = group_rows(prompt, mask)
        else:
            first = group = torch.arange(len(prompt), device=prompt.device)
            place = torch.zeros_like(group)
        packed = codes[first][:, None].repeat(1, int(place.max()) + 1, 1)  # places that no row takes repeat a row
        packed[group, place] = codes
        logps, entropies = completion_logps(
            model, self.constraint, prompt[first], mask[first], packed, self.accelerator.autocast()
        )
        return logps[group, place], entropies[group, place], None

    def _generate_and_score_completions(self, inputs):
        with self._timed("generation"):
            return super()._generate_and_score_completions(inputs)

    def training_step(self, *args, **kwargs):
        with self._timed("step"):
            return super().training_step(*args, **kwargs)

    @contextlib.contextmanager
    def _timed(self, name):
        start = time.perf_counter()
        yield
        if self.accelerator.device.type == "cuda":
            torch.cuda.synchronize()
        self.seconds[name] += time.perf_counter() - start
        self.seconds[name + "s"] += 1

    def log(self, logs, *args, **kwargs):
        """TRL's metrics with names that say what they are, less those that are constant here (lengths, clipping)."""
        if self.seconds:
            steps = max(self.state.global_step - getattr(self, "_timed_until", 0), 1)
            self._timed_until = self.state.global_step
            logs["time/generation"] = self.seconds["generation"] / steps
            logs["time/update"] = (self.seconds["step"] - self.seconds["generation"]) / steps
            self.seconds.clear()
        metrics = self._metrics["train"]
        for key in [k for k in metrics if k.startswith("completions/") or k in ("num_tokens", "step_time")]:
            del metrics[key]
        if "frac_reward_zero_std" in metrics:
            metrics["zero_advantage"] = metrics.pop("frac_reward_zero_std")
        super().log(logs, *args, **kwargs)

    def _get_train_sampler(self, dataset=None):
        sampler = _GroupSampler(
            self.train_dataset,
            mini_repeat_count=self.num_generations,
            batch_size=self.args.generation_batch_size // self.num_generations,
            repeat_count=self.num_iterations * self.args.steps_per_generation,
            seed=self.args.seed,
        )
        self.add_callback(EpochCallback(sampler))
        return sampler

    def create_model_card(self, *args, **kwargs):
        """None: a checkpoint here belongs to a run, whose own records tell what it is."""

    def _send_telemetry(self):
        """None: training does not use the network."""


class _GroupSampler(RepeatSampler):
    """TRL's order of groups, as a function of (seed, epoch) alone, so that a resumed run repeats it in any epoch."""

    epoch = 0

    def __iter__(self):
        self.generator.manual_seed(self.seed + self.epoch)
        return super().__iter__()
