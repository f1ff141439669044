r"""How many of a user's negative interests does a training target cover? The study behind the 7-day window and Swing.

The paper reports that the next disliked item covers a user's top-1 negative interest in 7 % of cases (top-4: 17 %), the
items of the next 7 days in 18 % (48 %), and with their Swing neighbours in 25 % (64 %). It does not define "covered".
Our definition, for each test instance (user u, t0):

* *Interests* are groups of items: a category, or a prefix of the semantic IDs (:mod:`.interests`).
* The *profile* of the instance counts, by interest, the distinct items that u dislikes at any time **outside** the
  window [t0, t0 + length], before or after it. Items inside the window are not counted, so that no set covers itself.
  Instances with fewer than ``min_dislikes`` such items are left out: their profile is too short. (An interest with only
  one or two dislikes nearly disappears with the window: such fine interests look less covered.)
* The *top-k interests* are the k with the highest counts; all of them where there are fewer than k.
* A *set* of items (next: the disliked item; window: F; window + Swing: F and the best ``neighbours`` Swing neighbours
  of each of its items, over training negatives) *covers* the top k if at least one of its items belongs to at least
  one of the k. (The covered share of the k would be another reading; for one item it would hardly grow with k.)
* Where interests tie for the last places, the figure is the probability that a covered one is among the k, all choices
  of tied interests being equally likely: with T tied interests, h of them in the set, and m places left,
  covered = 1 - C(T - h, m) / C(T, m).

Larger sets and frequent interests are covered more often by chance. The chance level is reported beside each figure:
each profile judged against the set of a random instance of another user.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import BeforeValidator
from scipy import sparse
from tqdm import tqdm

from recbole_conrec.data.dataset import NegativeFeedbackDataset
from recbole_conrec.data.events import NEGATIVE
from recbole_conrec.data.swing import Neighbours
from recbole_conrec.leaderboard.statistics import by_user, intervals
from recbole_conrec.options.schema import Natural, Options, Several, Text
from recbole_conrec.study.interests import Interests, Kind
from recbole_conrec.utils.arrays import contains
from recbole_conrec.utils.errors import UserError

TOPS = (1, 2, 3, 4)
SETS = ("next", "window", "window + Swing")


def _kinds(given):
    """The command line's 'category, sid-1' as a list."""
    return [name.strip() for name in given.split(",")] if isinstance(given, str) else given


class CoverageOptions(Options):
    """Options of ``recbole-conrec study coverage``; it takes those of a run as well."""

    interests: Annotated[Several[Kind] | None, BeforeValidator(_kinds)] = None
    """Kinds of interests, each studied by itself; null: category (if the data set has one), sid-1 and sid-2."""
    neighbours: Natural = 10
    """Number of Swing neighbours of each item of the window; more than the option `swing.top` has no effect."""
    min_dislikes: Natural = 5
    """Distinct disliked items outside the window that an instance needs; others are left out."""
    out: Text = "saved"
    """Folder for the picture and the figures."""
    model: Text = "CoNRec"
    """Method whose options, `tokenizer` among them, are used."""
    dataset: Text | None = None
    """Name of the data set; null: as for a run."""


@dataclass(frozen=True)
class Coverage:
    """Figures of one data set and one kind of interest; shares of instances, in the order of SETS and TOPS.

    Attributes:
        interests: name of the kind. n_interests: number of interests with at least one item.
        instances, users: numbers of those that were judged. left_out: test instances with too few other dislikes.
        covered: float64 [3, 4]; low, high: their 95 % bootstrap intervals, users drawn with replacement.
        chance: float64 [3, 4], the same with the set of another user's instance; NaN if there is one user only.
        items: float64 [3], mean number of items in a set.
    """

    interests: str
    n_interests: int
    instances: int
    users: int
    left_out: int
    covered: np.ndarray
    low: np.ndarray
    high: np.ndarray
    chance: np.ndarray
    items: np.ndarray


def study_coverage(
    dataset: NegativeFeedbackDataset,
    interests: Interests,
    options: CoverageOptions,
    *,
    seed: int = 2026,
    chunk: int = 2048,
    progress: bool = False,
) -> Coverage:
    """Judge the test instances of a data set by one kind of interests; see the module's text for what is measured.

    Args:
        seed: of the other users and of the intervals.
        chunk: instances at a time; memory is about chunk times interests times 100 bytes at worst.

    Raises UserError if no instance has ``options.min_dislikes`` dislikes outside its window.
    """
    log, test = dataset.log, dataset.splits["test"]
    ptr, items = dataset.future(test, (NEGATIVE,))
    window = _csr(ptr, items, log.n_items)
    rows = np.flatnonzero(dataset.first_dislike)
    disliked = sparse.csr_matrix(
        (np.ones(len(rows), dtype=np.int32), (log.user[rows], log.item[rows])), shape=(log.n_users, log.n_items)
    )
    outside = np.diff(disliked.indptr)[test.user] - np.diff(window.indptr)
    judged = np.flatnonzero(outside >= options.min_dislikes)
    if not len(judged):
        raise UserError(
            f"no test instance has {options.min_dislikes} dislikes outside its window (the most is "
            f"{outside.max()}); lower --min_dislikes, or shorten `window.length`"
        )
    window, user = window[judged], test.user[judged]
    near = nearest(dataset.swing(), options.neighbours) + sparse.identity(log.n_items, dtype=np.int32, format="csr")
    sets = [_csr(np.arange(len(judged) + 1), test.item[judged], log.n_items), window, window]
    reach = [interests.of_item, interests.of_item, (near @ interests.of_item).tocsr()]  # of each item in such a set
    everything = (disliked @ interests.of_item).tocsr()
    other = another_user(user, np.random.default_rng(seed))

    covered, chance = np.zeros((2, len(SETS), len(judged), len(TOPS)))
    starts = range(0, len(judged), chunk)
    for low in tqdm(starts, desc=f"coverage by {interests.name}", unit="chunk", leave=False, disable=not progress):
        part = slice(low, low + chunk)
        profile = everything[user[part]] - window[part] @ interests.of_item
        for n, (members, reached) in enumerate(zip(sets, reach, strict=True)):
            covered[n, part] = cover(profile, members[part] @ reached, TOPS)
            chance[n, part] = np.nan if other is None else cover(profile, members[other[part]] @ reached, TOPS)
    sums, counts = by_user(covered.transpose(1, 0, 2).reshape(len(judged), -1), user)
    low, high = intervals(sums, counts, np.random.default_rng(seed)).reshape(2, len(SETS), len(TOPS))
    sizes = [np.ones(1), np.diff(window.indptr), np.diff((window @ near).indptr)]
    return Coverage(
        interests=interests.name,
        n_interests=int((interests.of_item.sum(axis=0) > 0).sum()),
        instances=len(judged),
        users=len(np.unique(user)),
        left_out=len(test) - len(judged),
        covered=covered.mean(axis=1),
        low=low,
        high=high,
        chance=chance.mean(axis=1),
        items=np.array([size.mean() for size in sizes]),
    )


def cover(profile: sparse.csr_matrix, reached: sparse.csr_matrix, tops) -> np.ndarray:
    """Whether each set covers the top-k interests of its profile.

    Args:
        profile: int [N, C], the number of disliked items of each interest.
        reached: [N, C], positive where the set holds an item of that interest.
        tops: the k, each at least 1.

    Returns:
        float64 [N, len(tops)] in [0, 1]: 1 or 0, or a probability where interests tie for the last places.
    """
    n, width = profile.shape
    profile, reached = profile.tocsr(), reached.tocoo()
    profile.eliminate_zeros()
    row = np.repeat(np.arange(n), np.diff(profile.indptr))
    keys = np.sort(reached.row.astype(np.int64) * width + reached.col)
    hit = contains(keys, row * np.int64(width) + profile.indices)
    order = np.lexsort((-profile.data, row))
    value, hit = profile.data[order], hit[order]
    length, start = np.diff(profile.indptr), profile.indptr[:-1]
    out = np.zeros((n, len(tops)))
    for column, k in enumerate(tops):
        last = np.zeros(n, dtype=value.dtype)  # the count of the k-th interest; 0: there are fewer than k
        last[length >= k] = value[start[length >= k] + k - 1]
        above, tied = value > last[row], value == last[row]
        sure = np.bincount(row[above & hit], minlength=n) > 0
        places = k - np.bincount(row[above], minlength=n)
        among, hits = np.bincount(row[tied], minlength=n), np.bincount(row[tied & hit], minlength=n)
        miss = np.ones(n)
        for j in range(k):  # C(T - h, m) / C(T, m), factor by factor
            open_ = (j < places) & (among > j)
            miss *= np.where(open_, np.maximum(among - hits - j, 0) / np.maximum(among - j, 1), 1.0)
        out[:, column] = np.where(sure, 1.0, 1.0 - miss)
    return out


def nearest(neighbours: Neighbours, top: int) -> sparse.csr_matrix:
    """The first ``top`` of each item's neighbours as ones: int32 CSR [n_items, n_items]."""
    n = len(neighbours.ptr) - 1
    length = np.diff(neighbours.ptr)
    place = np.arange(len(neighbours.items)) - np.repeat(neighbours.ptr[:-1], length)
    keep = place < top
    ptr = np.concatenate([[0], np.cumsum(np.minimum(length, top))])
    return _csr(ptr, neighbours.items[keep], n)


def another_user(user: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """For each instance a random one of another user: int64 [N]; None if there is only one user.

    Args:
        user: int64 [N], the user of each instance.
    """
    order = np.argsort(user, kind="stable")
    first, end = (np.searchsorted(user[order], user, side) for side in ("left", "right"))
    if end[0] - first[0] == len(user):
        return None
    place = rng.integers(0, len(user) - (end - first))  # among the instances without the user's own
    return order[np.where(place < first, place, place + end - first)]


def _csr(ptr: np.ndarray, items: np.ndarray, n_items: int) -> sparse.csr_matrix:
    return sparse.csr_matrix((np.ones(len(items), dtype=np.int32), items, ptr), shape=(len(ptr) - 1, n_items))
