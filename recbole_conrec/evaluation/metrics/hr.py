"""HR@K."""

import numpy as np

from recbole_conrec.evaluation.metrics.base import Metric


class HR(Metric):
    """Hit rate: 1 where the item of the instance, disliked at t0, is in the top K. No window."""

    def values(self, predictions, truth, k):
        items = predictions.items
        return ((items == truth.next[:, None]) & (items > 0)).any(axis=1).astype(np.float64)
