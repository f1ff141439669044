"""The K best items of a dense score matrix, in an order that no tie can change."""

from __future__ import annotations

import torch

_CELLS = 1 << 24  # keys held at a time: 128 MB


def tie_rank(n_items: int, seed: int = 2020, device=None) -> torch.Tensor:
    """int64 [n_items]: a random rank of each item that settles ties. A model that scores all items alike so gets a
    random list, never one that is good or bad by the order of item ids."""
    return torch.randperm(n_items, generator=torch.Generator().manual_seed(seed)).to(device)


def dense_topk(scores: torch.Tensor, k: int, forbidden: tuple[torch.Tensor, torch.Tensor] | None = None,
               ranks: torch.Tensor | None = None, name: str = "the model") -> torch.Tensor:
    """The k best items of each row: by score, higher first, then by tie rank, lower first.

    Args:
        scores: float [B, n_items], compared at float32 precision. Column 0 is RecBole's padding item. -inf means
            "not scored"; neither is ever returned.
        k: places; may exceed n_items.
        forbidden: (rows, items), int64 [M] each: pairs that are never returned.
        ranks: int64 [n_items], a permutation; default :func:`tie_rank`.
        name: named in the error.

    Returns:
        int64 [B, k] item ids, best first; 0 where fewer than k items are allowed.

    Raises ValueError for a NaN score.
    """
    n_rows, n_items = scores.shape
    if torch.isnan(scores).any():
        raise ValueError(f"{name} gave NaN scores")
    ranks = tie_rank(n_items, device=scores.device) if ranks is None else ranks.to(scores.device)
    allowed = scores != -torch.inf
    allowed[:, 0] = False
    if forbidden is not None:
        allowed[forbidden] = False
    found = torch.zeros(n_rows, k, dtype=torch.int64, device=scores.device)
    step = max(1, _CELLS // n_items)
    for rows in range(0, n_rows, step):  # blocks of rows, to bound the memory of the keys
        part = slice(rows, rows + step)
        keys = ordered_int(scores[part]) * 2**32 + (n_items - 1 - ranks)
        keys[~allowed[part]] = torch.iinfo(torch.int64).min
        best, items = torch.topk(keys, min(k, n_items), dim=1)
        found[part, : items.shape[1]] = items * (best != torch.iinfo(torch.int64).min)
    return found


def ordered_int(scores: torch.Tensor) -> torch.Tensor:
    """int64 in [-2**31, 2**31), ordered as the scores are at float32 precision; 0.0 equals -0.0."""
    bits = (scores.float() + 0.0).view(torch.int32).to(torch.int64)
    return torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
