"""Bootstrap intervals over users, for figures without seeds, and Holm's correction; estimates.py has methods' figures.

The instances of one user are not independent of each other, so users are drawn, never single instances. Arrays of
outcomes are float64 [N] with NaN where an instance does not count.
"""

import numpy as np

_CELLS = 1 << 22  # numbers held at a time


def by_user(values: np.ndarray, user: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums and counts of the instances that count, by user.

    Args:
        values: float [N, M], NaN where an instance does not count.
        user: int [N], whose instance it is.

    Returns:
        (sums, counts), float64 [U, M] each, over the U distinct users in ascending order.
    """
    _, place = np.unique(user, return_inverse=True)
    counts = ~np.isnan(values)
    out = np.zeros((2, place.max(initial=-1) + 1, values.shape[1]))
    np.add.at(out[0], place, np.where(counts, values, 0.0))
    np.add.at(out[1], place, counts)
    return out[0], out[1]


def intervals(sums: np.ndarray, counts: np.ndarray, rng: np.random.Generator, draws: int = 2000) -> np.ndarray:
    """95 % percentile bootstrap intervals of means, users drawn with replacement.

    Args:
        sums: float64 [U, M], see :func:`by_user`.
        counts: float64 [U, M], likewise.
        rng: draws the users.
        draws: bootstrap samples.

    Returns:
        float64 [2, M]: low and high; NaN where nothing counts. A draw in which no instance counts is left out.
    """
    users = len(sums)
    means = np.full((draws, sums.shape[1]), np.nan)
    for part in _blocks(draws, users):
        size = part.stop - part.start
        times = (
            np.bincount(
                (rng.integers(0, users, (size, users)) + users * np.arange(size)[:, None]).ravel(),
                minlength=size * users,
            )
            .reshape(size, users)
            .astype(np.float64)
        )
        n = times @ counts
        means[part] = np.divide(times @ sums, n, out=np.full(n.shape, np.nan), where=n > 0)
    some = counts.sum(axis=0) > 0
    out = np.full((2, sums.shape[1]), np.nan)
    out[:, some] = np.nanpercentile(means[:, some], (2.5, 97.5), axis=0)
    return out


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p of one family of tests [T]; NaN entries are no tests."""
    p = np.asarray(p, dtype=np.float64)
    out = np.full(p.shape, np.nan)
    tests = np.flatnonzero(~np.isnan(p))
    order = tests[np.argsort(p[tests], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    out[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return out


def _blocks(draws: int, width: int) -> list[slice]:
    step = max(1, _CELLS // max(1, width))
    return [slice(low, min(low + step, draws)) for low in range(0, draws, step)]
