"""The order of methods by a metric beside the true one: Kendall's tau, and intervals over users."""

from __future__ import annotations

import numpy as np

from recbole_conrec.leaderboard.statistics import by_user

ALL, TRAINED = "all methods", "trained methods"


def resampled(values: np.ndarray, user: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Means over instances, and over draws of the users with replacement.

    Args:
        values: float64 [N, M], NaN where an instance does not count. user: int64 [N], whose instance it is.

    Returns:
        float64 [1 + draws, M], the first row of all users; NaN where nothing counts.
    """
    sums, counts = by_user(values, user)
    users = len(sums)
    drawn = np.random.default_rng(seed).multinomial(users, np.full(users, 1 / users), draws).astype(np.float64)
    times = np.concatenate([np.ones((1, users)), drawn])
    n = times @ counts
    return np.divide(times @ sums, n, out=np.full(n.shape, np.nan), where=n > 0)


def kendall(values: np.ndarray, quality: np.ndarray) -> np.ndarray:
    """Kendall's tau-a of values [D, R, M] with quality [R] or [R, M]: float64 [D, M]. A tie counts as neither right
    nor wrong.

    (scipy.stats.kendalltau has only tau-b and tau-c, which leave ties out of the denominator.)
    """
    quality = quality if quality.ndim == 2 else quality[:, None]
    first, second = np.triu_indices(len(quality), 1)
    right = np.sign(quality[first] - quality[second])
    return (np.sign(values[:, first] - values[:, second]) * right).mean(axis=1)


def with_interval(values: np.ndarray) -> np.ndarray:
    """A figure and its 95 % interval, float64 [3, ...], from that of all users and of the draws, [1 + draws, ...]."""
    return np.stack([values[0], *np.nanpercentile(values[1:], (2.5, 97.5), axis=0)])
