"""Item-item Swing over negative feedback.

    s(i, j) = sum over u != v in U(i) n U(j) of  w_u * w_v / (|I(u) n I(v)| + alpha2)  * 1 / sqrt(|U(j)|)
    w_u = 1 / (|I(u)| + alpha1) ** theta,  and s = 0 unless |U(i) n U(j)| >= min_common

I(u): the items that u disliked, U(i): the users who disliked i. Both orders of a pair of users count, as written.
Two users who share few dislikes say more by each of them; with one common user there is no pair, so no score.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from recbole_conrec.data.arrays import ragged, rank_in_group


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
        """scores as a sparse matrix [n_items, n_items]; row i holds the neighbours of i."""
        n = len(self.ptr) - 1
        return sparse.csr_matrix((self.scores, self.items, self.ptr), shape=(n, n))


def swing(
    users: np.ndarray,
    items: np.ndarray,
    n_users: int,
    n_items: int,
    *,
    alpha1: float = 15.0,
    alpha2: float = 0.0,
    theta: float = 0.3,
    min_common: int = 1,
    top: int = 100,
    max_user_items: int = 1000,
    max_item_users: int = 1000,
    budget: int = 2**22,
) -> Neighbours:
    """Swing neighbours of each item.

    Args:
        users, items: int64 [M], the negative events, oldest first; a repeated pair counts once.
        min_common: |U(i) n U(j)| that a pair of items needs (the paper's "> 5" is 6).
        top: neighbours kept per item.
        max_user_items: of longer lists only the latest items are used (the work grows with their squares).
        max_item_users: of items with more users only the latest users are used.
        budget: entries held at a time; memory is about 100 bytes times this.

    Scores are rounded to 32 bits, so that equal sums added up in different orders tie.
    """
    disliked_by = _capped(users, items, n_users, n_items, max_user_items, max_item_users)  # items x users
    lists = disliked_by.T.tocsr()
    size = np.diff(lists.indptr)
    weight = 1.0 / (size + alpha1) ** theta
    penalty = 1.0 / np.sqrt(np.maximum(np.diff(disliked_by.indptr), 1))
    blocks = []
    for low, high in _blocks(disliked_by, size, budget):
        block = disliked_by[low:high]
        scores = sparse.csr_matrix((high - low, n_items))
        for pairs, where in _pair_chunks(block, size, budget):
            common = lists[pairs[0]].multiply(lists[pairs[1]]).tocsr()  # the items that both users dislike
            share = 2.0 * weight[pairs[0]] * weight[pairs[1]] / (common.sum(axis=1).A1 + alpha2)
            scores = scores + (where @ sparse.diags(share)) @ common
        if min_common > 1:
            scores = scores.multiply((block @ lists) >= min_common).tocsr()
        blocks.append(_best(scores, low, penalty, top))
    counts, best, scores = map(np.concatenate, zip(*blocks, strict=True))
    return Neighbours(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), best, scores)


def _capped(users, items, n_users, n_items, max_user_items, max_item_users) -> sparse.csr_matrix:
    """Distinct pairs as an items x users matrix of ones, after the caps: the users' first, then the items'."""
    _, latest = np.unique((users * n_items + items)[::-1], return_index=True)
    at = len(users) - 1 - np.sort(latest)  # the latest event of each pair, latest pair first
    at = at[rank_in_group(users[at]) < max_user_items]
    at = at[rank_in_group(items[at]) < max_item_users]
    return sparse.csr_matrix((np.ones(len(at)), (items[at], users[at])), shape=(n_items, n_users))


def _blocks(disliked_by: sparse.csr_matrix, size: np.ndarray, budget: int):
    """Cut the items into ranges (low, high), each with at most `budget` pairs of users and entries of the result
    (or a single item)."""
    degree = np.diff(disliked_by.indptr)
    entries = np.add.reduceat(np.append(size[disliked_by.indices], 0), disliked_by.indptr[:-1]) * (degree > 0)
    return _cut(degree * (degree - 1) // 2 + entries, budget)


def _pair_chunks(block: sparse.csr_matrix, size: np.ndarray, budget: int):
    """The pairs of users who share an item of the block, a bounded number of list entries at a time.

    Yields (pairs int64 [2, P], where: matrix [items of the block, P], 1 where both users dislike the item).
    """
    row = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
    ptr, second = ragged(np.arange(block.nnz) + 1, block.indptr[row + 1])  # each entry with the later ones of its row
    first = np.repeat(np.arange(block.nnz), np.diff(ptr))
    n_users = block.shape[1]
    keys = block.indices[first] * np.int64(n_users) + block.indices[second]
    order = np.argsort(keys, kind="stable")
    keys, row = keys[order], row[first[order]]
    new = np.diff(keys, prepend=-1) > 0
    pair, keys = np.cumsum(new) - 1, keys[new]
    pairs = np.stack([keys // n_users, keys % n_users])
    for low, high in _cut(size[pairs].sum(axis=0), budget):
        a, b = np.searchsorted(pair, (low, high))
        where = (np.ones(b - a), (row[a:b], pair[a:b] - low))
        yield pairs[:, low:high], sparse.csr_matrix(where, shape=(block.shape[0], high - low))


def _cut(cost: np.ndarray, budget: int):
    """Ranges (low, high) over all of `cost` [N], each as long as its sum stays within the budget, at least one long."""
    total = np.concatenate([[0], np.cumsum(cost)])
    low = 0
    while low < len(cost):
        high = max(low + 1, int(np.searchsorted(total, total[low] + budget, side="right")) - 1)
        yield low, high
        low = high


def _best(scores: sparse.csr_matrix, low: int, penalty: np.ndarray, top: int):
    """The `top` positive scores of each row after the penalty, without the item itself (row r is item low + r).

    Returns (number per row, items, scores float32), best first, ties by item id.
    """
    scores = scores.tocoo()
    row, item, value = scores.row, scores.col, (scores.data * penalty[scores.col]).astype(np.float32)
    keep = (row + low != item) & (value > 0)
    row, item, value = row[keep], item[keep], value[keep]
    order = np.lexsort((item, -value, row))
    order = order[rank_in_group(row[order]) < top]
    return np.bincount(row[order], minlength=scores.shape[0]), item[order].astype(np.int64), value[order]
