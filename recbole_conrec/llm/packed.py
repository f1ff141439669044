"""Log-probabilities of completions, with gradient, where the completions of one prompt share one pass over it.

A row holds a left-padded prompt and its M completions one after the other. The mask lets a completion's tokens see the
prompt and their own completion only; positions start at the prompt's end for each. So one forward and backward over
T + M (depth - 1) tokens replaces M of T + depth - 1, with the same gradients.
"""

import contextlib
from contextlib import AbstractContextManager

import torch

from recbole_conrec.llm.constraint import Constraint
from recbole_conrec.llm.head import unwrap
from recbole_conrec.llm.prior import LeafPrior
from recbole_conrec.llm.shared_prompt import attention_masks, check_attention


def completion_logps(
    model,
    constraint: Constraint,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    codes: torch.Tensor,
    autocast: AbstractContextManager | None = None,
    prior: LeafPrior | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of every code of given completions, under the same constraint that samples.

    Args:
        model: as it is trained (inside DistributedDataParallel or PEFT if it is), so that gradients synchronise.
        constraint: the one under which the completions were sampled.
        input_ids: int64 [P, T], prompts padded on the left.
        attention_mask: int64 [P, T].
        codes: int64 [P, M, depth], valid IDs.
        autocast: context manager for the model's forward (default: none).
        prior: what is known of the prompts' leaves, as it was sampled with.

    Returns (log-probabilities [P, M, depth] float32, entropies [P, M, depth] without gradient).
    """
    inner = unwrap(model)
    check_attention(inner)
    config = inner.config.get_text_config(decoder=True)
    prompts, length = input_ids.shape
    n, depth = codes.shape[1:]
    tokens = codes[:, :, : depth - 1].clone()  # the last code of an ID predicts nothing
    for level in range(depth - 1):
        tokens[:, :, level] = constraint.tokens[level][codes[:, :, level]]
    allowed, position = packed_layout(attention_mask.bool(), n, depth - 1)
    with autocast or contextlib.nullcontext():
        out = model(
            input_ids=torch.cat([input_ids, tokens.flatten(1)], 1),
            attention_mask=attention_masks(inner.base_model, config, allowed, position, position),
            position_ids=position,
            use_cache=False,
            output_hidden_states=True,  # the public access to the last hidden states through every wrapper
            logits_to_keep=torch.zeros(0, dtype=torch.int64, device=input_ids.device),
        )
    hidden = out.hidden_states[-1]
    after = hidden[:, length:].unflatten(1, (n, depth - 1))
    states, weights = codes.new_zeros((prompts, 1)), constraint.weights()
    logps, entropies = [], []
    for level in range(depth):
        source = hidden[:, length - 1 : length] if level == 0 else after[:, :, level - 1]
        chosen, states, entropy = constraint.follow(weights, source, level, states, codes[:, :, level], prior)
        logps.append(chosen)
        entropies.append(entropy.expand(-1, n))
    return torch.stack(logps, 2), torch.stack(entropies, 2)


def packed_layout(mask: torch.Tensor, n: int, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Which tokens of a packed row see which, and their positions.

    `mask` bool [P, T] (left-padded), n completions of `steps` tokens -> (allowed bool [P, L, L], position int64 [P, L])
    with L = T + n * steps. A padding token sees itself, or its softmax would be NaN.
    """
    prompts, length = mask.shape
    total = length + n * steps
    causal = torch.ones(total, total, dtype=torch.bool, device=mask.device).tril()
    place = torch.arange(total, device=mask.device) - length
    owner = torch.where(place < 0, -1, place // max(steps, 1))  # the completion that a token belongs to; -1: the prompt
    mine = (owner[:, None] == owner) | (owner == -1)
    real = torch.cat([mask, mask.new_ones((prompts, n * steps))], 1)
    allowed = (causal & mine) & real[:, None]
    allowed |= torch.eye(total, dtype=torch.bool, device=mask.device)
    prompt_position = (mask.cumsum(1) - 1).clamp(min=0)
    step = torch.arange(steps, device=mask.device).repeat(n)
    return allowed, torch.cat([prompt_position, mask.sum(1, keepdim=True) + step], 1)


def group_rows(
    prompt_ids: torch.Tensor, prompt_mask: torch.Tensor, numbers: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Which of the rows [N, T], which repeat prompts in any order, belong together.

    `numbers` [N]: rows with different ones do not, though their prompts may be alike.

    Returns (first [P]: a row of each distinct prompt; group [N]: the distinct prompt of each row; place [N]: the
    row's number within its group).
    """
    key = torch.where(prompt_mask.bool(), prompt_ids, -1)  # a padding id may also be a token
    if numbers is not None:
        key = torch.cat([key, numbers[:, None]], 1)
    group = key.unique(dim=0, return_inverse=True)[1]
    order = group.argsort(stable=True)
    counts = group.bincount()
    start = counts.cumsum(0) - counts
    place = torch.empty_like(group)
    place[order] = torch.arange(len(group), device=group.device) - start[group[order]]
    return order[start], group, place
