"""Uncertainty of means over instances: intervals and tests that hold for other users and other seeds.

Seeds and users are crossed: the same users appear under every seed, and the two methods of a pair share the users but
not the seeds. The variance of a mean over S seeds, or of the difference of two such means, is therefore

    users:  that of the mean over seeds when users are drawn again (jackknife over users; of a difference, in pairs),
    seeds:  sd^2 / S of each method's means by seed, less what the users' part holds already (the interaction of users
            and seeds; never below 0),

which is what a bootstrap of users and seeds (Owen 2007, "The pigeonhole bootstrap") estimates, without its two faults:
with few seeds it is too narrow, by (S - 1) / S and by normal quantiles. Here intervals and p-values are those of
Student's t with Satterthwaite's (1946) degrees of freedom: S - 1 for a method's seeds, and for users their effective
number less 1, as a few users with many instances leave fewer degrees of freedom than there are users (Carter, Schnepel
and Steigerwald 2017). From one seed nothing is known about the others: the interval is then one over users alone, and
there is no p. tests/leaderboard/test_estimates.py holds all this on simulated boards.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

LEVEL = 0.05


@dataclass(frozen=True)
class Estimate:
    """A mean, or a difference of two means, with its uncertainty; every array has the shape of the batch.

    Attributes:
        value: the mean over seeds and instances.
        variance: of the value; inf for a single user, and NaN where nothing counts.
        degrees: degrees of freedom of the variance.
        over_seeds: whether the variance is over users and seeds. False: over users alone.
    """

    value: np.ndarray
    variance: np.ndarray
    degrees: np.ndarray
    over_seeds: bool

    @property
    def p(self) -> np.ndarray:
        """Two-sided p of "the value is 0"; NaN where the seeds' variance is unknown."""
        if not self.over_seeds:
            return np.full(self.value.shape, np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.abs(self.value) / np.sqrt(self.variance)
        return np.where(self.value == 0, 1.0, 2 * stats.t.sf(t, self.degrees))

    def interval(self, share: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """The 95 % interval: (low, high).

        Args:
            share: the value is a mean of values in [0, 1]: an interval of its log odds, which stays inside.
        """
        half = stats.t.ppf(1 - LEVEL / 2, self.degrees) * np.sqrt(self.variance)
        if not share:
            return self.value - half, self.value + half
        with np.errstate(divide="ignore", invalid="ignore"):
            odds = np.where(half > 0, half / (self.value * (1 - self.value)), 0.0)
            centre = special.logit(self.value)
            low, high = special.expit(centre - odds), special.expit(centre + odds)
        edge = (self.value <= 0) | (self.value >= 1)  # where no instance differs from the others
        return np.where(edge, self.value, low), np.where(edge, self.value, high)


def sums_by_user(values: np.ndarray, user: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums by user over the instances that count in every row, and their numbers.

    Args:
        values: float [R, N], a row for each run, NaN where an instance does not count.
        user: int [N], whose instance it is; RecBole's numbers of users.

    Returns:
        (sums float64 [R, U], counts float64 [U]), U the distinct users of instances that count, in ascending order.
    """
    counting = ~np.isnan(values).any(axis=0)
    values, user = values[:, counting], user[counting]
    rows, size = len(values), int(user.max(initial=-1)) + 1
    counts = np.bincount(user, minlength=size)
    cell = np.arange(rows)[:, None] * size + user
    sums = np.bincount(cell.ravel(), weights=values.ravel(), minlength=rows * size).reshape(rows, size)
    return sums[:, counts > 0], counts[counts > 0].astype(np.float64)


def mean(sums: np.ndarray, counts: np.ndarray, random: bool = True) -> Estimate:
    """A method's mean over seeds and instances.

    Args:
        sums: float64 [..., S, U], its sums by seed and user, see :func:`sums_by_user`.
        counts: float64 [..., U], instances of each user.
        random: whether another seed gives other figures; one run of a method without randomness says all.
    """
    return _combined([(sums, random)], counts)


def difference(
    first: np.ndarray, second: np.ndarray, counts: np.ndarray, random: tuple[bool, bool] = (True, True)
) -> Estimate:
    """The mean of one method less that of another, on the same instances: users are paired, seeds are not.

    Args:
        first, second: float64 [..., S, U] each; the numbers of seeds may differ.
        counts: float64 [..., U], instances of each user.
        random: of each method, see :func:`mean`.
    """
    return _combined([(first, random[0]), (-second, random[1])], counts)


def _combined(parts: Sequence[tuple[np.ndarray, bool]], counts: np.ndarray) -> Estimate:
    """The sum of the parts' means: (sums [..., S, U], whether seeds matter) each."""
    total, users = counts.sum(axis=-1), (counts > 0).sum(axis=-1)
    of_user = sum(sums.mean(axis=-2) for sums, _ in parts)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = of_user.sum(axis=-1) / total
        rest = np.maximum(total[..., None] - counts, 0)
        without = np.where(rest > 0, (of_user - value[..., None] * counts) / np.where(rest > 0, rest, 1), np.inf)
        over_users = (users - 1) / users * (without**2).sum(axis=-1)
        over_users = np.where(users > 1, over_users, np.where(users == 1, np.inf, np.nan))
        seeds = [_over_seeds(sums, counts) for sums, random in parts if random and sums.shape[-2] > 1]
        variance = over_users + sum(np.maximum(own - shared, 0) for own, shared, _ in seeds)
        spread = over_users**2 / np.maximum(effective(counts) - 1, 1) + sum(own**2 / free for own, _, free in seeds)
        degrees = np.where(np.isfinite(variance) & (spread > 0), variance**2 / spread, 1.0)
    known = all(not random or sums.shape[-2] > 1 for sums, random in parts)
    return Estimate(value, variance, np.maximum(degrees, 1.0), known)


def _over_seeds(sums: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Of the mean over S seeds: its variance by those of the seeds' means, the part of it that is the interaction with
    users, and S - 1.
    """
    seeds, users = sums.shape[-2], (counts > 0).sum(axis=-1)
    total = counts.sum(axis=-1)[..., None]
    of_seed = sums.sum(axis=-1) / total
    centred = of_seed - of_seed.mean(axis=-1, keepdims=True)
    left = sums - sums.mean(axis=-2, keepdims=True) - centred[..., None] * counts[..., None, :]
    free = seeds - 1
    own = (centred**2).sum(axis=-1) / free / seeds
    shared = (left**2).sum(axis=(-1, -2)) / free / seeds / total[..., 0] ** 2 * users / np.maximum(users - 1, 1)
    return own, shared, free


def effective(counts: np.ndarray) -> np.ndarray:
    """The effective number of users, (sum n)^2 / sum n^2 of their numbers of instances [..., U]."""
    squares = (counts**2).sum(axis=-1)
    return np.divide(counts.sum(axis=-1) ** 2, squares, out=np.zeros_like(squares), where=squares > 0)
