"""Sessions: a recommender decides what is shown, users answer.

The recommender knows positive feedback only. In each session it draws candidates by popularity, ranks them by what it
has learned of the user's likes, and shows the best. An item that got any feedback is never shown to the user again.
"""

from dataclasses import dataclass

import numpy as np

from recbole_conrec.data.simulation.catalogue import Catalogue, draw
from recbole_conrec.data.simulation.oracle import affinity, at_time, probability
from recbole_conrec.data.simulation.tastes import Tastes, Visits

POOL = 120  # candidates per session
MEMORY = 0.9  # of the recommender, per session
TASTE_WEIGHT = 5.0  # ranking: learned taste against popularity and chance
FAME_WEIGHT = 0.25


@dataclass(frozen=True)
class Response:
    """How users answer what they are shown.

    Attributes:
        negative_ratio: at most this many negatives per positive, in expectation.
        noise: share of negatives whose reason has nothing to do with interest (late delivery, a slip of the finger).
    """

    negative_ratio: float
    noise: float


@dataclass(frozen=True)
class Shown:
    """Events in session order; each field [E].

    Attributes:
        user, item: int32, from 0.
        time: int64; seconds after the log's start.
        feedback: int8; -1, 0, 1.
        dislike: float32; true probability, when the session begins, that the user dislikes the item, voiced or not.
        noise: bool; a negative that interest does not explain.
    """

    user: np.ndarray
    item: np.ndarray
    time: np.ndarray
    feedback: np.ndarray
    dislike: np.ndarray
    noise: np.ndarray

    @classmethod
    def concatenate(cls, parts: list["Shown"]) -> "Shown":
        return cls(*(np.concatenate([getattr(part, field) for part in parts]) for field in cls.__annotations__))


def run_sessions(
    rng: np.random.Generator,
    catalogue: Catalogue,
    tastes: Tastes,
    voice: np.ndarray,
    visits: Visits,
    seconds: int,
    response: Response,
) -> Shown:
    """All sessions of a block of users, the r-th session of all of them at once. Memory: users x items bytes."""
    n_users, n_items = len(voice), len(catalogue.titles)
    answered = np.zeros((n_users, n_items), dtype=bool)
    learned = np.zeros((n_users, tastes.like_start.shape[1]))
    free_at = np.zeros(n_users, dtype=np.int64)  # sessions of one user do not overlap
    count = np.diff(visits.ptr)
    parts = []
    for number in range(int(count.max())):
        user = np.flatnonzero(count > number)
        visit = visits.ptr[user] + number
        begin = np.maximum(visits.time[visit], free_at[user])
        item, shown = _recommend(rng, catalogue, answered[user], learned[user], begin, visits.size[visit])
        time = begin[:, None] + np.cumsum(4 + (-30.0 * np.log1p(-rng.random(item.shape))).astype(np.int64), axis=1)
        free_at[user] = time[:, -1] + 600
        share = begin / seconds
        like = affinity(at_time(tastes.like_start[user], tastes.like_end[user], share), catalogue.attributes[item])
        dislike = affinity(
            at_time(tastes.dislike_start[user], tastes.dislike_end[user], share), catalogue.attributes[item]
        )
        dislike = probability(dislike)
        feedback, noise = _answer(rng, probability(like) * (1 - dislike), dislike, voice[user], shown, response)

        answered[np.broadcast_to(user[:, None], item.shape)[feedback != 0], item[feedback != 0]] = True
        learned[user] *= MEMORY
        row, place = np.nonzero(feedback > 0)
        np.add.at(learned, (user[row][:, None], catalogue.attributes[item[row, place]]), 1.0)
        row, place = np.nonzero(shown)
        parts.append(
            Shown(
                user[row].astype(np.int32),
                item[row, place].astype(np.int32),
                time[row, place],
                feedback[row, place],
                dislike[row, place].astype(np.float32),
                noise[row, place],
            )
        )
    return Shown.concatenate(parts)


def _recommend(rng, catalogue, answered, learned, now, size):
    """The best ``size`` [B] of a pool of candidates for each user: (items [B, max size], which of them are shown)."""
    pool = np.sort(draw(rng, catalogue.popularity, (len(size), POOL)), axis=1)
    blocked = np.take_along_axis(answered, pool, axis=1) | (catalogue.born[pool] > now[:, None])
    blocked[:, 1:] |= pool[:, 1:] == pool[:, :-1]
    taste = affinity(learned / (2.0 + learned.sum(1, keepdims=True) / 5), catalogue.attributes[pool])
    fame = np.log(catalogue.popularity)
    chance = -np.log(-np.log1p(-rng.random(pool.shape)))
    score = TASTE_WEIGHT * taste + FAME_WEIGHT * (fame - fame.min())[pool] + 0.5 * chance
    score[blocked] = -np.inf
    best = np.argsort(-score, axis=1, kind="stable")[:, : size.max()]
    shown = (np.arange(best.shape[1]) < size[:, None]) & np.isfinite(np.take_along_axis(score, best, axis=1))
    return np.take_along_axis(pool, best, axis=1), shown


def _answer(rng, positive, dislike, voice, shown, response):
    """Feedback int8 and noise flags, both [B, L].

    A true dislike is voiced with the user's probability ``voice``, reduced by one factor for all users if the negatives
    would exceed ``negative_ratio``; noise is spread evenly over what is shown.
    """
    budget = response.negative_ratio * (positive * shown).sum()
    voiced = dislike * voice[:, None]
    voiced = voiced * min(1.0, (1 - response.noise) * budget / max((voiced * shown).sum(), 1e-9))
    random = min(1.0, response.noise * budget / max(shown.sum(), 1))
    chance = rng.random((3, *shown.shape))
    noise = shown & (chance[0] < random)
    negative = noise | (shown & (chance[1] < voiced))
    liked = shown & ~negative & (chance[2] < positive)
    return liked.astype(np.int8) - negative.astype(np.int8), noise
