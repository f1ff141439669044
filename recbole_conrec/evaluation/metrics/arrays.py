"""Top-K lists against sets of items, one ragged set (CSR) for each instance, and scores against each other."""

import numpy as np

_CELLS = 1 << 22  # comparisons held at a time


def listed(items: np.ndarray, ptr: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Whether each wanted item is in the list of its instance.

    Args:
        items: int [N, K], the lists; an item that is listed twice counts once, as the question is asked by wanted item.
        ptr: int [N + 1], the wanted items of instance n are ``wanted[ptr[n] : ptr[n + 1]]``.
        wanted: int [ptr[-1]], distinct in each instance and > 0.

    Returns:
        bool [ptr[-1]]. Raises ValueError for lists of another number of instances.
    """
    if items.ndim != 2:
        raise ValueError(f"expected the lists as a matrix [N, K], found shape {items.shape}")
    if len(items) != len(ptr) - 1:
        raise ValueError(f"{len(items)} lists for {len(ptr) - 1} instances")
    row = np.repeat(np.arange(len(items)), np.diff(ptr))
    found = np.zeros(len(row), dtype=bool)
    step = max(1, _CELLS // max(1, items.shape[1]))
    for low in range(0, len(row), step):  # blocks, to bound memory
        part = slice(low, low + step)
        found[part] = (items[row[part]] == wanted[part, None]).any(axis=1)
    return found


def any_listed(items: np.ndarray, ptr: np.ndarray, wanted: np.ndarray, chosen: np.ndarray | None = None) -> np.ndarray:
    """Whether any wanted item of an instance is in its list.

    Args:
        items: int [N, K], see :func:`listed`.
        ptr: int [N + 1], likewise.
        wanted: int [ptr[-1]], likewise.
        chosen: bool [ptr[-1]], the wanted items that count; None: all of them.

    Returns:
        float64 [N]: 1 or 0; NaN where no wanted item counts.
    """
    chosen = np.ones(len(wanted), dtype=bool) if chosen is None else chosen
    hits = count_by_row(ptr, listed(items, ptr, wanted) & chosen)
    return np.where(count_by_row(ptr, chosen) > 0, (hits > 0).astype(np.float64), np.nan)


def count_by_row(ptr: np.ndarray, flags: np.ndarray) -> np.ndarray:
    """int64 [N]: how many of the flags [ptr[-1]] of each CSR row are set."""
    return np.diff(np.concatenate(([0], np.cumsum(flags)))[ptr])


def above(own: np.ndarray, other: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Whether a score is above another one: float64 [N], 1, 1/2 for a tie, 0; NaN where there is no other.

    Args:
        own, other: float [N].
        there: bool [N], whether there is another one.

    Raises ValueError for a NaN score of an item that is there.
    """
    if np.isnan(own[there]).any() or np.isnan(other[there]).any():
        raise ValueError("NaN among the scores of a dislike and what it is compared with")
    return np.where(there, (own > other) + 0.5 * (own == other), np.nan)
