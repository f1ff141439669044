"""LUF@K."""

import numpy as np

from recbole_conrec.evaluation.metrics.arrays import any_listed
from recbole_conrec.evaluation.metrics.base import Metric


class LUF(Metric):
    """FHR of low-activity users: 1 where any dislike of [t0, t0 + window] is in the top K.

    NaN for users with at least ``low_activity`` (an option) dislikes before t0, and where F is empty.
    """

    def values(self, predictions, truth, k):
        return np.where(truth.low_activity, any_listed(predictions.items, truth.f_ptr, truth.f_items), np.nan)
