"""CoNRec's rewards (the paper's reward table) as plain functions of items.

    GTS = the dislikes of the window that starts at t0, and their Swing neighbours
    FPS = the likes of the same window
    r(out) = max_{i in GTS} cos(out, i) - gamma * max_{t in FPS} cos(out, t)

Every function takes

    items: int64 [P, G] generated items, 0 where a completion is no item;
    gts, fps: int64 [P, M] items, padded with 0; fps may be empty ([P, 0]);
    vectors: float32 [n_items, dim], each item rebuilt from its codes and scaled to length 1;
    codes: int64 [n_items, depth] (only ``hits`` reads them);
    gamma: the weight of the likes;
    **columns: the examples' other columns, lists of P values;

and returns float32 [P, G]. A completion that is no item earns the minimum of its function. The option ``reward`` names
one of them, or a function of your own by its dotted path ``package.module:function``.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from recbole_conrec.utils.arrays import unit_rows
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.names import load_function, nearest

TRUNCATE = 0.6  # the paper's variants (b) and (d) count only similarities above this


def best_cosine(out: torch.Tensor, targets: torch.Tensor, vectors: torch.Tensor, empty: float = 0.0) -> torch.Tensor:
    """Max over the targets of cos(out, target), [P, G]; ``empty`` where there is no target."""
    if targets.shape[1] == 0:
        return torch.full(out.shape, empty)
    cosine = vectors[out] @ vectors[targets].transpose(1, 2)  # [P, G, M]
    best = cosine.masked_fill((targets == 0)[:, None, :], -torch.inf).amax(dim=-1)
    return torch.where(torch.isinf(best), torch.full_like(best, empty), best)


def negatives(items, gts, fps, vectors, codes, gamma, **_):
    """(a) max cos to GTS."""
    return _invalid(best_cosine(items, gts, vectors), items, -1.0)


def negatives_truncated(items, gts, fps, vectors, codes, gamma, **_):
    """(b) as (a), similarities of at most 0.6 count as 0."""
    return _invalid(_truncate(best_cosine(items, gts, vectors)), items, 0.0)


def negatives_minus_positives(items, gts, fps, vectors, codes, gamma, **_):
    """(c) max cos to GTS minus gamma times max cos to FPS: CoNRec's reward."""
    reward = best_cosine(items, gts, vectors) - gamma * best_cosine(items, fps, vectors)
    return _invalid(reward, items, -1.0 - gamma)


def truncated_minus_truncated(items, gts, fps, vectors, codes, gamma, **_):
    """(d) as (c), similarities of at most 0.6 count as 0 on either side."""
    reward = _truncate(best_cosine(items, gts, vectors)) - gamma * _truncate(best_cosine(items, fps, vectors))
    return _invalid(reward, items, -gamma)


def hits(items, gts, fps, vectors, codes, gamma, **_):
    """(e) 1 where all levels of the ID equal those of an item of GTS, 0.1 for all but the last, 0.01 for all but the
    last two, else 0.
    """
    same = codes[items][:, :, None, :] == codes[gts][:, None, :, :]  # [P, G, M, depth]
    levels = same.long().cumprod(dim=-1).sum(dim=-1).masked_fill((gts == 0)[:, None, :], 0).amax(dim=-1)
    depth = codes.shape[1]
    worth = torch.tensor([0.0] * max(depth - 2, 1) + [0.01, 0.1, 1.0][-min(depth, 3) :])
    return _invalid(worth[levels], items, 0.0)


REWARDS: dict[str, Callable] = {
    "negatives": negatives,
    "negatives_truncated": negatives_truncated,
    "negatives_minus_positives": negatives_minus_positives,
    "truncated_minus_truncated": truncated_minus_truncated,
    "hits": hits,
}


def find_reward(name: str) -> Callable:
    """A reward by name or dotted path. Raises UserError naming the nearest one."""
    if ":" in name:
        return load_function(name)
    if name not in REWARDS:
        raise UserError(
            f"'{name}' is no reward{nearest(name, REWARDS)}; give {', '.join(REWARDS)} or package.module:function"
        )
    return REWARDS[name]


def unit_vectors(semantic_ids) -> torch.Tensor:
    """float32 [n_items, dim]: rebuilt item vectors of length 1 (zero for padding)."""
    return torch.from_numpy(unit_rows(np.asarray(semantic_ids.embeddings(), dtype=np.float32)))


def padded(lists: Sequence[Sequence[int]]) -> torch.Tensor:
    """Lists of item ids -> int64 [N, longest], padded with 0."""
    width = max(map(len, lists), default=0)
    return torch.tensor([[*one, *[0] * (width - len(one))] for one in lists], dtype=torch.int64).view(len(lists), width)


def _truncate(cosine: torch.Tensor) -> torch.Tensor:
    return torch.where(cosine > TRUNCATE, cosine, torch.zeros_like(cosine))


def _invalid(reward: torch.Tensor, out: torch.Tensor, minimum: float) -> torch.Tensor:
    return reward.masked_fill(out == 0, minimum)
