"""LIF@K."""

import numpy as np

from recbole_conrec.evaluation.metrics.arrays import any_listed
from recbole_conrec.evaluation.metrics.base import Metric


class LIF(Metric):
    """FHR of long-tail items: 1 where any long-tail item among the dislikes of [t0, t0 + window] is in the top K.

    An item with fewer than ``long_tail`` (an option) dislikes in training is long-tail. NaN where F has none.
    """

    def values(self, predictions, truth, k):
        tail = np.asarray(truth.long_tail)[truth.f_items]
        return any_listed(predictions.items, truth.f_ptr, truth.f_items, tail)
