"""What comes after a cut: the likes and dislikes that a filter should tell apart, and what would be shown."""

import numpy as np
import scipy.sparse

from recbole_conrec.data.events import EXPOSURE, POSITIVE
from recbole_conrec.data.splits import TEST, VALID
from recbole_conrec.filtering.sets import moments

PART = {"valid": VALID, "test": TEST}


def future_pairs(data, part: str, kind: int) -> tuple[np.ndarray, np.ndarray]:
    """Users and items, int64 [N] each, once: what users dislike (like) in the 'valid' or 'test' part.

    An item that the user reacted to before the part begins is no news, and left out.
    """
    log = data.log
    key = log.user * log.n_items + log.item
    begin = moments(data, part)[log.user]
    known = np.unique(key[(log.feedback != EXPOSURE) & (log.time < begin)])
    inside = data.cuts.part(log.user, log.time) == PART[part]
    found = np.setdiff1d(key[inside & (log.feedback == kind)], known)
    return found // log.n_items, found % log.n_items


def top_lists(data, users: np.ndarray, at, k: int) -> np.ndarray:
    """What a recommender that knows likes alone would show: int64 [B, k] items, best first, 0 = missing (ours).

    Item-item cosine over the likes before each user's moment; what a user has seen by then is not shown again.
    """
    log = data.log
    before = log.time < moments(data, at)[log.user]
    likes = _matrix(log, before & (log.feedback == POSITIVE))
    length = np.sqrt(np.bincount(likes.indices, minlength=log.n_items))
    scaled = likes @ scipy.sparse.diags(1 / np.maximum(length, 1))
    similar = scaled.T @ scaled
    similar = similar - scipy.sparse.diags(similar.diagonal())
    shown = _matrix(log, before)
    lists = np.zeros((len(users), k), dtype=np.int64)
    for first in range(0, len(users), 512):
        part = users[first : first + 512]
        scores = (likes[part] @ similar).toarray()
        scores[shown[part].nonzero()] = -1
        scores[:, 0] = -1
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        lists[first : first + 512, : best.shape[1]] = np.where(np.take_along_axis(scores, best, axis=1) > 0, best, 0)
    return lists


def _matrix(log, mask: np.ndarray) -> scipy.sparse.csr_matrix:
    """Users x items, 1 where an event of the mask is."""
    values = np.ones(int(mask.sum()), dtype=np.float32)
    matrix = scipy.sparse.csr_matrix((values, (log.user[mask], log.item[mask])), (log.n_users, log.n_items))
    matrix.data[:] = 1
    return matrix
