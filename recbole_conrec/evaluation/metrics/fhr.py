"""FHR@K."""

from recbole_conrec.evaluation.metrics.arrays import any_listed
from recbole_conrec.evaluation.metrics.base import Metric


class FHR(Metric):
    """Future hit rate: 1 where any item of F, the dislikes of [t0, t0 + window], is in the top K.

    NaN where F is empty. (That any hit counts is ours: the paper does not say.)
    """

    def values(self, predictions, truth, k):
        return any_listed(predictions.items, truth.f_ptr, truth.f_items)
