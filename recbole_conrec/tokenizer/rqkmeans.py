"""RQ-KMeans: k-means of the residuals, level by level, by faiss. No training loop; seconds on a million items.

R^(1) = X; the codebook of level d is the k-means of R^(d); R^(d+1) = R^(d) - its nearest centroid.
"""

from dataclasses import dataclass

import faiss
import numpy as np
from tqdm import tqdm

from recbole_conrec.errors import UserError
from recbole_conrec.tokenizer.collisions import fill
from recbole_conrec.tokenizer.fitting import Fit
from recbole_conrec.tokenizer.quantise import nearest


@dataclass(frozen=True)
class Options:
    """
    iterations: Lloyd steps per level.
    samples_per_code: k-means of a level sees at most this many vectors per code (faiss's default is 256); all vectors
        are assigned.
    balanced: every code of a level holds at most ceil(N / codes) items: a full code keeps its nearest, the others take
        their next nearest code with room. Evens out the prefixes, at a larger reconstruction error.
    """

    iterations: int = 25
    samples_per_code: int = 256
    balanced: bool = False


def fit(vectors: np.ndarray, sizes: list[int], options: Options, seed: int) -> Fit:
    """Codebooks (and, when balanced, codes) of ``vectors`` float32 [n, dim]."""
    residual, codebooks, codes = vectors.copy(), [], []
    for level, size in enumerate(tqdm(sizes, desc="rqkmeans: levels", leave=False, disable=None)):
        centroids = kmeans(residual, size, seed=seed + level, iterations=options.iterations,
                           samples_per_code=options.samples_per_code)
        if options.balanced:
            index = _balanced(residual, centroids)
            centroids = _means(residual, index, centroids)  # one more step, so that codes sit amid what they now hold
        else:
            index = nearest(residual, centroids)
        residual -= centroids[index]
        codebooks.append(centroids)
        codes.append(index)
    return Fit(codebooks, codes=np.stack(codes, axis=1) if options.balanced else None)


def kmeans(vectors: np.ndarray, size: int, *, seed: int, iterations: int = 25, samples_per_code: int = 256):
    """Centroids float32 [size, dim]. Raises UserError where there are fewer vectors than centroids."""
    if len(vectors) < size:
        raise UserError(f"tokenizer.sizes: {size} codes for {len(vectors)} items with content; use at most that many")
    clusters = faiss.Kmeans(vectors.shape[1], size, niter=iterations, seed=seed, min_points_per_centroid=1,
                            max_points_per_centroid=samples_per_code)
    clusters.train(np.ascontiguousarray(vectors))
    return clusters.centroids.copy()


def _balanced(vectors: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    cost = (centroids**2).sum(axis=1) - 2 * vectors @ centroids.T
    return fill(cost, cost.argmin(axis=1), np.full(len(centroids), -(-len(vectors) // len(centroids))))


def _means(vectors: np.ndarray, index: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    counts = np.bincount(index, minlength=len(centroids))
    order = np.argsort(index, kind="stable")
    starts = np.cumsum(counts) - counts
    sums = np.add.reduceat(vectors[order], np.minimum(starts, len(vectors) - 1), axis=0)
    return np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centroids).astype(np.float32)
