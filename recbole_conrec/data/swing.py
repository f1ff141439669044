"""Item-item Swing over negative feedback.

    s(i, j) = sum over u != v in U(i) n U(j) of  w_u * w_v / (|I(u) n I(v)| + alpha2)  * 1 / sqrt(|U(j)|)
    w_u = 1 / (|I(u)| + alpha1) ** theta,  and s = 0 unless |U(i) n U(j)| >= min_common

I(u): the items that u disliked, U(i): the users who disliked i. Both orders of a pair of users count, as written.
The fewer dislikes two users share, the more each counts; with one common user there is no pair, so no score.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import sparse
from tqdm import tqdm

from recbole_conrec.data.events import EventLog
from recbole_conrec.options.schema import Count, Natural, NonNegative, Number, Options, Positive
from recbole_conrec.utils.arrays import ragged, rank_in_group


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Neighbours of each item as CSR, best first; ties by item id.

    Attributes:
        ptr: int64 [n_items + 1]. items: int64 [ptr[-1]]. scores: float32 [ptr[-1]], positive.
    """

    ptr: np.ndarray
    items: np.ndarray
    scores: np.ndarray

    def matrix(self) -> sparse.csr_matrix:
        """Scores as a sparse matrix [n_items, n_items]; row i holds the neighbours of i."""
        n = len(self.ptr) - 1
        return sparse.csr_matrix((self.scores, self.items, self.ptr), shape=(n, n))


class SwingOptions(Options):
    """The `swing` option."""

    alpha1: NonNegative = 15.0
    """Added to |I(u)|: softens the penalty of active users."""
    alpha2: NonNegative = 0.0
    """Added to |I(u) n I(v)|."""
    theta: Number = 0.3
    """Power of the penalty of active users."""
    min_common: Natural = 1
    """|U(i) n U(j)| that a pair of items needs; the paper's "> 5" is 6, which suits 10^8 items."""
    top: Natural = 100
    """Neighbours kept per item."""
    max_user_items: Count = 1000
    """Of longer lists of dislikes only the latest items are used: the work grows with their squares."""
    max_item_users: Count = 1000
    """Of items with more dislikes only the latest users are used."""
    refresh: Positive = 30
    """Days between two computations of Swing in the evaluation; only under `as_of: t0`."""


def swing(
    users: np.ndarray,
    items: np.ndarray,
    n_users: int,
    n_items: int,
    options: SwingOptions | None = None,
    *,
    budget: int = 2**22,
) -> Neighbours:
    """Swing neighbours of each item.

    Flink ML's Swing has both caps, with the same defaults, but it leaves longer lists out as a whole and samples the
    users.

    Args:
        users, items: int64 [M], the negative events, oldest first; a repeated pair counts once.
        budget: entries held at a time; memory is about 150 bytes times this, or max_item_users ** 2 times 24 bytes.

    Scores are rounded to 32 bits, so that equal sums added up in different orders tie.
    """
    options = options or SwingOptions()
    caps = options.max_user_items, options.max_item_users
    disliked_by = _capped(users, items, n_users, n_items, *caps)  # items x users
    return swing_of_lists(disliked_by, disliked_by.T.tocsr(), options, budget=budget)


class Lists(Protocol):
    """Rows of sorted numbers as in a csr_matrix; may be arrays that are mapped into memory."""

    @property
    def indptr(self) -> np.ndarray:
        """Where each row begins: int [rows + 1]."""

    @property
    def indices(self) -> np.ndarray:
        """The rows, one after the other: int [indptr[-1]]."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, and numbers that there are."""


def swing_of_lists(disliked_by: Lists, lists: Lists, options: SwingOptions, *, budget: int = 2**22) -> Neighbours:
    """Swing neighbours of each item.

    Args:
        disliked_by, lists: the users of each item, and the items of each user, after the caps.
        budget: as for :func:`swing`.
    """
    n_items, size = disliked_by.shape[0], np.diff(lists.indptr)
    number = np.diff(disliked_by.indptr)
    weight = 1.0 / (size + options.alpha1) ** options.theta
    penalty = 1.0 / np.sqrt(np.maximum(number, 1))
    cost = np.zeros(n_items, dtype=np.int64)
    for low, high in _cut(number, budget):
        entries = disliked_by.indices[disliked_by.indptr[low] : disliked_by.indptr[high]]
        total = np.concatenate([[0], np.cumsum(size[entries], dtype=np.int64)])
        cost[low:high] = np.diff(total[disliked_by.indptr[low : high + 1] - disliked_by.indptr[low]])
    todo = list(_cut(cost, budget))[::-1]
    found = []
    with tqdm(total=n_items, desc="swing", unit="item", leave=False, disable=len(todo) < 10) as bar:
        while todo:
            low, high = todo.pop()
            block = _Block(disliked_by, lists, low, high)
            if block.pairs > budget and high - low > 1:
                todo += [((low + high) // 2, high), (low, (low + high) // 2)]
                continue
            sums = block.sums if block.pairs <= budget else block.sums_of_one_item
            keep = block.users >= options.min_common
            scores = sums(weight, options.alpha2, budget)[keep] * penalty[block.item[keep]]
            found.append(_best(block.row[keep], block.item[keep], scores, high - low, options.top))
            bar.update(high - low)
    counts, best, scores = map(np.concatenate, zip(*found, strict=True))
    return Neighbours(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), best, scores)


def swing_of(log: EventLog, negatives: np.ndarray, options: SwingOptions) -> Neighbours:
    """Swing neighbours over some negative events of a log; negatives: bool [E]."""
    rows = np.flatnonzero(negatives)
    rows = rows[np.argsort(log.time[rows], kind="stable")]  # the caps keep the latest
    return swing(log.user[rows], log.item[rows], log.n_users, log.n_items, options)


class _Block:
    """Items low..high, and for each of them (i) every other item (j) that two or more of its users dislike, too.

    Attributes, G pairs of items (i, j), in order:
        row, item: int64 [G], i - low and j. users: int64 [G], |U(i) n U(j)|, at least 2.
        pairs: the number of pairs of users, over all of them.
    """

    def __init__(self, disliked_by: Lists, lists: Lists, low: int, high: int):
        # Most pairs of users share i alone and would add to s(i, i) only: they are never formed.
        bounds = disliked_by.indptr[low : high + 1]
        self.user = disliked_by.indices[bounds[0] : bounds[-1]]  # of each place: an entry (i, u) of the block
        row = np.repeat(np.arange(high - low), np.diff(bounds))
        ptr, at = ragged(lists.indptr[self.user].astype(np.int64), lists.indptr[self.user + 1].astype(np.int64))
        place, other = np.repeat(np.arange(len(row)), np.diff(ptr)), lists.indices[at]
        keep = other != row[place] + low
        place, other = place[keep], other[keep]
        key = row[place] * np.int64(lists.shape[1]) + other
        order = np.argsort(key, kind="stable")
        key, place = key[order], place[order]
        start = np.flatnonzero(np.diff(key, prepend=-1))
        length = np.diff(np.append(start, len(key)))
        shared = length > 1
        self.users = length[shared]
        self.row, self.item = np.divmod(key[start[shared]], lists.shape[1])
        self.place = place[np.repeat(shared, length)]  # of the users of the pairs of items, one after the other
        self.pairs = int((self.users * (self.users - 1) // 2).sum())

    def sums(self, weight: np.ndarray, alpha2: float, _) -> np.ndarray:
        """The sum of the formula for each pair of items, before the penalty: float64 [G]."""
        end = np.repeat(np.cumsum(self.users), self.users)
        ptr, second = ragged(np.arange(len(end)) + 1, end)
        count = np.diff(ptr)
        first = np.repeat(self.place, count)
        second = self.place[second]
        key = first * np.int64(len(self.user)) + second  # a place identifies i and u; a key, i and two users
        _, pair, others = np.unique(key, return_inverse=True, return_counts=True)
        share = 2.0 * weight[self.user[first]] * weight[self.user[second]] / (others[pair] + 1 + alpha2)
        group = np.repeat(np.repeat(np.arange(len(self.users)), self.users), count)
        return np.bincount(group, share, minlength=len(self.users))

    def sums_of_one_item(self, weight: np.ndarray, alpha2: float, budget: int) -> np.ndarray:
        """The same for a block of one item with many pairs, computed with matrices over its users."""
        ptr = np.concatenate([[0], np.cumsum(self.users)])
        dislikes = sparse.csr_matrix((np.ones(len(self.place)), self.place, ptr), shape=(len(ptr) - 1, len(self.user)))
        others = (dislikes.T @ dislikes).toarray()
        own = weight[self.user]
        share = own[:, None] * own / (others + 1 + alpha2)
        np.fill_diagonal(share, 0)
        step = max(1, budget // len(self.user))
        parts = (dislikes[low : low + step] for low in range(0, dislikes.shape[0], step))
        return np.concatenate([np.asarray(part.multiply(part @ share).sum(axis=1)).ravel() for part in parts])


def _capped(users, items, n_users, n_items, max_user_items, max_item_users) -> sparse.csr_matrix:
    """Distinct pairs as an items x users matrix of ones, after the caps: the users' first, then the items'."""
    _, latest = np.unique((users * n_items + items)[::-1], return_index=True)
    at = len(users) - 1 - np.sort(latest)  # the latest event of each pair, latest pair first
    at = at[rank_in_group(users[at]) < max_user_items]
    at = at[rank_in_group(items[at]) < max_item_users]
    return sparse.csr_matrix((np.ones(len(at)), (items[at], users[at])), shape=(n_items, n_users))


def _cut(cost: np.ndarray, budget: int):
    """Ranges (low, high) over all of `cost` [N], each as long as its sum stays within the budget, at least one long."""
    total = np.concatenate([[0], np.cumsum(cost)])
    low = 0
    while low < len(cost):
        high = max(low + 1, int(np.searchsorted(total, total[low] + budget, side="right")) - 1)
        yield low, high
        low = high


def _best(row: np.ndarray, item: np.ndarray, scores: np.ndarray, rows: int, top: int):
    """The `top` positive scores [G] of each row 0..rows-1.

    Returns (number per row, items, scores float32), best first, ties by item id.
    """
    scores = scores.astype(np.float32)
    keep = scores > 0
    row, item, scores = row[keep], item[keep], scores[keep]
    order = np.lexsort((item, -scores, row))
    order = order[rank_in_group(row[order]) < top]
    return np.bincount(row[order], minlength=rows), item[order].astype(np.int64), scores[order]
