"""Who interacted with an item, as a vector: truncated SVD of the training events."""

from __future__ import annotations

from typing import Literal

import numpy as np
import scipy.sparse

from recbole_conrec.options.schema import Count, Options
from recbole_conrec.tokenizer import exact
from recbole_conrec.tokenizer.encoder import Encoder, EncoderOptions
from recbole_conrec.tokenizer.inputs import Feedback, Items, kinds_of
from recbole_conrec.utils.errors import UserError


class BehaviourOptions(Options):
    """What a behaviour vector is made of."""

    dim: Count = 64
    """Dimensions kept."""
    feedback: Feedback = ("negative", "positive")
    """Kinds of training events that count."""


class BehaviourEncoderOptions(BehaviourOptions, EncoderOptions):
    """Options of the encoder ``behaviour``."""

    name: Literal["behaviour"] = "behaviour"
    """Which encoder."""


class Behaviour(Encoder):
    """Items x (kind of feedback, user), log(1 + count) * idf(user), rows of unit length, then truncated SVD.

    Items that share the users who disliked (liked) them get similar vectors. A very active user says less about an
    item, hence the idf. Only training events count; an item without any is zero.
    """

    Options = BehaviourEncoderOptions
    options: BehaviourOptions

    def fit(self, items: Items) -> np.ndarray:
        """Learn the SVD; returns the catalogue's vectors. UserError without training events of these kinds."""
        matrix = self._counts(items)
        if not matrix.nnz:
            raise UserError(
                f"tokenizer.encoder: no training event is {' or '.join(kinds_of(self.options.feedback))}, so "
                "'behaviour' has nothing to learn from"
            )
        users_items = np.bincount(matrix.indices, minlength=matrix.shape[1])
        self.idf = np.log((1 + len(items)) / (1 + users_items)).astype(np.float32)
        weighted = self._weighted(matrix)
        dim = min(self.options.dim, min(weighted.shape) - 1)
        self.components = exact.components(weighted, dim, self.seed)
        return self.transform(items)

    def transform(self, items: Items) -> np.ndarray:
        """float32 [n, dim]; items outside the catalogue have no training events and are zero."""
        if not items.interactions:
            return np.zeros((len(items), len(self.components)), dtype=np.float32)
        return exact.matmul(self._weighted(self._counts(items)), self.components.T).astype(np.float32)

    def _counts(self, items: Items) -> scipy.sparse.csr_matrix:
        if not items.interactions:
            raise UserError("tokenizer.encoder: 'behaviour' needs the training events of a data set")
        parts = [items.interactions[kind] for kind in kinds_of(self.options.feedback)]
        matrix = scipy.sparse.vstack(parts).T.tocsr().astype(np.float32)
        matrix.eliminate_zeros()
        return matrix

    def _weighted(self, matrix: scipy.sparse.csr_matrix) -> scipy.sparse.csr_matrix:
        weight = np.log1p(matrix.data.astype(np.float64)).astype(np.float32) * self.idf[matrix.indices]
        return exact.unit_rows(scipy.sparse.csr_matrix((weight, matrix.indices, matrix.indptr), matrix.shape))

    def state(self) -> tuple[dict, dict[str, np.ndarray]]:
        """The kinds of feedback; the users' idf and the SVD's components."""
        return {"feedback": kinds_of(self.options.feedback)}, {"idf": self.idf, "components": self.components}

    @classmethod
    def from_state(cls, state: dict, arrays: dict[str, np.ndarray]) -> Behaviour:
        """The encoder that :meth:`state` described."""
        encoder = cls(BehaviourOptions(dim=len(arrays["components"]), feedback=state["feedback"]))
        encoder.idf, encoder.components = arrays["idf"], arrays["components"]
        return encoder
