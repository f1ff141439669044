"""Ridge regression of sparse targets on sparse features, by its normal equations."""

from collections.abc import Iterable

import numpy as np
from scipy import sparse
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.memory import out_of_memory

_BLOCK = 2048  # columns of the Gram matrix that are formed at a time

Pair = tuple[sparse.csr_matrix, sparse.csr_matrix]


class NormalEquations:
    """X'X + l2 I and X'Y, added up over batches of examples; memory is 4 F (2 F + T) bytes.

    Args:
        features, targets: F and T, the columns of X and Y.
        l2: weight of the penalty.
    """

    def __init__(self, features: int, targets: int, l2: float):
        with _memory(features):
            self.gram = np.zeros((features, features), dtype=np.float32)
            self.cross = np.zeros((features, targets), dtype=np.float32)
        self.gram[np.diag_indices(features)] = l2

    def add(self, x: sparse.csr_matrix, y: sparse.csr_matrix) -> None:
        """Add examples: x [N, F], y [N, T]."""
        turned, columns = x.T.tocsr(), x.tocsc()
        for low in range(0, x.shape[1], _BLOCK):
            self.gram[:, low : low + _BLOCK] += turned @ columns[:, low : low + _BLOCK]
        self.cross += turned @ y

    def solve(self) -> np.ndarray:
        """The weights, float32 [F, T]; the equations are used up."""
        with _memory(len(self.gram)):
            return cho_solve(self._factor(), self.cross, overwrite_b=True)

    def inverse(self) -> np.ndarray:
        """(X'X + l2 I)^-1, float32 [F, F]; the equations are used up."""
        with _memory(len(self.gram)):
            return cho_solve(self._factor(), np.eye(len(self.gram), dtype=np.float32), overwrite_b=True)

    def _factor(self):
        try:
            return cho_factor(self.gram, overwrite_a=True)
        except LinAlgError:
            raise UserError("l2: too small, the equations have no stable solution; raise it") from None


def fit(batches: Iterable[Pair], features: int, targets: int, l2: float) -> np.ndarray:
    """The weights W, float32 [features, targets], that minimise |XW - Y|^2 + l2 |W|^2 over batches of examples."""
    equations = NormalEquations(features, targets, l2)
    for x, y in batches:
        equations.add(x, y)
    return equations.solve()


def most_frequent(counts: np.ndarray, most: int) -> np.ndarray:
    """The places with the highest counts [n], at most so many and none with a count of 0, in order: int64 [m]."""
    best = np.argsort(-counts, kind="stable")[:most]
    return np.sort(best[counts[best] > 0])


def places(chosen: np.ndarray, n: int) -> np.ndarray:
    """Where each of 0..n-1 is in ``chosen``, -1 for those that are not there: int64 [n]."""
    at = np.full(n, -1, dtype=np.int64)
    at[chosen] = np.arange(len(chosen))
    return at


def _memory(features: int):
    return out_of_memory(f"solving for {features} features", "lower `features`, of which memory takes the square")
