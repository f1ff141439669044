"""FRecall@K."""

import numpy as np

from recbole_conrec.evaluation.metrics.arrays import count_by_row, listed
from recbole_conrec.evaluation.metrics.base import Metric


class FRecall(Metric):
    """Future recall: |top K n F| / min(K, |F|), F the dislikes of [t0, t0 + window]; the other reading of FHR (ours).

    NaN where F is empty.
    """

    def values(self, predictions, truth, k):
        found = count_by_row(truth.f_ptr, listed(predictions.items, truth.f_ptr, truth.f_items))
        best = np.minimum(k, np.diff(truth.f_ptr))
        return np.divide(found, best, out=np.full(len(best), np.nan), where=best > 0)
