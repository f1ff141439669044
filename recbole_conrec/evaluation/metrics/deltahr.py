"""DeltaHR@K."""

from recbole_conrec.evaluation.metrics.arrays import any_listed
from recbole_conrec.evaluation.metrics.base import Metric


class DeltaHR(Metric):
    """FHR less LikeHR: whether the top K hits the dislikes of [t0, t0 + window], less whether it hits its likes.

    From -1 to 1. NaN where the window has no dislike or no like. (Ours.)
    """

    needs = ("items", "further")

    def values(self, predictions, truth, k):
        disliked = any_listed(predictions.items, truth.f_ptr, truth.f_items)
        return disliked - any_listed(predictions.items, *truth.further.likes)
