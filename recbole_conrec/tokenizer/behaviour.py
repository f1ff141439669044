"""Who interacted with an item, as a vector: truncated SVD of the training events."""

import numpy as np
import scipy.sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.preprocessing import normalize

from recbole_conrec.tokenizer.inputs import KINDS, Items
from recbole_conrec.utils.errors import UserError


class Behaviour:
    """Items x (kind of feedback, user), log(1 + count) * idf(user), rows of unit length, then truncated SVD.

    Items that share the users who disliked (liked) them get similar vectors. An active user tells less, hence the idf.
    Training events only; an item without any is zero.

    Args:
        dim: dimensions kept.
        feedback: kinds that count: negative, positive, exposure.
    """

    reads_text = False

    def __init__(self, *, dim: int = 64, feedback=("negative", "positive"), seed: int = 0):
        self.dim, self.seed = dim, seed
        self.feedback = (feedback,) if isinstance(feedback, str) else tuple(feedback)
        for kind in self.feedback:
            if kind not in KINDS:
                raise UserError(f"tokenizer.encoder (behaviour).feedback: '{kind}' is none of {', '.join(KINDS)}")

    def fit(self, items: Items) -> np.ndarray:
        matrix = self._counts(items)
        if not matrix.nnz:
            raise UserError(
                f"tokenizer.encoder: no training event is {' or '.join(self.feedback)}, so 'behaviour' has "
                "nothing to learn from"
            )
        users_items = np.bincount(matrix.indices, minlength=matrix.shape[1])
        self.idf = np.log((1 + len(items)) / (1 + users_items)).astype(np.float32)
        weighted = self._weighted(matrix)
        dim = min(self.dim, min(weighted.shape) - 1)
        svd = TruncatedSVD(dim, n_iter=7, random_state=self.seed).fit(weighted)
        self.components = svd.components_.astype(np.float32)
        return self.transform(items)

    def transform(self, items: Items) -> np.ndarray:
        if not items.interactions:  # items outside the catalogue
            return np.zeros((len(items), len(self.components)), dtype=np.float32)
        return np.asarray(self._weighted(self._counts(items)) @ self.components.T, dtype=np.float32)

    def _counts(self, items: Items) -> scipy.sparse.csr_matrix:
        if not items.interactions:
            raise UserError("tokenizer.encoder: 'behaviour' needs the training events of a data set")
        matrix = scipy.sparse.vstack([items.interactions[kind] for kind in self.feedback]).T.tocsr().astype(np.float32)
        matrix.eliminate_zeros()
        return matrix

    def _weighted(self, matrix: scipy.sparse.csr_matrix) -> scipy.sparse.csr_matrix:
        matrix.data = np.log1p(matrix.data)
        return normalize(matrix @ scipy.sparse.diags(self.idf))

    def state(self) -> tuple[dict, dict]:
        return {"feedback": self.feedback}, {"idf": self.idf, "components": self.components}

    @staticmethod
    def files(spec: dict) -> list:
        return []

    @classmethod
    def from_state(cls, state: dict, arrays: dict) -> "Behaviour":
        encoder = cls(dim=len(arrays["components"]), feedback=state["feedback"])
        encoder.idf, encoder.components = arrays["idf"], arrays["components"]
        return encoder
