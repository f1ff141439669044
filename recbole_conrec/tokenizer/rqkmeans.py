"""RQ-KMeans: k-means of the residuals, level by level. No training loop; seconds on a million items.

R^(1) = X; the codebook of level d is the k-means of R^(d); R^(d+1) = R^(d) - its nearest centroid.
"""

import numpy as np
from tqdm import tqdm

from recbole_conrec.options import schema
from recbole_conrec.tokenizer.collisions import fill, squared_distances
from recbole_conrec.tokenizer.fitting import Fit, FitInput
from recbole_conrec.tokenizer.kmeans import kmeans
from recbole_conrec.tokenizer.quantise import encode, nearest


class Options(schema.Options):
    """Options of the tokenizer ``rqkmeans``."""

    iterations: schema.Count = 25
    """Lloyd steps per level."""
    samples_per_code: schema.Count = 256
    """Most vectors per code that the k-means of a level sees; all vectors are assigned."""
    balanced: bool = False
    """Whether every code of a level holds at most ceil(N / codes) items: a full code keeps its nearest, the others take
    their next nearest code with room. Prefixes become more even, at a larger reconstruction error."""


def fit(given: FitInput, options: Options) -> Fit:
    """Codebooks and, when balanced, codes."""
    residual = given.known().copy()
    codebooks, codes = [], []
    for level, size in enumerate(tqdm(given.sizes, desc="rqkmeans: levels", leave=False, disable=None)):
        centroids = kmeans(
            residual,
            size,
            seed=given.seed + level,
            iterations=options.iterations,
            samples_per_code=options.samples_per_code,
        )
        if options.balanced:
            index = _balanced(residual, centroids)
            centroids = means(residual, index, centroids)  # one more step: codes move to the mean of what they now hold
        else:
            index = nearest(residual, centroids)
        residual -= centroids[index]
        codebooks.append(centroids)
        codes.append(index)
    if not options.balanced:
        return Fit(codebooks)
    everything = encode(given.vectors, codebooks)
    everything[given.content] = np.stack(codes, axis=1)
    return Fit(codebooks, codes=everything)


def means(vectors: np.ndarray, index: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Mean vector [k, dim] of the rows that have each index; the old centroid where there are none."""
    counts = np.bincount(index, minlength=len(centroids))
    used, order = counts > 0, np.argsort(index, kind="stable")
    result = centroids.copy()
    starts = (np.cumsum(counts) - counts)[used]
    result[used] = np.add.reduceat(vectors[order], starts, axis=0) / counts[used, None]
    return result


def _balanced(vectors: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    cost = squared_distances(vectors, centroids)
    return fill(cost, cost.argmin(axis=1), np.full(len(centroids), -(-len(vectors) // len(centroids))))
