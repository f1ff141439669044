"""Residual quantisation: vectors -> codes and back, the same for every tokenizer.

R^(1) = X,  Z^(d) = the code vector of level d nearest to R^(d),  R^(d+1) = R^(d) - Z^(d),  X^ = sum_d Z^(d).
Parallel codes (OPQ) are the special case in which the levels' vectors are in orthogonal subspaces.
"""

import numpy as np

from recbole_conrec.tokenizer import exact
from recbole_conrec.tokenizer.kmeans import assign


def nearest(vectors: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """The row of ``codebook`` [k, dim] nearest to each of ``vectors`` [n, dim]: int64 [n]; the first at a tie.

    Distances are exact (:mod:`.exact`), so that codes do not depend on the machine.
    """
    return assign(exact.rounded_rows(vectors), codebook)[0]


def encode(vectors: np.ndarray, codebooks: list[np.ndarray]) -> np.ndarray:
    """Codes int64 [n, depth] of ``vectors`` [n, dim], greedily level by level."""
    residual = vectors.astype(np.float32, copy=True)
    codes = np.zeros((len(vectors), len(codebooks)), dtype=np.int64)
    for level, codebook in enumerate(codebooks):
        codes[:, level] = nearest(residual, codebook)
        residual -= codebook[codes[:, level]]
    return codes


def decode(codes: np.ndarray, codebooks: list[np.ndarray]) -> np.ndarray:
    """X^ float32 [n, dim]: the sum of the codes' vectors; a row of -1 (padding) is the zero vector."""
    vectors = np.zeros((len(codes), codebooks[0].shape[1]), dtype=np.float32)
    known = (codes >= 0).all(axis=1)
    for level, codebook in enumerate(codebooks):
        vectors[known] += codebook[codes[known, level]]
    return vectors


def relative_error(vectors: np.ndarray, reconstruction: np.ndarray) -> float:
    """||X - X^||^2 / ||X - mean X||^2: 0 is perfect, 1 is no better than the mean vector for all items."""
    spread = float(((vectors - vectors.mean(axis=0)) ** 2).sum())
    error = float(((vectors - reconstruction) ** 2).sum())
    return error / spread if spread > 0 else float(error > 0)
