"""CoNRec's rewards (the paper's reward table) as plain functions of items.

    GTS = the dislikes of the window that starts at t0, and their Swing neighbours
    FPS = the likes of the same window
    r(out) = max_{i in GTS} cos(out, i) - gamma * max_{t in FPS} cos(out, t)

Every function takes

    out: int64 [P, G] generated items, 0 where a completion is no item;
    gts, fps: int64 [P, M] items, padded with 0; fps may be empty ([P, 0]);
    vectors: float32 [n_items, dim], each item rebuilt from its codes and scaled to length 1
    codes: int64 [n_items, depth] (only ``hits`` reads them)

and returns float32 [P, G]. A completion that is no item earns the minimum of its function.
"""

import numpy as np
import torch

TRUNCATE = 0.6  # the paper's variants (b) and (d) count only similarities above this


def best_cosine(out: torch.Tensor, targets: torch.Tensor, vectors: torch.Tensor, empty: float = 0.0) -> torch.Tensor:
    """max over the targets of cos(out, target), [P, G]; ``empty`` where there is no target."""
    if targets.shape[1] == 0:
        return torch.full(out.shape, empty)
    cosine = vectors[out] @ vectors[targets].transpose(1, 2)  # [P, G, M]
    best = cosine.masked_fill((targets == 0)[:, None, :], -torch.inf).amax(dim=-1)
    return torch.where(torch.isinf(best), torch.full_like(best, empty), best)


def negatives(out, gts, fps, vectors, codes, gamma):
    """(a) max cos to GTS."""
    return _invalid(best_cosine(out, gts, vectors), out, -1.0)


def negatives_truncated(out, gts, fps, vectors, codes, gamma):
    """(b) as (a), similarities of at most 0.6 count nothing."""
    return _invalid(_truncate(best_cosine(out, gts, vectors)), out, 0.0)


def negatives_minus_positives(out, gts, fps, vectors, codes, gamma):
    """(c) max cos to GTS minus gamma times max cos to FPS: CoNRec's reward."""
    reward = best_cosine(out, gts, vectors) - gamma * best_cosine(out, fps, vectors)
    return _invalid(reward, out, -1.0 - gamma)


def truncated_minus_truncated(out, gts, fps, vectors, codes, gamma):
    """(d) as (c), similarities of at most 0.6 count nothing on either side."""
    reward = _truncate(best_cosine(out, gts, vectors)) - gamma * _truncate(best_cosine(out, fps, vectors))
    return _invalid(reward, out, -gamma)


def hits(out, gts, fps, vectors, codes, gamma):
    """(e) 1 where all levels of the ID equal those of an item of GTS, 0.1 for all but the last, 0.01 for all but the
    last two, else 0."""
    same = codes[out][:, :, None, :] == codes[gts][:, None, :, :]  # [P, G, M, depth]
    levels = same.long().cumprod(dim=-1).sum(dim=-1).masked_fill((gts == 0)[:, None, :], 0).amax(dim=-1)
    depth = codes.shape[1]
    worth = torch.tensor([0.0] * max(depth - 2, 1) + [0.01, 0.1, 1.0][-min(depth, 3) :])
    return _invalid(worth[levels], out, 0.0)


REWARDS = {
    "negatives": negatives,
    "negatives_truncated": negatives_truncated,
    "negatives_minus_positives": negatives_minus_positives,
    "truncated_minus_truncated": truncated_minus_truncated,
    "hits": hits,
}


def unit_vectors(semantic_ids) -> torch.Tensor:
    """float32 [n_items, dim]: rebuilt item vectors of length 1 (zero for padding)."""
    vectors = np.asarray(semantic_ids.embeddings(), dtype=np.float32)
    return torch.from_numpy(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))


def _truncate(cosine: torch.Tensor) -> torch.Tensor:
    return torch.where(cosine > TRUNCATE, cosine, torch.zeros_like(cosine))


def _invalid(reward: torch.Tensor, out: torch.Tensor, minimum: float) -> torch.Tensor:
    return reward.masked_fill(out == 0, minimum)
