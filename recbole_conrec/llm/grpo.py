"""GRPO on TRL's GRPOTrainer: constrained sampling, log-probabilities under the same constraint, packed groups.

Shao et al. 2024 (arXiv:2402.03300). For every prompt, G completions o_i of the policy, with rewards r_i:

    A_i  = (r_i - mean r) / std r                                        advantages within the group
    rho  = pi(o_it | prompt, o_i<t) / pi_old(o_it | prompt, o_i<t)       1 at the first update on a rollout
    loss = -1/G sum_i 1/|o_i| sum_t [min(rho A_i, clip(rho, 1 - epsilon, 1 + epsilon) A_i) - beta KL(pi || pi_ref)]

A completion is a semantic ID, one token per code, and pi is a distribution over the IDs of the trie.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Literal

import torch
from datasets import Dataset
from pydantic import Field, model_validator
from trl import GRPOConfig

from recbole_conrec.llm.adapters import merged
from recbole_conrec.llm.batch import left_pad
from recbole_conrec.llm.constraint import Constraint, Free, Normalisation
from recbole_conrec.llm.decoding import beam_search, sample
from recbole_conrec.llm.fields import MaxSteps, Schedule
from recbole_conrec.llm.grpo_bookkeeping import GroupSampler, TimedGRPOTrainer
from recbole_conrec.llm.grpo_forbidden import FORBIDDEN, ForbiddenLeaves
from recbole_conrec.llm.head import unwrap
from recbole_conrec.llm.packed import completion_logps, group_rows
from recbole_conrec.llm.prior import leaf_prior
from recbole_conrec.llm.reference import Reference
from recbole_conrec.llm.reward_functions import Reward, columns_of, find_rewards, name_of, takes, values_of
from recbole_conrec.llm.training import Runtime, TrainingOptions, callbacks, run, training_arguments
from recbole_conrec.options.schema import Count, NonNegative, Number, Positive, Several
from recbole_conrec.utils.errors import UserError


class GRPOOptions(TrainingOptions):
    """Options of GRPO."""

    G: Annotated[int, Field(ge=2)] = 8
    """Completions per prompt."""
    prompts_per_step: Count = 8
    """Prompts per forward pass of each process; a step sees this times `accumulate` times the processes."""
    steps: MaxSteps = -1
    """Optimizer steps, whatever `epochs` says; -1 (or 0): those of `epochs`."""
    epochs: Positive = 1.0
    """Passes over the prompts, where `steps` is -1."""
    beta: NonNegative = 0.04
    """Weight of the KL divergence from the model as it was before this training."""
    lr: NonNegative = 1e-5
    """Largest learning rate of the schedule."""
    clip: Positive = 0.2
    """Epsilon of the clipped ratio; for the loss type cispo the largest weight, at least 1 (ScaleRL: 5)."""
    temperature: Positive = 1.0
    """Logits are divided by it, for sampling and for training."""
    iterations: Count = 1
    """Updates on the same completions (mu of the paper), each an optimizer step; checkpoints are at multiples of it."""
    reward_weights: Several[Number] | None = None
    """Factor of each reward before they are added; null: 1 each."""
    normalise: Normalisation = "allowed"
    """Train the distribution over the codes that can follow, which is the one that is sampled, or over all tokens."""
    rollout: Literal["sample", "beam"] = "sample"
    """Draw the G completions, or take the G most likely, all different, best first (the groups of MiniOneRec)."""
    constrained: bool = True
    """Only IDs of the trie; false: sample and train the whole vocabulary. `normalise` is then not used."""
    packed: bool = True
    """Compute a prompt once for its G completions; false: once for each."""
    warmup: NonNegative = 0.0
    """Share of the optimizer steps over which the learning rate rises from 0; from 1 on, the number of steps."""
    schedule: Schedule = "constant_with_warmup"
    """Course of the learning rate after the warm-up, by transformers' name of it."""
    loss_type: Literal["grpo", "dapo", "dr_grpo", "bnpo", "cispo", "sapo", "vespo"] = "grpo"
    """TRL's name of the loss. IDs are equally long, so grpo, dapo, dr_grpo and bnpo are the same here."""

    @model_validator(mode="after")
    def _fit_together(self):
        if self.rollout == "beam" and not self.constrained:
            raise ValueError("rollout: beams are constrained to IDs; take rollout: sample with constrained: false")
        if self.loss_type == "cispo" and self.clip < 1:
            raise ValueError(f"clip: {self.clip}; loss_type: cispo takes the largest weight, at least 1, e.g. clip: 5")
        return self


def train_grpo(
    backbone,
    trie,
    examples: list[dict],
    rewards: Reward | str | Sequence[Reward | str],
    options: GRPOOptions,
    runtime: Runtime,
) -> list[dict]:
    """Train `backbone.model` in place by GRPO -> the log history.

    Args:
        backbone: `Backbone` of a causal model. It is the reference of the KL divergence, and so must be given as it
            was before this training where `runtime.resume` is set, too.
        trie: `Trie` of its semantic IDs, on the model's device.
        examples: `{"input_ids": prompt token ids, **columns}`, one per prompt. The key `forbidden` is no column: the
            leaves that must not come out, a sequence of any length. Then the policy, old, new and reference, is the
            distribution over the codes that lead to other leaves. It has no effect without `constrained`.
        rewards: one or several of `f(items int64 [P, G], **columns) -> [P, G]`, or 'package.module:function', see
            `reward_functions` (beams also have a `rank`). An ID that several items share counts as the first of them;
            what is no ID as item 0.
        options: see there.
        runtime: see there.

    Returns:
        dicts with step, loss, reward, reward_std, rewards/<name>/mean, zero_advantage (share of groups whose rewards
        are all equal), distinct (different IDs per group), invalid (share of completions that are no ID, where not
        `constrained`), kl, entropy (nats per code), clip_ratio/..., time/generation and time/update in seconds.

    Raises UserError for an encoder-decoder, examples or rewards that do not fit, and G above the catalogue's IDs.
    """
    if unwrap(backbone.model).config.is_encoder_decoder:
        raise UserError("grpo: an encoder-decoder model cannot be trained by GRPO here; use a causal llm")
    if len(examples) < options.prompts_per_step:
        raise UserError(
            f"grpo: {len(examples)} prompts are fewer than prompts_per_step={options.prompts_per_step}; lower it"
        )
    if options.rollout == "beam" and trie.n_leaves < options.G:
        raise UserError(f"rollout: beam needs G different IDs and the catalogue has {trie.n_leaves}; lower G")
    if options.iterations > 1 and len(examples) < options.prompts_per_step * options.accumulate:
        raise UserError(
            f"grpo: {len(examples)} prompts are fewer than prompts_per_step * accumulate = "
            f"{options.prompts_per_step * options.accumulate}, which iterations above 1 need; lower one of them"
        )
    trainer = ConstrainedGRPOTrainer(backbone, trie, examples, rewards, options, runtime)
    return run(trainer, runtime.resume)


class ConstrainedGRPOTrainer(TimedGRPOTrainer):
    """GRPOTrainer whose completions are valid IDs and whose policy is the distribution over valid IDs.

    A step runs the methods below in their order: `_rollout`, then a `_reward`, from which TRL computes the
    advantages, then `_get_per_token_logps_and_entropies` (of the policy, and of the reference), from which TRL's
    `_compute_loss` computes the loss. These are TRL's extension points. TRL sees each prompt as its number in
    `examples`, where token ids and columns remain. Arguments as for `train_grpo`.
    """

    def __init__(self, backbone, trie, examples, rewards, options: GRPOOptions, runtime: Runtime):
        self.backbone, self.trie, self.examples, self.options = backbone, trie, examples, options
        self.columns = columns_of(examples)
        self.forbidden = None
        if options.constrained and FORBIDDEN in examples[0]:
            least = options.G if options.rollout == "beam" else 1
            self.forbidden = ForbiddenLeaves(examples, trie.n_leaves, least)
        functions = find_rewards(rewards, self.columns, ["rank"] if options.rollout == "beam" else [])
        weights = options.reward_weights
        if weights is not None and len(weights) != len(functions):
            raise UserError(f"reward_weights: {len(weights)} weights for {len(functions)} rewards; give one for each")
        self.constraint = (
            Constraint(backbone, trie, options.normalise, options.temperature)
            if options.constrained
            else Free(backbone, trie, options.temperature)
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "You are using 'rollout_func'")
            super().__init__(
                model=backbone.model,
                reward_funcs=[self._reward(function) for function in functions],
                args=_config(backbone, trie, options, runtime),
                train_dataset=Dataset.from_dict({"prompt": [str(n) for n in range(len(examples))]}),
                processing_class=backbone.tokenizer,
                rollout_func=self._rollout,
                callbacks=callbacks(runtime),
            )
        self.sampler = GroupSampler(
            examples,
            mini_repeat_count=options.G,
            batch_size=options.prompts_per_step * self.accelerator.num_processes,
            repeat_count=options.iterations,
            accumulate=options.accumulate,
            seed=runtime.seed,
        )
        # TRL asks for the log-probabilities of `ref_model`, whatever it is, where `beta` is not 0
        self.beta = options.beta
        self.ref_model = Reference(backbone.model) if options.beta else None  # type: ignore[assignment]

    def _rollout(self, prompts: list[str], trainer) -> dict[str, list | None]:
        """Completions of the prompts, which come repeated G times and consecutive: TRL's `rollout_func`."""
        options, n = self.options, self.options.G
        numbers = torch.tensor([int(prompt) for prompt in prompts[::n]], device=self.backbone.device)
        forbidden = None if self.forbidden is None else self.forbidden.of(numbers)
        prompt_ids = [self.examples[number]["input_ids"] for number in numbers.tolist()]
        batch = left_pad(prompt_ids, self.backbone.pad_id, self.backbone.device)
        with merged(self.backbone.model):
            if options.rollout == "beam":
                leaves, _ = beam_search(self.backbone, self.trie, *batch, width=n, forbidden=forbidden, as_sampled=True)
                codes = self.trie.leaf_codes[leaves]
            else:
                leaves, codes, _ = sample(
                    self.backbone,
                    self.trie,
                    *batch,
                    n=n,
                    temperature=options.temperature,
                    forbidden=forbidden,
                    constrained=options.constrained,
                )
        self._log_metric("distinct", 1 + (leaves.sort(1).values.diff(dim=1) != 0).sum(1).float().mean().item())
        if not options.constrained:
            self._log_metric("invalid", (leaves < 0).float().mean().item())
        tokens = torch.stack([t[codes[:, :, level]] for level, t in enumerate(self.constraint.tokens)], 2)
        return {
            "prompt_ids": [list(ids) for ids in prompt_ids for _ in range(n)],
            "completion_ids": tokens.flatten(0, 1).tolist(),
            "logprobs": None,  # TRL computes those that it needs by _get_per_token_logps_and_entropies
            "leaf": leaves.flatten().tolist(),
        }

    def _reward(self, function: Reward) -> Callable[..., list[float]]:
        """TRL's convention of lists over completions, around a function of items [P, G] and per-prompt columns."""
        ranked = self.options.rollout == "beam" and takes(function, list({*self.columns, "rank"}))

        def trl_reward(prompts, leaf, **_):
            n = self.options.G
            leaves = torch.tensor(leaf).view(-1, n)
            examples = [self.examples[int(prompt)] for prompt in prompts[::n]]
            at = self.trie.leaf_ptr[leaves.clamp(min=0).to(self.backbone.device)]
            items = self.trie.leaf_items[at].cpu().masked_fill(leaves < 0, 0)
            columns: dict = {"rank": torch.arange(n).expand(items.shape)} if ranked else {}
            columns |= {name: [one[name] for one in examples] for name in self.columns}
            return values_of(function, items, columns)

        trl_reward.__name__ = name_of(function)
        return trl_reward

    def _get_per_token_logps_and_entropies(
        self, model, input_ids, attention_mask, logits_to_keep, batch_size=None, compute_entropy=False, **_
    ):
        """Rows [N, T + depth] of prompt and completion -> (log-probabilities, entropies, None), each [N, depth].

        TRL's own would be over the whole vocabulary, and so off-policy after the first token.
        """
        if model is self.ref_model:
            with self.ref_model.in_place():
                return self._logps(self.model, input_ids, attention_mask, logits_to_keep)
        return self._logps(model, input_ids, attention_mask, logits_to_keep)

    def _logps(self, model, input_ids, attention_mask, depth: int):
        prompt, mask = input_ids[:, :-depth], attention_mask[:, :-depth]
        codes = self.constraint.codes_of(input_ids[:, -depth:])
        if self.options.packed:
            first, group, place = group_rows(prompt, mask, self.numbers)
        else:
            first = group = torch.arange(len(prompt), device=prompt.device)
            place = torch.zeros_like(group)
        packed = codes[first][:, None].repeat(1, int(place.max()) + 1, 1)  # places that no row takes repeat a row
        packed[group, place] = codes
        known = None
        if self.forbidden is not None and self.numbers is not None:
            known = leaf_prior(self.trie, None, self.forbidden.of(self.numbers[first]))
        logps, entropies = completion_logps(
            model, self.constraint, prompt[first], mask[first], packed, self.accelerator.autocast(), known
        )
        return logps[group, place], entropies[group, place], None

    # The loss of the module docstring is GRPOTrainer._compute_loss of these log-probabilities and the advantages.


def _config(backbone, trie, options: GRPOOptions, runtime: Runtime) -> GRPOConfig:
    if runtime.save_steps:  # completions are not saved: a checkpoint is between the last pass over some and the next
        runtime = replace(runtime, save_steps=-(-runtime.save_steps // options.iterations) * options.iterations)
    return GRPOConfig(
        num_train_epochs=options.epochs,
        max_steps=options.steps,
        per_device_train_batch_size=options.prompts_per_step * options.G,
        steps_per_generation=1,  # each forward draws its own whole groups
        num_generations=options.G,
        num_iterations=options.iterations,
        max_completion_length=trie.depth,
        temperature=options.temperature,
        epsilon=options.clip,
        beta=0.0,  # or TRL would load a full model's reference from a path; see Reference
        reward_weights=None if options.reward_weights is None else list(options.reward_weights),
        loss_type=options.loss_type,
        **training_arguments(backbone, options, runtime),
    )
