"""The whole trie scored exactly, for catalogues that are small enough: what a beam search would find with no limit.

Every node of the trie is computed once per prompt, with the prompt's keys shared as in `decoding`. A catalogue costs as
many tokens per user as it has distinct prefixes, where a beam of width W costs W (depth - 1).
"""

import torch
import torch.nn.functional as F

from recbole_conrec.llm.chunks import in_chunks
from recbole_conrec.llm.constraint import Constraint, Normalisation
from recbole_conrec.llm.prior import leaf_prior
from recbole_conrec.llm.shared_prompt import SharedPrompt, open_prompt

BUDGET = 2**25  # numbers (logits, and places of the mask) that one pass over some nodes may hold


@torch.no_grad()
def exact_search(
    backbone,
    trie,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    *,
    width: int,
    normalise: Normalisation = "vocabulary",
    forbidden: torch.Tensor | None = None,
    prior: torch.Tensor | None = None,
    chunk: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `decoding.beam_search`: the `width` best IDs, of all -> (leaves [B, width], scores [B, width])."""

    def search(ids, mask, forbidden, prior):
        constraint = Constraint(backbone, trie, normalise)
        levels = _every_level(trie, open_prompt(backbone.model, ids, mask), constraint)
        return _best(trie, levels, width, forbidden, prior)

    return in_chunks(search, backbone, chunk, input_ids, attention_mask, forbidden, prior)


@torch.no_grad()
def exact_search_and_score(
    backbone,
    trie,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    leaves: torch.Tensor,
    *,
    width: int,
    normalise: Normalisation = "vocabulary",
    forbidden: torch.Tensor | None = None,
    prior: torch.Tensor | None = None,
    chunk: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `decoding.search_and_score`: the best leaves of all, and the levels of given ones, which are known by then."""

    def both(ids, mask, leaves, forbidden, prior):
        constraint = Constraint(backbone, trie, normalise)
        levels = _every_level(trie, open_prompt(backbone.model, ids, mask), constraint)
        states, known = leaves.clamp(min=0), leaf_prior(trie, prior, None)
        path: list[torch.Tensor] = []
        for level in reversed(range(trie.depth)):
            added = levels[level].gather(1, states)
            above = torch.searchsorted(trie.ptr[level], states, right=True) - 1  # no state is without children
            if known is not None:
                carried = known.bonus(level, above) if level else 0.0
                added = added + (known.bonus(level + 1, states) - carried).nan_to_num(nan=-torch.inf, neginf=-torch.inf)
            path.insert(0, added.masked_fill(leaves < 0, -torch.inf))
            states = above
        return _best(trie, levels, width, forbidden, prior)[0], torch.stack(path, 2)

    return in_chunks(both, backbone, chunk, input_ids, attention_mask, leaves, forbidden, prior)


def _best(trie, levels: list[torch.Tensor], width: int, forbidden, prior) -> tuple[torch.Tensor, torch.Tensor]:
    scores = levels[0]
    for level in range(1, trie.depth):
        scores = scores.repeat_interleave(trie.ptr[level].diff(), 1, output_size=levels[level].shape[1])
        scores = scores + levels[level]
    known = leaf_prior(trie, prior, forbidden)
    if known is not None:
        scores = scores + known.bonus(trie.depth, torch.arange(trie.n_leaves, device=scores.device).expand_as(scores))
    scores, leaves = scores.topk(min(width, trie.n_leaves), dim=1)
    missing = (0, width - leaves.shape[1])
    leaves = leaves.masked_fill(scores == -torch.inf, -1)
    return F.pad(leaves, missing, value=-1), F.pad(scores, missing, value=-torch.inf)


def _every_level(trie, prompt: SharedPrompt, constraint: Constraint) -> list[torch.Tensor]:
    """Log-probability of the code that each state adds, after its prefix: one [B, states] for each level from 1 on.

    The prefixes of depth - 1 codes are fed in pieces, each with the prefixes that lead to it, so that only those at
    the seams of two pieces are computed twice.
    """
    depth, weights, hidden = trie.depth, constraint.weights(), prompt.hidden
    batch = len(hidden)
    levels = [hidden.new_empty((batch, len(code)), dtype=torch.float32) for code in trie.code]
    levels[0] = constraint.all_children(weights, hidden, 0, 0, 1)
    if depth == 1:
        return levels
    last = len(trie.code[depth - 2])
    size = max(1, BUDGET // (batch * (len(weights[0]) + prompt.size)))
    for start in range(0, last, size):
        ranges = _ancestors(trie, start, min(start + size, last))
        prompt.rewind()
        for level in range(1, depth):
            first, end = ranges[level]
            parent = torch.repeat_interleave(trie.ptr[level - 1].diff())[first:end] - ranges[level - 1][0]
            tokens = constraint.tokens[level - 1][trie.code[level - 1][first:end]]
            hidden = prompt.extend(tokens.expand(batch, -1), parent.expand(batch, -1))
            children = slice(*trie.ptr[level][[first, end]].tolist())
            levels[level][:, children] = constraint.all_children(weights, hidden, level, first, end)
    return levels


def _ancestors(trie, first: int, end: int) -> list[tuple[int, int]]:
    """(first, end) of the prefixes of each length up to depth - 1 on the way to these of depth - 1 codes."""
    ranges = [(first, end)]
    for level in reversed(range(trie.depth - 1)):
        inside = torch.tensor([ranges[0][0], ranges[0][1] - 1], device=trie.ptr[level].device)
        low, high = (torch.searchsorted(trie.ptr[level], inside, right=True) - 1).tolist()
        ranges.insert(0, (low, high + 1))
    return ranges
