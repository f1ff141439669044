"""Measures of semantic IDs: pure functions of arrays."""

from collections.abc import Callable

import faiss
import numpy as np
import scipy.sparse
from scipy.optimize import linear_sum_assignment
from scipy.stats import spearmanr

from recbole_conrec.utils.arrays import unit_rows


def utilisation(codes: np.ndarray, size: int) -> float:
    """Share of a level's ``size`` codes that an item has."""
    return len(np.unique(codes)) / size


def perplexity(codes: np.ndarray) -> float:
    """The exponential of the entropy of a level's codes: as many equally used codes would have the same entropy."""
    share = np.bincount(codes) / len(codes)
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


def gini(counts: np.ndarray) -> float:
    """Gini coefficient of items per prefix: 0 if all prefixes hold equally many, near 1 if one holds nearly all."""
    counts = np.sort(counts)
    n = len(counts)
    return float((2 * np.arange(1, n + 1) - n - 1) @ counts / (n * counts.sum()))


def purity(prefix: np.ndarray, categories: np.ndarray) -> float:
    """Share of items that have the commonest category of their prefix.

    Args:
        prefix: int64 [n], 0..p-1.
        categories: int64 [n, m], an item's categories, 0 for none; items with none are left out.
    """
    rows, columns = np.nonzero(categories)
    counts = scipy.sparse.coo_matrix((np.ones(len(rows)), (prefix[rows], categories[rows, columns]))).tocsr()
    known = (categories > 0).any(axis=1)
    return float(counts.max(axis=1).sum() / max(known.sum(), 1))


def chance(measure: Callable[..., float], prefix: np.ndarray, *more, rng: np.random.Generator) -> float:
    """The value of ``measure`` when items are assigned to prefixes at random, the prefixes' sizes kept."""
    return measure(rng.permutation(prefix), *more)


def pairs_of_users(events: scipy.sparse.csr_matrix, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """About ``n`` pairs of different items that have a user in common, and random pairs of the same items.

    Both int64 [<= n, 2]. A user counts in proportion to their number of events.
    """
    if not events.nnz:
        return np.zeros((0, 2), dtype=np.int64), np.zeros((0, 2), dtype=np.int64)
    users = np.repeat(np.arange(events.shape[0]), np.diff(events.indptr))
    first = rng.integers(0, events.nnz, n)
    begin, end = events.indptr[users[first]], events.indptr[users[first] + 1]
    second = begin + (rng.random(n) * (end - begin)).astype(np.int64)
    pairs = np.column_stack([events.indices[first], events.indices[second]]).astype(np.int64)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    random = np.column_stack([pairs[:, 0], rng.permutation(pairs[:, 1])])
    return pairs, random[random[:, 0] != random[:, 1]]


def cosine(vectors: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Cosine of each pair of rows; 0 where one is the zero vector."""
    unit = unit_rows(vectors).astype(np.float32)
    return (unit[pairs[:, 0]] * unit[pairs[:, 1]]).sum(axis=1)


def neighbour_agreement(one: np.ndarray, other: np.ndarray, queries: np.ndarray, k: int = 10) -> float:
    """Share of the k nearest neighbours (by cosine) that two sets of vectors [n, any] of the same items have in common.

    ``queries`` (int64 [q]) are the items whose neighbours are compared.
    """
    found = []
    for unit in (unit_rows(one).astype(np.float32), unit_rows(other).astype(np.float32)):
        near = faiss.knn(unit[queries], unit, k + 1, metric=faiss.METRIC_INNER_PRODUCT)[1]
        itself = near == queries[:, None]
        itself[~itself.any(axis=1), -1] = True  # it comes after k + 1 equal vectors
        found.append(near[~itself].reshape(len(queries), k))
    return float((found[0][:, :, None] == found[1][:, None, :]).any(axis=2).mean())


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Rank correlation of two lists of numbers [n]; nan if all numbers of one are equal."""
    return float(spearmanr(one, other).statistic)


def kept(codes: np.ndarray, others: np.ndarray) -> list[float]:
    """Share of items that keep their code, per level."""
    return [float(share) for share in (codes == others).mean(axis=0)]


def kept_up_to_names(codes: np.ndarray, others: np.ndarray) -> list[float]:
    """As :func:`kept`, for two separate fits, which number their codes differently; numbers are matched optimally."""
    shares = []
    for one, other in zip(codes.T, others.T, strict=True):
        table = np.zeros((one.max() + 1, other.max() + 1))
        np.add.at(table, (one, other), 1)
        shares.append(float(table[linear_sum_assignment(-table)].sum() / len(codes)))
    return shares
