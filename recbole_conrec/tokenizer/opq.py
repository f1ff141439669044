"""OPQ: parallel codes. A rotation splits the vectors into subspaces, and each has a k-means of its own.

y = A x with A orthonormal, chosen so that the product of the subspaces' k-means loses least; level
d codes the d-th part of y. Its code vectors, put back into the space of X by A^T, are orthogonal to those of other
levels, so X^ is their sum, and the nearest codes are found level by level, as for residual codes. No level is coarser
than another, and a prefix means less than in a residual ID.
"""

import numpy as np

from recbole_conrec.options import schema
from recbole_conrec.tokenizer import exact
from recbole_conrec.tokenizer.fitting import Fit, FitInput
from recbole_conrec.tokenizer.kmeans import kmeans, sample
from recbole_conrec.tokenizer.quantise import nearest

SAMPLES = 64  # most vectors per code that the rotation sees
STEPS = 4  # Lloyd steps of each subspace between two rotations


class Options(schema.Options):
    """Options of the tokenizer ``opq``."""

    iterations: schema.Count = 25
    """Lloyd steps per subspace."""
    rotations: schema.Natural = 25
    """Alternations of rotation and codes; 0 leaves the axes as they are (plain product quantisation)."""
    samples_per_code: schema.Count = 256
    """Most vectors per code that a k-means sees; all vectors are assigned."""


def fit(given: FitInput, options: Options) -> Fit:
    """One codebook per subspace, in the space of X, the widest spread first."""
    vectors, depth = given.known(), len(given.sizes)
    dim = vectors.shape[1]
    padded = np.pad(vectors, ((0, 0), (0, -dim % depth)))  # subspaces of equal width
    rotation = np.eye(padded.shape[1])
    if options.rotations and depth > 1:
        rotation = _rotation(padded, given.sizes, options, given.seed)
    width = padded.shape[1] // depth
    codebooks = []
    for level, size in enumerate(given.sizes):
        axes = rotation[level * width : (level + 1) * width]
        centroids = kmeans(
            exact.matmul(padded, axes.T),
            size,
            seed=given.seed + level,
            iterations=options.iterations,
            samples_per_code=options.samples_per_code,
        )
        codebooks.append(np.ascontiguousarray(exact.matmul(centroids, axes)[:, :dim], dtype=np.float32))
    return Fit(sorted(codebooks, key=lambda book: -book.var(axis=0).sum()))  # collisions change the last: the finest


def _rotation(vectors: np.ndarray, sizes: list[int], options: Options, seed: int) -> np.ndarray:
    """A [dim, dim], orthonormal (OPQ without assumptions: Ge, He, Ke and Sun 2013).

    Two starts are tried, since the result depends much on it: axes of similar spread in every subspace, and a random
    rotation. The better one is returned.
    """
    rng = np.random.default_rng(seed)
    vectors = sample(vectors, max(sizes) * min(options.samples_per_code, SAMPLES), rng).astype(np.float64)
    even = np.eye(vectors.shape[1])[_even_axes(vectors.var(axis=0), len(sizes))]
    random = exact.orthonormal(rng.random(even.shape) - 0.5)
    found = [_turned(vectors, start, sizes, options.rotations, seed) for start in (even, random)]
    return min(found, key=lambda one: one[1])[0]


def _turned(
    vectors: np.ndarray, rotation: np.ndarray, sizes: list[int], rotations: int, seed: int
) -> tuple[np.ndarray, float]:
    """A rotation after ``rotations`` alternations, and its squared error.

    Each fits codes to the rotated vectors, and then turns the vectors X towards what their codes encode: for these,
    Y^, the best rotation is U V^T of Y^^T X = U S V^T.
    """
    error = np.inf
    for _ in range(rotations):
        parts = np.split(exact.matmul(vectors, rotation.T), len(sizes), axis=1)
        decoded = []
        for part, size in zip(parts, sizes, strict=True):
            centroids = kmeans(part, size, seed=seed, iterations=STEPS)
            decoded.append(centroids[nearest(part, centroids)].astype(np.float64))
        error = sum(float(((part - near) ** 2).sum()) for part, near in zip(parts, decoded, strict=True))
        turned = exact.matmul(np.concatenate(decoded, axis=1).T, vectors)
        ridge = 1e-6 * np.abs(turned).max()  # directions in which nothing lies stay as they are
        left, _, right = exact.svd(turned + ridge * rotation)
        rotation = exact.matmul(left, right.T)
    return rotation, error


def _even_axes(spread: np.ndarray, depth: int) -> np.ndarray:
    """An order of the axes that gives ``depth`` subspaces similar products of their variances ``spread`` [dim]."""
    order = np.argsort(-spread, kind="stable")
    spaces: list[list[int]] = [[] for _ in range(depth)]
    product = np.ones(depth)
    for axis in order:
        room = [level for level in range(depth) if len(spaces[level]) < len(spread) // depth]
        level = min(room, key=lambda one: product[one])
        spaces[level].append(int(axis))
        product[level] *= spread[axis] / max(spread[order[0]], 1e-300)
    return np.concatenate(spaces)
