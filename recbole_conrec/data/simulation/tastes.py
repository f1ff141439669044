"""The simulated users: what they like and dislike, how it drifts, how often they visit, how readily they complain."""

from dataclasses import dataclass

import numpy as np

from recbole_conrec.data.simulation.catalogue import ATTRIBUTES

DAY = 86_400
LIKES, DISLIKES = 7, 4  # attributes that a user likes, and dislikes, at any one time


@dataclass(frozen=True)
class Tastes:
    """Latent likes and dislikes of users 0..U-1 over the A attributes, at the start and at the end of the log.

    Each is float64 [U, A], zero for attributes to which the user is indifferent (most of them). Likes and dislikes are
    drawn separately and never share an attribute, so a dislike is not a like reversed: a liked category has items of a
    disliked material, and an item without liked attributes is neutral, not disliked.
    """

    like_start: np.ndarray
    like_end: np.ndarray
    dislike_start: np.ndarray
    dislike_end: np.ndarray


@dataclass(frozen=True)
class Visits:
    """Sessions of users, user by user in time order; user u's are ``ptr[u]:ptr[u + 1]``.

    Attributes:
        ptr: int64 [U + 1].
        time: int64 [S]; seconds after the log's start.
        size: int64 [S]; number of items that the user looks at.
    """

    ptr: np.ndarray
    time: np.ndarray
    size: np.ndarray


def weights(rng: np.random.Generator, shape) -> np.ndarray:
    """Strengths in [0.6, 1.6), in steps of 1/64 so that half precision holds them exactly."""
    return np.floor((0.6 + rng.random(shape)) * 64) / 64


def make_tastes(
    rng: np.random.Generator, n_users: int, appeal: np.ndarray, annoyance: np.ndarray, drift: float
) -> Tastes:
    """Draw users' tastes.

    Args:
        appeal, annoyance: [A]; how often an attribute is liked and disliked among all users (relative).
        drift: expected share of a user's liked and disliked attributes that differ at the end.
    """
    liked = _distinct(rng, np.tile(appeal, (n_users, 1)), 2 * LIKES)
    free = np.tile(annoyance, (n_users, 1))
    np.put_along_axis(free, liked, 0.0, axis=1)
    disliked = _distinct(rng, free, 2 * DISLIKES)
    like = _start_and_end(rng, liked, drift)
    dislike = _start_and_end(rng, disliked, drift)
    return Tastes(*like, *dislike)


def _distinct(rng: np.random.Generator, weight: np.ndarray, size: int) -> np.ndarray:
    """For each row, ``size`` distinct columns, drawn one after the other in proportion to ``weight``; [rows, size]."""
    with np.errstate(divide="ignore"):
        key = np.log(weight) - np.log(-np.log1p(-rng.random(weight.shape)))  # Gumbel-top-k
    return np.argsort(-key, axis=1, kind="stable")[:, :size]


def _start_and_end(rng: np.random.Generator, chosen: np.ndarray, drift: float) -> tuple[np.ndarray, np.ndarray]:
    """The first half of ``chosen`` at the start; at the end, a share ``drift`` of them replaced from the second."""
    n_users, half = len(chosen), chosen.shape[1] // 2
    strength = weights(rng, (n_users, half))
    moved = rng.random((n_users, half)) < drift
    start, end = np.zeros((n_users, len(ATTRIBUTES))), np.zeros((n_users, len(ATTRIBUTES)))
    np.put_along_axis(start, chosen[:, :half], strength, axis=1)
    np.put_along_axis(end, np.where(moved, chosen[:, half:], chosen[:, :half]), strength, axis=1)
    return start, end


def make_voice(rng: np.random.Generator, n_users: int) -> np.ndarray:
    """How readily each user voices a dislike: [U] in (0, 1], high for few."""
    return 0.1 + 0.9 * rng.random(n_users) ** 2


def make_visits(rng: np.random.Generator, n_users: int, seconds: int, sessions: float, shown: int) -> Visits:
    """Draw the visits of users: a long tail of activity, late joiners, early leavers, evenings busier than nights.

    Args:
        seconds: length of the log.
        sessions: mean number of sessions of a user.
        shown: the most items that one session shows.
    """
    activity = rng.random(n_users) ** -0.6  # Pareto: most come a few times, some daily
    activity = np.minimum(activity, 12.0)
    count = np.maximum(1, np.round(activity * sessions / activity.mean())).astype(np.int64)
    ptr = np.concatenate([[0], np.cumsum(count)])
    user = np.repeat(np.arange(n_users), count)
    joined = 0.6 * seconds * rng.random(n_users) ** 2
    left = joined + (seconds - joined) * (1 - 0.7 * rng.random(n_users) ** 2)
    day = (joined[user] + (left - joined)[user] * rng.random(len(user))) // DAY
    hour = (19.0 + 7.0 * (rng.random((len(user), 3)).sum(1) - 1.5)) % 24  # a bell around 19 h
    time = np.minimum(day * DAY + np.floor(hour * 3600), seconds - 3600).clip(min=0).astype(np.int64)
    time = time[np.lexsort((time, user))]
    size = 2 + np.floor((shown - 1) * rng.random(len(user)) ** 1.5).astype(np.int64)
    return Visits(ptr, time, np.minimum(size, shown))
