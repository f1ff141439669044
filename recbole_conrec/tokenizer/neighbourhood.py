"""What users meet before and after an item, as a vector: PPMI of co-occurrence within a few events, then SVD."""

from __future__ import annotations

from typing import Literal

import numpy as np
import scipy.sparse

from recbole_conrec.options.schema import Count, Options, Share
from recbole_conrec.tokenizer import exact
from recbole_conrec.tokenizer.encoder import Encoder, EncoderOptions
from recbole_conrec.tokenizer.inputs import Items
from recbole_conrec.utils.errors import UserError


class NeighbourhoodOptions(Options):
    """What a neighbourhood vector is made of."""

    dim: Count = 64
    """Dimensions kept."""
    window: Count = 10
    """Events to either side of an item that are its neighbours."""
    smooth: Share = 0.75
    """Power of a neighbour's frequency: below 1, rare neighbours weigh less."""


class NeighbourhoodEncoderOptions(NeighbourhoodOptions, EncoderOptions):
    """Options of the encoder ``neighbourhood``."""

    name: Literal["neighbourhood"] = "neighbourhood"
    """Which encoder."""


class Neighbourhood(Encoder):
    r"""Items that users meet one after the other get similar vectors (word2vec by counting).

    .. math::
        PPMI(i, j) = \max\left(0, \log \frac{n_{ij} \sum_k n_k^s}{n_i \; n_j^s}\right)

    n_ij: how often j lies within ``window`` events of i in a user's sequence of training events, whatever the feedback;
    n_i its sum over j, s the option ``smooth``. Truncated SVD of the matrix. An item without
    training events is zero. Memory grows with the pairs of items that meet, time with events times window.

    Levy and Goldberg, "Neural Word Embedding as Implicit Matrix Factorization", NIPS 2014; the smoothing is that of
    Levy, Goldberg and Dagan, TACL 2015.
    """

    Options = NeighbourhoodEncoderOptions
    options: NeighbourhoodOptions

    def fit(self, items: Items) -> np.ndarray:
        """Learn the SVD; returns the catalogue's vectors. UserError where no two items follow each other."""
        matrix = self._ppmi(items)
        if not matrix.nnz:
            raise UserError(
                "tokenizer.encoder: no two training events of a user follow each other, so 'neighbourhood' has nothing "
                "to learn from"
            )
        self.components = exact.components(matrix, min(self.options.dim, len(items) - 1), self.seed)
        return self._vectors(matrix)

    def transform(self, items: Items) -> np.ndarray:
        """float32 [n, dim]; items outside the catalogue have no training events and are zero."""
        if items.sequences is None:
            return np.zeros((len(items), len(self.components)), dtype=np.float32)
        return self._vectors(self._ppmi(items))

    def _vectors(self, matrix: scipy.sparse.csr_matrix) -> np.ndarray:
        return exact.matmul(matrix, self.components.T).astype(np.float32)

    def _ppmi(self, items: Items) -> scipy.sparse.csr_matrix:
        """float32 [n, n]."""
        if items.sequences is None:
            raise UserError("tokenizer.encoder: 'neighbourhood' needs the training events of a data set")
        user, item = items.sequences
        shape = (len(items), len(items))
        counts = scipy.sparse.csr_matrix(shape, dtype=np.float64)
        for step in range(1, self.options.window + 1):
            same = user[step:] == user[:-step]
            pairs = item[:-step][same], item[step:][same]
            ahead = scipy.sparse.csr_matrix((np.ones(len(pairs[0])), pairs), shape)
            counts = counts + ahead + ahead.T
        counts.setdiag(0)  # an item met again says nothing of others
        counts.eliminate_zeros()
        total = np.asarray(counts.sum(axis=1)).ravel()
        smooth = (total**self.options.smooth).astype(np.float32).astype(np.float64)  # powers differ in their last bit
        row = np.repeat(np.arange(len(items)), np.diff(counts.indptr))
        ratio = counts.data * smooth.sum() / np.maximum(total[row] * smooth[counts.indices], 1e-300)
        value = np.maximum(np.log(ratio), 0).astype(np.float32)
        matrix = scipy.sparse.csr_matrix((value, counts.indices, counts.indptr), shape)
        matrix.eliminate_zeros()
        return matrix

    def state(self) -> tuple[dict, dict[str, np.ndarray]]:
        """The options; the SVD's components."""
        return self.options.model_dump(include=set(NeighbourhoodOptions.model_fields)), {"components": self.components}

    @classmethod
    def from_state(cls, state: dict, arrays: dict[str, np.ndarray]) -> Neighbourhood:
        """The encoder that :meth:`state` described."""
        encoder = cls(NeighbourhoodOptions(**state))
        encoder.components = arrays["components"]
        return encoder
