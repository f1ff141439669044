"""LikeHR@K."""

from recbole_conrec.evaluation.metrics.arrays import any_listed
from recbole_conrec.evaluation.metrics.base import Metric


class LikeHR(Metric):
    """Hit rate on likes: 1 where any item that the user likes in [t0, t0 + window] is in the top K. Smaller is better.

    NaN where they like nothing in it. An item that they dislike in it, too, is no like. (Ours.)
    """

    needs = ("items", "further")
    smaller = True

    def values(self, predictions, truth, k):
        return any_listed(predictions.items, *truth.further.likes)
