"""Measures of semantic IDs: pure functions of arrays."""

import faiss
import numpy as np
import scipy.sparse
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata


def utilisation(codes: np.ndarray, size: int) -> float:
    """Share of a level's ``size`` codes that an item has."""
    return len(np.unique(codes)) / size


def perplexity(codes: np.ndarray) -> float:
    """exp of the entropy of a level's codes: the number of codes, were all used equally."""
    share = np.bincount(codes) / len(codes)
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


def gini(counts: np.ndarray) -> float:
    """Of items per prefix: 0 if all prefixes hold equally many, near 1 if one holds nearly all."""
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


def chance(measure, prefix: np.ndarray, *more, rng: np.random.Generator) -> float:
    """The measure with prefixes dealt out at random, their sizes kept."""
    return measure(rng.permutation(prefix), *more)


def pairs_of_users(events: scipy.sparse.csr_matrix, n: int, rng: np.random.Generator):
    """About ``n`` pairs of different items that one user has in common, int64 [<= n, 2]; and as many pairs of the same
    items dealt out at random. A user counts by his number of events."""
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
    unit = normalised(vectors)
    return (unit[pairs[:, 0]] * unit[pairs[:, 1]]).sum(axis=1)


def normalised(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def neighbour_agreement(one: np.ndarray, other: np.ndarray, queries: np.ndarray, k: int = 10) -> float:
    """Share of the k nearest neighbours (by cosine) that two sets of vectors of the same items have in common."""
    found = []
    for unit in (normalised(one), normalised(other)):
        near = faiss.knn(unit[queries], unit, k + 1, metric=faiss.METRIC_INNER_PRODUCT)[1]
        itself = near == queries[:, None]
        itself[~itself.any(axis=1), -1] = True  # behind k + 1 equal ones
        found.append(near[~itself].reshape(len(queries), k))
    return float((found[0][:, :, None] == found[1][:, None, :]).any(axis=2).mean())


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Rank correlation."""
    return float(np.corrcoef(rankdata(one), rankdata(other))[0, 1])


def kept(codes: np.ndarray, others: np.ndarray) -> list[float]:
    """Share of items that keep their code, per level."""
    return [float(share) for share in (codes == others).mean(axis=0)]


def kept_up_to_names(codes: np.ndarray, others: np.ndarray) -> list[float]:
    """The same for two separate fits, whose codes have other names: names are matched for most agreement."""
    shares = []
    for one, other in zip(codes.T, others.T, strict=True):
        table = np.zeros((one.max() + 1, other.max() + 1))
        np.add.at(table, (one, other), 1)
        shares.append(float(table[linear_sum_assignment(-table)].sum() / len(codes)))
    return shares
