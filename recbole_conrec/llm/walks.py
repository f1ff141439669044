"""The three ways down the trie after a prompt: beams, draws, and given leaves."""

import torch
import torch.nn.functional as F

from recbole_conrec.llm.constraint import Constraint
from recbole_conrec.llm.prior import LeafPrior
from recbole_conrec.llm.shared_prompt import SharedPrompt


def beams(
    trie,
    prompt: SharedPrompt,
    width: int,
    constraint: Constraint,
    prior: LeafPrior | None = None,
    as_sampled: bool = False,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Beams of this width -> (leaves [B, width], scores [B, width], lost [B]); see `decoding.beam_search`.

    `lost` is the best score of a prefix that fell out of the beam, -inf if none did. Where a prefix carries the largest
    prior below it, no leaf below those has more: probabilities only fall.
    """
    hidden = prompt.hidden
    weights = constraint.weights()
    states = torch.zeros((len(hidden), 1), dtype=torch.int64, device=trie.item_leaf.device)
    likely = scores = torch.zeros(states.shape, device=states.device)  # without and with the prior
    lost = torch.full((len(hidden),), -torch.inf, device=states.device)
    for level in range(trie.depth):
        codes, children, logps = constraint.step(weights, hidden, level, states, prior if as_sampled else None)
        totals, children = (likely[:, :, None] + logps).flatten(1), children.flatten(1)
        raised = totals if prior is None or as_sampled else totals + prior.bonus(level + 1, children)
        scores, pick = raised.topk(min(width + 1, totals.shape[1]), dim=1)
        if scores.shape[1] > width:
            if level + 1 < trie.depth:
                lost = torch.maximum(lost, scores[:, width])
            scores, pick = scores[:, :width], pick[:, :width]
        likely = scores if raised is totals else totals.gather(1, pick)
        states = children.gather(1, pick).masked_fill(scores == -torch.inf, -1)
        if level + 1 < trie.depth:
            tokens = constraint.tokens[level][codes.flatten(1).gather(1, pick)]
            hidden = prompt.extend(tokens, pick // codes.shape[2])
    missing = (0, width - states.shape[1])
    return F.pad(states, missing, value=-1), F.pad(scores, missing, value=-torch.inf), lost


def samples(
    trie,
    prompt: SharedPrompt,
    n: int,
    constraint: Constraint,
    generator: torch.Generator | None,
    prior: LeafPrior | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """N draws -> (leaves, codes, log-probabilities), see `decoding.sample`."""
    hidden = prompt.hidden
    weights = constraint.weights()
    states = torch.zeros((len(hidden), 1), dtype=torch.int64, device=trie.item_leaf.device)
    all_codes, all_logps = [], []
    for level in range(trie.depth):
        codes, children, logps = constraint.step(weights, hidden, level, states, prior)
        draws = 1 if level else n  # the first level has one distribution per prompt, later ones one per sample
        pick = torch.multinomial(logps.exp().flatten(0, 1), draws, replacement=True, generator=generator)
        pick = pick.view(len(states), -1)
        source = pick[:, None] if level == 0 else pick[:, :, None]
        codes, states, logps = (x.gather(2, source).flatten(1) for x in (codes, children, logps))
        all_codes.append(codes)
        all_logps.append(logps)
        if level + 1 < trie.depth:
            hidden = prompt.extend(constraint.tokens[level][codes], _parents(level, codes))
    return states, torch.stack(all_codes, 2), torch.stack(all_logps, 2)


def scores_of(
    trie, prompt: SharedPrompt, leaves: torch.Tensor, constraint: Constraint, prior: LeafPrior | None
) -> torch.Tensor:
    """What each code of given leaves [B, C] adds, [B, C, depth], see `decoding.score`."""
    hidden = prompt.hidden
    weights = constraint.weights()
    wanted = trie.leaf_codes[leaves.clamp(min=0)]  # [B, C, depth]
    states, carried = leaves.new_zeros((len(leaves), 1)), torch.zeros((len(leaves), 1), device=leaves.device)
    levels = []
    for level in range(trie.depth):  # at level 0 all candidates share the one distribution after the prompt
        logps, states, _ = constraint.follow(weights, hidden, level, states, wanted[:, :, level])
        if prior is not None:
            raised = prior.bonus(level + 1, states.clamp(min=0))
            logps, carried = logps + (raised - carried).nan_to_num(nan=-torch.inf, neginf=-torch.inf), raised
        levels.append(logps)
        if level + 1 < trie.depth:
            hidden = prompt.extend(constraint.tokens[level][wanted[:, :, level]], _parents(level, leaves))
    return torch.stack(levels, 2).masked_fill((leaves < 0)[:, :, None], -torch.inf)


def _parents(level: int, like: torch.Tensor) -> torch.Tensor:
    """[B, W] parents of continuations that never cross: the prompt's end at first, then each its own."""
    return torch.zeros_like(like) if level == 0 else torch.arange(like.shape[1], device=like.device).expand_as(like)
