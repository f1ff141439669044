"""The K best items of a dense score matrix, with deterministic tie-breaking."""

import torch

_CELLS = 1 << 24  # 64-bit keys held at a time: 128 MB


def tie_rank(n_items: int, seed: int = 2020, device=None) -> torch.Tensor:
    """int64 [n_items]: a random rank of each item that settles ties.

    With it a model that scores all items alike gets a random list, never one that is good or bad by the order of ids.
    """
    return torch.randperm(n_items, generator=torch.Generator().manual_seed(seed)).to(device)


def dense_topk(
    scores: torch.Tensor,
    k: int,
    forbidden: tuple[torch.Tensor, torch.Tensor] | None = None,
    ranks: torch.Tensor | None = None,
    name: str = "the model",
) -> torch.Tensor:
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
    n_items = scores.shape[1]
    if torch.isnan(scores).any():
        raise ValueError(f"{name} gave NaN scores")
    ranks = tie_rank(n_items, device=scores.device) if ranks is None else ranks.to(scores.device)
    scores = scores.float().clone()
    scores[:, 0] = -torch.inf
    if forbidden is not None:
        scores[forbidden] = -torch.inf
    width = min(k, n_items)
    last, items = torch.topk(scores, width, dim=1)
    last = last[:, -1:]
    # Which of the items that tie with the last place torch.topk takes is not defined: rank these rows in full.
    tied = ((scores >= last).sum(dim=1) > width) & (last[:, 0] > -torch.inf)
    rows = tied.nonzero()[:, 0]
    for part in rows.split(max(1, _CELLS // n_items)):
        items[part] = torch.topk(_keys(scores[part], ranks), width, dim=1).indices
    chosen = scores.gather(1, items)
    order = _keys(chosen, ranks[items]).argsort(dim=1, descending=True)
    items = torch.where(chosen > -torch.inf, items, 0).gather(1, order)
    return torch.nn.functional.pad(items, (0, k - width))


def _keys(scores: torch.Tensor, ranks: torch.Tensor) -> torch.Tensor:
    """int64, all different: ordered by score and, where scores tie, by rank, lower above."""
    return ordered_int(scores) * 2**32 + (2**31 - 1 - ranks)


def ordered_int(scores: torch.Tensor) -> torch.Tensor:
    """int64 in [-2**31, 2**31), ordered as the scores are at float32 precision; 0.0 equals -0.0."""
    bits = (scores.float() + 0.0).view(torch.int32).to(torch.int64)
    return torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
