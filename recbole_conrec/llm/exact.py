"""The best IDs of a whole catalogue, exactly: what a beam search would find with no limit to its width.

A leaf is never likelier than a prefix on its way. So a beam is exact where the best prefix that fell out of it scores
no more than the last of the answer (a prior counts by the largest below a prefix). Beams of four times the width show
this for nearly all users; the others are searched again with wider ones, and at last by the scores of all leaves.
"""

import torch

from recbole_conrec.llm.chunks import in_chunks
from recbole_conrec.llm.constraint import Constraint, Normalisation
from recbole_conrec.llm.prior import leaf_prior
from recbole_conrec.llm.shared_prompt import SharedPrompt, open_prompt
from recbole_conrec.llm.walks import beams, scores_of

WIDER = 4  # times as wide as the answer is the first beam, and each one after it as the one before
BUDGET = 2**25  # numbers (logits, and places of the mask) that one pass over some prefixes may hold

Given = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor | None]
Found = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@torch.no_grad()
def best_of_all(backbone, trie, given: Given, width: int, normalise: Normalisation, chunk: int | None) -> Found:
    """(leaves [B, width], scores [B, width], levels [B, C, depth] of the leaves [B, C] that are given).

    For `decoding.beam_search` and `decoding.search_and_score`; given: input_ids, attention_mask, leaves, forbidden,
    prior, as they take them.
    """
    prefixes, beam = len(trie.code[-2]) if trie.depth > 1 else 0, WIDER * width
    constraint = Constraint(backbone, trie, normalise)

    def search(ids, mask, leaves, forbidden, prior):
        prompt = open_prompt(backbone.model, ids, mask)
        found, scores, lost = beams(trie, prompt, beam, constraint, leaf_prior(trie, prior, forbidden, largest=True))
        levels = scores.new_zeros((len(ids), 0, trie.depth))
        if leaves.shape[1]:
            levels = scores_of(trie, prompt.rewind(), leaves, constraint, leaf_prior(trie, prior, None))
        return found[:, :width], scores[:, :width], levels, scores[:, width - 1] >= lost

    ids, mask, leaves, forbidden, prior = given
    found, scores, levels, sure = in_chunks(search, backbone, chunk, ids, mask, leaves, forbidden, prior)
    while not sure.all():
        beam, open_ = beam * WIDER, (~sure).nonzero()[:, 0]
        ids, mask = given[0][open_], given[1][open_]
        forbidden, prior = (None if x is None else x[open_] for x in given[3:])
        if beam < prefixes:
            none = ids.new_zeros((len(ids), 0))
            again = in_chunks(search, backbone, chunk, ids, mask, none, forbidden, prior)
            found[open_], scores[open_], sure[open_] = again[0], again[1], again[3]
            continue
        everything = all_scores(
            backbone, trie, ids, mask, normalise=normalise, forbidden=forbidden, prior=prior, chunk=chunk
        )
        best, at = everything.topk(min(width, trie.n_leaves), 1)
        n = best.shape[1]
        found[open_, :n], scores[open_, :n], sure[open_] = at.masked_fill(best == -torch.inf, -1), best, True
    return found, scores, levels


@torch.no_grad()
def all_scores(
    backbone,
    trie,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    *,
    normalise: Normalisation = "vocabulary",
    forbidden: torch.Tensor | None = None,
    prior: torch.Tensor | None = None,
    chunk: int | None = None,
) -> torch.Tensor:
    """The score of every leaf, float32 [B, n_leaves]; -inf for forbidden ones.

    Every prefix is computed once per prompt, so that a catalogue costs as many tokens per user as it has prefixes.
    """

    def score(ids, mask, forbidden, prior):
        constraint = Constraint(backbone, trie, normalise)
        first, *levels = _every_level(trie, open_prompt(backbone.model, ids, mask), constraint)
        scores = first
        for level, logps in enumerate(levels, 1):
            scores = scores.repeat_interleave(trie.ptr[level].diff(), 1, output_size=logps.shape[1]) + logps
        known = leaf_prior(trie, prior, forbidden, largest=True)
        if known is not None:
            scores += known.bonus(trie.depth, torch.arange(trie.n_leaves, device=scores.device).expand_as(scores))
        return (scores,)

    return in_chunks(score, backbone, chunk, input_ids, attention_mask, forbidden, prior)[0]


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
