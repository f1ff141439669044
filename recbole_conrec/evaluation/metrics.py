"""The metrics as pure functions on arrays, one value per evaluation instance.

An instance is (user, t0, item) for one negative event; ``next`` is its item and F the set of items that the user
disliked in [t0, t0 + window], ``next`` included. Every function returns float64 [N], NaN where an instance does not
count, and :func:`mean` averages the rest.

Common arguments:
    topk: int [N, K] recommended item ids, best first. 0 or a negative number is a missing place: a miss. An item that
        is listed twice counts once.
    f_ptr, f_items: F as CSR, int [N + 1] and [f_ptr[-1]]; the items of a row are distinct and > 0.

There is no NDCG among them: an order among dislikes is not defined.
"""

from __future__ import annotations

import numpy as np

_CELLS = 1 << 22  # comparisons held at a time


def hit(topk: np.ndarray, next: np.ndarray) -> np.ndarray:
    """HR@K: 1 where ``next`` [N] is in the top K."""
    topk, next = _matrix(topk), np.asarray(next)
    return ((topk == next[:, None]) & (topk > 0)).any(axis=1).astype(np.float64)


def future_hit(topk: np.ndarray, f_ptr: np.ndarray, f_items: np.ndarray) -> np.ndarray:
    """FHR@K: 1 where any item of F is in the top K (any-hit is ours: the paper does not say). NaN where F is empty."""
    found = _count_by_row(f_ptr, _found(topk, f_ptr, f_items))
    return np.where(np.diff(f_ptr) > 0, (found > 0).astype(np.float64), np.nan)


def future_recall(topk: np.ndarray, f_ptr: np.ndarray, f_items: np.ndarray) -> np.ndarray:
    """FRecall@K: |top K n F| / min(K, |F|), the other reading of FHR (ours). NaN where F is empty.

    K is the number of places asked for, the missing ones included.
    """
    found = _count_by_row(f_ptr, _found(topk, f_ptr, f_items))
    best = np.minimum(_matrix(topk).shape[1], np.diff(f_ptr))
    return np.divide(found, best, out=np.full(len(best), np.nan), where=best > 0)


def low_activity_hit(topk: np.ndarray, f_ptr: np.ndarray, f_items: np.ndarray, low_activity: np.ndarray) -> np.ndarray:
    """LUF@K: FHR of the instances in ``low_activity`` (bool [N]: few negatives before t0), NaN for the others."""
    return np.where(low_activity, future_hit(topk, f_ptr, f_items), np.nan)


def long_tail_hit(topk: np.ndarray, f_ptr: np.ndarray, f_items: np.ndarray, long_tail: np.ndarray) -> np.ndarray:
    """LIF@K: 1 where any long-tail item of F is in the top K; NaN where F has none.

    Args:
        long_tail: bool [n_items], few negatives in training. A hit on another item of F does not count.
    """
    tail = np.asarray(long_tail)[f_items]
    found = _count_by_row(f_ptr, _found(topk, f_ptr, f_items) & tail)
    return np.where(_count_by_row(f_ptr, tail) > 0, (found > 0).astype(np.float64), np.nan)


def candidate_accuracy(scores: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """CandAcc: 1 where the true item scores above every other candidate; a tie is no hit.

    Args:
        scores: float [N, C], higher = more likely disliked; -inf for a place without a candidate, which never wins.
        answer: int [N], the column of the true item.

    Raises ValueError for a NaN score.
    """
    scores = np.asarray(scores)
    if np.isnan(scores).any():
        raise ValueError(f"NaN among the scores of candidates of {int(np.isnan(scores).any(axis=1).sum())} instances")
    row = np.arange(len(scores))
    others = scores.copy()
    others[row, answer] = -np.inf
    return (scores[row, answer] > others.max(axis=1, initial=-np.inf)).astype(np.float64)


def mean(values: np.ndarray) -> dict:
    """The average over the instances that count.

    Returns:
        dict: ``value``, ``n`` (instances that count), ``low`` and ``high``: Wilson's 95 % interval, which stays inside
        [0, 1] and keeps a width at 0 hits. It takes instances as independent; those of one user are not, so the
        uncertainty is at least that. All but ``n`` are None if no instance counts.
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    n = len(values)
    if not n:
        return {"value": None, "n": 0, "low": None, "high": None}
    p, z = float(values.mean()), 1.96
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return {"value": p, "n": n, "low": float(max(0.0, centre - half)), "high": float(min(1.0, centre + half))}


def summarise(outcomes: dict[str, np.ndarray]) -> dict[str, dict]:
    """:func:`mean` of every metric: {'HR@20': {'value': 0.1, 'n': 850, 'low': ..., 'high': ...}, ...}."""
    return {name: mean(values) for name, values in outcomes.items()}


def _matrix(topk) -> np.ndarray:
    topk = np.asarray(topk)
    if topk.ndim != 2:
        raise ValueError(f"expected the top K as a matrix [N, K], found shape {topk.shape}")
    return topk


def _found(topk, f_ptr, f_items) -> np.ndarray:
    """bool [len(f_items)]: is this item of F in its instance's top K? Asked from F's side, duplicates count once."""
    topk = _matrix(topk)
    if len(topk) != len(f_ptr) - 1:
        raise ValueError(f"{len(topk)} rankings for {len(f_ptr) - 1} instances")
    row = np.repeat(np.arange(len(topk)), np.diff(f_ptr))
    found = np.zeros(len(row), dtype=bool)
    step = max(1, _CELLS // max(1, topk.shape[1]))
    for low in range(0, len(row), step):  # blocks, to bound memory
        part = slice(low, low + step)
        found[part] = (topk[row[part]] == f_items[part, None]).any(axis=1)
    return found


def _count_by_row(ptr, flags) -> np.ndarray:
    """int64 [N]: how many of the flags of each CSR row are set."""
    return np.diff(np.concatenate(([0], np.cumsum(flags)))[ptr])
