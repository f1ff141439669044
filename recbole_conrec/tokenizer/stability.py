"""How many codes an item keeps when the input changes a little, or the seed."""

import numpy as np
import scipy.sparse

from recbole_conrec.tokenizer import pipeline
from recbole_conrec.tokenizer.features import forward
from recbole_conrec.tokenizer.inputs import Items
from recbole_conrec.tokenizer.measures import kept, kept_up_to_names
from recbole_conrec.tokenizer.options import TokenizerOptions
from recbole_conrec.tokenizer.quantise import encode
from recbole_conrec.tokenizer.semantic_ids import SemanticIds

CHANGES = (0.01, 0.05, 0.10)


def under_noise(
    ids: SemanticIds, options: TokenizerOptions, items: Items, vectors: np.ndarray, rng: np.random.Generator
) -> dict[float, list[float]]:
    """Share of codes kept per level, before collisions are resolved, by the size of the change.

    Each vector X [n_items, dim] is moved by that share of its length in a random direction and encoded again; nothing
    is retrained. For ``collaborative``, which sees no vectors, that share of the training events is left out instead,
    the clusters are made again, and their numbers are matched.
    """
    if options.name == "collaborative":
        return {p: _paths_kept(ids.codes[1:], _without_events(options, items, vectors, p, rng)) for p in CHANGES}
    x, layers, depth = vectors[1:], ids.fitted_features.layers, ids.info["depth"]
    codes = encode(forward(x, layers), ids.codebooks[:depth])
    direction = rng.standard_normal(x.shape).astype(np.float32)
    direction *= np.linalg.norm(x, axis=1, keepdims=True) / np.linalg.norm(direction, axis=1, keepdims=True)
    return {p: kept(codes, encode(forward(x + p * direction, layers), ids.codebooks[:depth])) for p in CHANGES}


def under_another_seed(ids: SemanticIds, options: TokenizerOptions, items: Items, vectors: np.ndarray) -> list[float]:
    """Share of codes kept per level, their numbers matched, when the tokenizer is fitted with the next seed."""
    other = pipeline.quantise(options, items, vectors, seed=options.seed + 1).codes
    if options.name == "collaborative":
        return _paths_kept(ids.codes[1:], other)
    codes = encode(forward(vectors[1:], ids.fitted_features.layers), ids.codebooks[: ids.info["depth"]])
    return kept_up_to_names(codes, other)


def _without_events(
    options: TokenizerOptions, items: Items, vectors: np.ndarray, share: float, rng: np.random.Generator
) -> np.ndarray:
    """Codes [n, any] of the tokenizer fitted without a random ``share`` of the training events."""
    fewer = {}
    for kind, matrix in items.interactions.items():
        matrix = matrix.tocoo()
        stays = rng.random(matrix.nnz) >= share
        events = matrix.data[stays], (matrix.row[stays], matrix.col[stays])
        fewer[kind] = scipy.sparse.csr_matrix(events, matrix.shape)
    return pipeline.quantise(options, Items(items.texts, items.ids, fewer), vectors).codes


def _paths_kept(codes: np.ndarray, others: np.ndarray) -> list[float]:
    """Share of codes kept in the levels that two trees of clusters have in common.

    The last level is left out: it counts items and says nothing about them.
    """
    depth = min(codes.shape[1], others.shape[1]) - 1
    return kept_up_to_names(codes[:, :depth], others[:, :depth])
