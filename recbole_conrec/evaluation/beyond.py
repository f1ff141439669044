"""RecBole's beyond-accuracy figures of all lists together: what a method lists at all, and how unequally.

They are RecBole's definitions, without its loops over every place of every list. Places that a list leaves empty do not
count, and neither does the padding item among the items. Popularity is the number of training dislikes, as RecBole's
training data are dislikes here.
"""

from collections.abc import Sequence

import numpy as np

BEYOND = ("ItemCoverage", "AveragePopularity", "GiniIndex", "ShannonEntropy", "TailPercentage")
TAIL_RATIO = 0.1  # RecBole's default


def beyond(
    items: np.ndarray, topk: Sequence[int], popularity: np.ndarray, tail_ratio: float | None = None
) -> dict[str, float]:
    """The figures of N lists.

    Args:
        items: int64 [N, K], 0 = a missing place.
        topk: the values of K; the list of a smaller K is the head of that of a larger one.
        popularity: int64 [n_items], training dislikes.
        tail_ratio: RecBole's option: the share of the items with training dislikes that is the tail, the least popular
            first; above 1: the largest number of dislikes of an item of the tail. null: 0.1.

    Returns:
        dict by name and K: ``ItemCoverage``, the share of the catalogue that is in any list; ``AveragePopularity``, the
        mean popularity of listed items; ``GiniIndex``, 0 where all items are listed equally often, up to 1;
        ``ShannonEntropy`` of the listed items' shares (nats) over the number of different ones, as RecBole has it;
        ``TailPercentage``, the share of listed items in the tail. NaN without any listed item.
    """
    tail = _tail(popularity, tail_ratio if tail_ratio and tail_ratio > 0 else TAIL_RATIO)
    figures = {k: _of(items[:, :k], popularity, tail) for k in topk}
    return {f"{name}@{k}": value for k, values in figures.items() for name, value in zip(BEYOND, values, strict=True)}


def _of(items: np.ndarray, popularity: np.ndarray, tail: np.ndarray) -> tuple[float, ...]:
    filled = items > 0
    times = np.bincount(items[filled], minlength=len(popularity))[1:]  # without the padding item
    total, n = int(times.sum()), len(times)
    if not total:
        return (float("nan"),) * len(BEYOND)
    shares = times[times > 0] / total
    gini = ((2 * np.arange(1, n + 1) - n - 1) * np.sort(times)).sum() / (n * total)
    return (
        float(len(shares) / n),
        _mean_of_lists(popularity[items], filled),
        float(gini),
        float(-(shares * np.log(shares)).sum() / len(shares)),
        _mean_of_lists(tail[items], filled),
    )


def _mean_of_lists(values: np.ndarray, filled: np.ndarray) -> float:
    """The mean of each list [N, K] over its filled places, then over the lists that have any."""
    counts = filled.sum(axis=1)
    return float(((values * filled).sum(axis=1)[counts > 0] / counts[counts > 0]).mean())


def _tail(popularity: np.ndarray, ratio: float) -> np.ndarray:
    """Of all items, bool [n_items]: the least popular of the items with training dislikes, ties by id."""
    known = np.flatnonzero(popularity > 0)
    if ratio <= 1:
        known = known[np.argsort(popularity[known], kind="stable")][: max(int(len(known) * ratio), 1)]
    else:
        known = known[popularity[known] <= ratio]
    return np.isin(np.arange(len(popularity)), known)
