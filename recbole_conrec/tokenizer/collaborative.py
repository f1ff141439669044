"""Collaborative IDs (P5-CID, "How to Index Item IDs for Recommendation Foundation Models", arXiv 2305.06569).

Items are the nodes of a graph, weighted by the users that two items share in training. Spectral clustering splits it,
each cluster is split again while it holds more items than a leaf may, and an item's ID is its path from the root,
followed by its number within the leaf. Paths that end early are filled with code 0.

The graph A = B^T B - diag (B: users x items) is never built: eigenvectors of D^-1/2 A D^-1/2 need only products with B,
so memory is that of the events. Clusters are the k-means of the rows of the top eigenvectors, scaled to unit length
(Ng, Jordan and Weiss 2001).
"""

from typing import Annotated

import numpy as np
import scipy.sparse
from pydantic import Field, model_validator
from tqdm import tqdm
from typing_extensions import Self

from recbole_conrec.options import schema
from recbole_conrec.tokenizer import exact
from recbole_conrec.tokenizer.collisions import group_rows
from recbole_conrec.tokenizer.fitting import Fit, FitInput
from recbole_conrec.tokenizer.inputs import Feedback, kinds_of
from recbole_conrec.tokenizer.kmeans import kmeans
from recbole_conrec.tokenizer.quantise import nearest
from recbole_conrec.utils.arrays import rank_in_group, unit_rows
from recbole_conrec.utils.errors import UserError

POWER, ITERATIONS = 6, 8  # the matrix is applied 6 x 8 times, and the vectors are made orthonormal after every 6


class Options(schema.Options):
    """Options of the tokenizer ``collaborative``. ``tokenizer.depth`` and ``tokenizer.sizes`` do not apply."""

    clusters: Annotated[int, Field(ge=2)] = 20
    """Clusters into which a cluster is split (paper: 20)."""
    leaf: Annotated[int, Field(ge=2)] = 200
    """Most items of a cluster that is not split (paper: 200 to 500)."""
    feedback: Feedback = ("negative", "positive")
    """Kinds of training events whose users count as shared."""

    @model_validator(mode="after")
    def _leaf_holds_clusters(self) -> Self:
        if self.clusters > self.leaf:
            raise ValueError(f"clusters {self.clusters}, leaf {self.leaf}; expected clusters of at most leaf")
        return self


def fit(given: FitInput, options: Options) -> Fit:
    """An ID of its own for every item, and codebooks fitted to X by least squares.

    Items without training events form one more cluster of the root, which is split by item number. The codebooks make
    the sum of an ID's code vectors the best estimate of X that its path allows; the last level's vectors are zero.
    Raises UserError without training events.
    """
    if not given.interactions:
        raise UserError("tokenizer.name: 'collaborative' needs the training events of a data set")
    events = sum(given.interactions[kind] for kind in kinds_of(options.feedback)).tocsc()
    events.data = np.ones(len(events.data))
    paths = split(events, options, given.seed)
    number = rank_in_group(group_rows(paths))
    codebooks = _least_squares(paths, given.vectors)
    counting = np.zeros((options.leaf, given.vectors.shape[1]), dtype=np.float32)
    return Fit([*codebooks, counting], codes=np.column_stack([paths, number]), unique=True)


def split(events: scipy.sparse.csc_matrix, options: Options, seed: int) -> np.ndarray:
    """Paths int64 [n, levels] of the items (columns of ``events`` [n_users, n], 0/1); unused levels are 0."""
    n = events.shape[1]
    columns: list[np.ndarray] = []
    nodes = [np.arange(n)]
    with tqdm(total=n, desc="collaborative: items in leaves", leave=False, disable=None) as bar:
        while nodes:
            codes, children = np.zeros(n, dtype=np.int64), []
            for items in nodes:
                if len(items) <= options.leaf:
                    bar.update(len(items))
                    continue
                labels = _clusters(events[:, items], options.clusters, seed + len(columns))
                codes[items] = labels
                children += [items[labels == label] for label in np.unique(labels)]
            if children or not columns:
                columns.append(codes)
            nodes = children
    return np.stack(columns, axis=1)


def _clusters(events: scipy.sparse.csc_matrix, clusters: int, seed: int) -> np.ndarray:
    """Labels [n] of one split; items that share no user with another get label ``clusters``."""
    users = np.asarray(events.sum(axis=1)).ravel()
    own = np.diff(events.indptr).astype(np.float64)  # diagonal of B^T B
    degree = events.T @ users - own
    labels = np.full(events.shape[1], clusters)
    linked = np.flatnonzero(degree > 0)
    if len(linked) > clusters + 1:
        rows = _embed(events[:, linked], degree[linked], clusters, seed)
        labels[linked] = np.unique(_assign(rows, clusters, seed), return_inverse=True)[1]
    if len(np.unique(labels)) > 1:
        return labels
    return np.arange(len(labels)) * clusters // len(labels)  # nothing separates these: equal parts by number


def _embed(events: scipy.sparse.csc_matrix, degree: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """Rows [n, clusters] of the top eigenvectors of D^-1/2 (B^T B - diag) D^-1/2, scaled to unit length.

    ``events`` is B [n_users, n] (0/1), ``degree`` the diagonal of D [n], all above 0.
    """
    users = events.tocsr()
    users = users[np.diff(users.indptr) > 1]  # a user of one item links it to none
    items = users.T.tocsr()
    own = np.diff(items.indptr)[:, None]  # diagonal of B^T B
    scale = 1 / np.sqrt(degree)[:, None]

    def product(x):
        for _ in range(POWER):
            y = exact.rounded_columns(scale * x)  # sums of 26 bits: exact for degrees up to 2^27
            x = (scale * (items @ (users @ y) - own * y) + x) / 2  # half of 1 + eigenvalue: none is below 0
        return x

    return unit_rows(exact.top_eigenvectors(product, len(degree), clusters, seed=seed, iterations=ITERATIONS))


def _assign(rows: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """The k-means cluster [n] of each row [n, dim]."""
    rows = rows.astype(np.float32)
    centroids = kmeans(rows, clusters, seed=seed, iterations=50, samples_per_code=10_000)
    return nearest(rows, centroids)


def _least_squares(paths: np.ndarray, vectors: np.ndarray) -> list[np.ndarray]:
    """Codebooks that minimise ||X - sum_d Z^(d)||^2 for given codes; a small ridge picks the shortest solution."""
    sizes = paths.max(axis=0) + 1
    offsets = np.cumsum([0, *sizes[:-1]])
    n, depth = paths.shape
    ends = np.arange(0, n * depth + 1, depth)
    chosen = scipy.sparse.csr_matrix((np.ones(n * depth), (paths + offsets).ravel(), ends), (n, int(sizes.sum())))
    normal = (chosen.T @ chosen).toarray() + 1e-3 * np.eye(chosen.shape[1])
    solution = exact.solve(normal, chosen.T @ vectors.astype(np.float64)).astype(np.float32)
    return np.split(solution, offsets[1:])
