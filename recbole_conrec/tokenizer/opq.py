"""OPQ: parallel codes. A rotation splits the vectors into subspaces, and each has a k-means of its own (faiss).

y = A x with A orthonormal, chosen by faiss's OPQMatrix so that the product of the subspaces' k-means loses least; level
d codes the d-th part of y. Its code vectors, put back into the space of X by A^T, are orthogonal to those of other
levels, so X^ is their sum, and the nearest codes are found level by level, as for residual codes. No level is coarser
than another, and a prefix means less than in a residual ID.
"""

import faiss
import numpy as np

from recbole_conrec.options import schema
from recbole_conrec.tokenizer.fitting import Fit, FitInput
from recbole_conrec.tokenizer.rqkmeans import kmeans


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
    rotation = np.eye(padded.shape[1], dtype=np.float32)
    if options.rotations and depth > 1:
        rotation = _rotation(padded, given.sizes, options.rotations)
    width = padded.shape[1] // depth
    codebooks = []
    for level, size in enumerate(given.sizes):
        axes = rotation[level * width : (level + 1) * width]
        centroids = kmeans(
            padded @ axes.T,
            size,
            seed=given.seed + level,
            iterations=options.iterations,
            samples_per_code=options.samples_per_code,
        )
        codebooks.append(np.ascontiguousarray((centroids @ axes)[:, :dim]))
    return Fit(sorted(codebooks, key=lambda book: -book.var(axis=0).sum()))  # collisions change the last: the finest


def _rotation(vectors: np.ndarray, sizes: list[int], iterations: int) -> np.ndarray:
    """A [dim, dim], orthonormal. faiss starts it from its own fixed seed."""
    dim, depth = vectors.shape[1], len(sizes)
    matrix = faiss.OPQMatrix(dim, depth)
    matrix.niter = iterations
    quantiser = faiss.ProductQuantizer(dim, depth, max(1, min(sizes).bit_length() - 1))
    quantiser.cp.min_points_per_centroid = 1
    matrix.pq = quantiser
    matrix.train(np.ascontiguousarray(vectors))
    return faiss.vector_to_array(matrix.A).reshape(dim, dim).astype(np.float32)
