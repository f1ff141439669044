"""Item-item Swing over negative feedback.

    s(i, j) = sum over u != v in U(i) n U(j) of  w_u * w_v / (|I(u) n I(v)| + alpha2)  * 1 / sqrt(|U(j)|)
    w_u = 1 / (|I(u)| + alpha1) ** theta,  and s = 0 unless |U(i) n U(j)| >= min_common

I(u): the items that u disliked, U(i): the users who disliked i. Both orders of a pair of users count, as written.
Two users who share few dislikes say more by each of them; with one common user there is no pair, so no score.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Neighbours of each item as CSR, best first; ties by item id.

    Attributes:
        ptr: int64 [n_items + 1]. items: int64 [ptr[-1]]. scores: float32 [ptr[-1]], positive.
    """

    ptr: np.ndarray
    items: np.ndarray
    scores: np.ndarray

    def matrix(self) -> sparse.csr_matrix:
        """scores as a sparse matrix [n_items, n_items]; row i holds the neighbours of i."""
        n = len(self.ptr) - 1
        return sparse.csr_matrix((self.scores, self.items, self.ptr), shape=(n, n))


def swing(
    users: np.ndarray,
    items: np.ndarray,
    n_users: int,
    n_items: int,
    *,
    alpha1: float = 15.0,
    alpha2: float = 0.0,
    theta: float = 0.3,
    min_common: int = 1,
    top: int = 100,
    max_user_items: int = 1000,
    max_item_users: int = 1000,
    budget: int = 2**22,
) -> Neighbours:
    """Swing neighbours of each item.

    Args:
        users, items: int64 [M], the negative events, oldest first; a repeated pair counts once.
        min_common: |U(i) n U(j)| that a pair of items needs (the paper's "> 5" is 6).
        top: neighbours kept per item.
        max_user_items: longer lists keep their last items (the work grows with their squares).
        max_item_users: items with more users keep the last ones.
        budget: numbers held at a time; memory is about 40 bytes times this.
    """
    raise NotImplementedError
