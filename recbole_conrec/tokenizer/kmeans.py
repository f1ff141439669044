"""k-means that gives the same centroids on every machine and for every number of threads.

faiss's k-means compares distances in float32 whose last bits depend on the processor and the number of threads: a
vector halfway between two centroids then goes to the one or the other, and everything after differs. Here distances are
exact (:mod:`.exact`), equal ones go to the lower number, and sums are made in a fixed order.
"""

import numpy as np
import scipy.sparse

from recbole_conrec.tokenizer import exact

BLOCK = 2**18  # distances in memory at a time
STARTING, FEW = 16, 4096  # vectors per code, and at least, among which the start is drawn
TRIALS = 4  # vectors that are tried as the next centroid of the start
FEW_SHARE = 16  # a code has few vectors if it has less than this part of an equal share
SETTLED = 4e-3  # share of vectors that still change their code when the steps end


def kmeans(
    vectors: np.ndarray, size: int, *, seed: int, iterations: int = 25, samples_per_code: int = 256
) -> np.ndarray:
    """Centroids float32 [size, dim] of at least ``size`` vectors [n, dim], by k-means++ and Lloyd steps.

    Args:
        seed: fixes the samples and the start.
        iterations: most Lloyd steps; they end earlier when hardly a vector changes its code.
        samples_per_code: at most this many vectors per code are used, drawn at random.
    """
    rng = np.random.default_rng(seed)
    vectors = exact.rounded_rows(sample(vectors, size * samples_per_code, rng))
    centroids = _start(sample(vectors, max(size * STARTING, FEW), rng), size, rng)
    codes = None
    for _ in range(iterations):
        now, distances = assign(vectors, centroids)
        if codes is not None and np.count_nonzero(now != codes) <= SETTLED * len(now):
            break
        codes = now
        centroids = _moved(vectors, codes, distances, size, rng)
    return centroids.astype(np.float32)


def assign(vectors: np.ndarray, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The code of the nearest centroid of each vector, int64 [n], the lowest of equally near ones.

    Args:
        vectors: float64 [n, dim], rounded by :func:`.exact.rounded_rows`.

    Returns (codes, half the squared distances less half the squared lengths of the vectors, float64 [n]).
    """
    columns = exact.rounded_columns(centroids.T)
    half = (columns * columns).sum(axis=0) / 2
    codes, least = np.empty(len(vectors), dtype=np.int64), np.empty(len(vectors))
    step = max(1, BLOCK // len(centroids))
    for begin in range(0, len(vectors), step):
        part = slice(begin, begin + step)
        distances = vectors[part] @ columns
        np.subtract(half, distances, out=distances)
        codes[part] = distances.argmin(axis=1)
        least[part] = np.take_along_axis(distances, codes[part, None], axis=1)[:, 0]
    return codes, least


def sample(vectors: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """At most ``most`` of the vectors, drawn without replacement, in their order."""
    if len(vectors) <= most:
        return vectors
    return vectors[np.sort(rng.choice(len(vectors), most, replace=False))]


def _start(vectors: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Greedy k-means++: vectors are drawn in proportion to their squared distance to the nearest centroid so far, and
    that one of TRIALS is taken which lowers the sum of these distances most.
    """
    squares = (vectors * vectors).sum(axis=1)
    chosen = np.empty(size, dtype=np.int64)
    nearest = np.full(len(vectors), np.inf)
    drawn = rng.integers(len(vectors), size=1)
    for place in range(size):
        products = vectors @ exact.rounded_columns(vectors[drawn].T)
        tried = np.minimum(nearest[:, None], np.maximum(squares[:, None] - 2 * products + squares[drawn], 0))
        best = int(tried.sum(axis=0).argmin())
        chosen[place], nearest = drawn[best], tried[:, best]
        reached = np.cumsum(nearest)
        drawn = np.searchsorted(reached, rng.random(TRIALS) * reached[-1], side="right").clip(max=len(vectors) - 1)
    return vectors[chosen]


def _moved(
    vectors: np.ndarray, codes: np.ndarray, distances: np.ndarray, size: int, rng: np.random.Generator
) -> np.ndarray:
    """The mean of the vectors of each code, float64 [size, dim]. A code without vectors moves to one far from its own.

    In many dimensions a centroid in the middle is nearest to almost every vector, and stays so: if one code has more
    than half of the squared error, the codes of few vectors split it.
    """
    counts = np.bincount(codes, minlength=size)
    ones = scipy.sparse.csr_matrix((np.ones(len(codes)), codes, np.arange(len(codes) + 1)), (len(codes), size))
    centroids = (ones.T.tocsr() @ vectors) / np.maximum(counts, 1)[:, None]
    squared = np.maximum(2 * distances + (vectors * vectors).sum(axis=1), 0)
    empty = np.flatnonzero(counts == 0)
    centroids[empty] = vectors[np.argsort(-squared, kind="stable")[: len(empty)]]
    errors = np.bincount(codes, squared, minlength=size)
    largest = int(errors.argmax())
    if size > 3 and errors[largest] > errors.sum() / 2:
        few = np.flatnonzero(counts * FEW_SHARE <= len(vectors) / size)
        directions = rng.random((len(few), vectors.shape[1])) - 0.5
        directions /= np.sqrt((directions * directions).sum(axis=1, keepdims=True))
        spread = np.sqrt(errors[largest] / counts[largest] / vectors.shape[1])
        centroids[few] = centroids[largest] + spread * directions
    return centroids
