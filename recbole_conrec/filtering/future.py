"""What happens after a cut: the likes and dislikes that a filter should separate, and what would be shown."""

import numpy as np
import scipy.sparse

from recbole_conrec.data.dataset import NegativeFeedbackDataset
from recbole_conrec.data.events import EXPOSURE, POSITIVE, EventLog
from recbole_conrec.data.splits import TEST, VALID
from recbole_conrec.filtering.sets import moments

PART = {"valid": VALID, "test": TEST}


def future_pairs(data: NegativeFeedbackDataset, part: str, kind: int) -> tuple[np.ndarray, np.ndarray]:
    """The distinct pairs of a user and an item, int64 [N] each, that have a reaction in the 'valid' or 'test' part.

    Args:
        kind: NEGATIVE for dislikes, POSITIVE for likes.

    Items to which the user reacted before the part begins are left out: they are not new to the user.
    """
    log = data.log
    key = log.user * log.n_items + log.item
    begin = moments(data, part)[log.user]
    known = np.unique(key[(log.feedback != EXPOSURE) & (log.time < begin)])
    inside = data.cuts.part(log.user, log.time) == PART[part]
    found = np.setdiff1d(key[inside & (log.feedback == kind)], known)
    return found // log.n_items, found % log.n_items


def top_lists(data: NegativeFeedbackDataset, users: np.ndarray, at, k: int) -> np.ndarray:
    """The lists of a recommender that uses only likes (ours): int64 [B, k] items, best first, 0 = missing.

    Item-item cosine over the likes before each user's moment ``at``, see
    :func:`recbole_conrec.filtering.sets.moments`; items that a user saw before are not listed again. A list has no more
    places than the catalogue has items.
    """
    log = data.log
    before = log.time < moments(data, at)[log.user]
    likes = _matrix(log, before & (log.feedback == POSITIVE))
    length = np.sqrt(np.bincount(likes.indices, minlength=log.n_items))
    scaled = likes @ scipy.sparse.diags(1 / np.maximum(length, 1))
    similar = scaled.T @ scaled
    similar = similar - scipy.sparse.diags(similar.diagonal())
    shown = _matrix(log, before)
    k = min(k, log.n_items)
    lists = np.zeros((len(users), k), dtype=np.int64)
    for first in range(0, len(users), 512):
        part = users[first : first + 512]
        scores = (likes[part] @ similar).toarray()
        scores[shown[part].nonzero()] = -1
        scores[:, 0] = -1
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        lists[first : first + 512, : best.shape[1]] = np.where(np.take_along_axis(scores, best, axis=1) > 0, best, 0)
    return lists


def _matrix(log: EventLog, mask: np.ndarray) -> scipy.sparse.csr_matrix:
    """float32 [n_users, n_items], 1 where the mask (bool, of events) holds an event."""
    values = np.ones(int(mask.sum()), dtype=np.float32)
    matrix = scipy.sparse.csr_matrix((values, (log.user[mask], log.item[mask])), (log.n_users, log.n_items))
    matrix.data[:] = 1
    return matrix
