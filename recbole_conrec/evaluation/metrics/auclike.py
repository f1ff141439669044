"""AUCLike."""

from recbole_conrec.evaluation.metrics.arrays import above
from recbole_conrec.evaluation.metrics.base import Metric


class AUCLike(Metric):
    """AUC of dislikes against likes: 1 where the item of the instance scores above an item that the user likes in
    [t0, t0 + window], 1/2 where both score the same.

    Both are scored at t0. The liked item is drawn, by seed, once for all methods (``truth.further.pairs``). NaN where
    there is none. (Ours.)
    """

    per_k = False
    needs = ("pairs", "further")

    def values(self, predictions, truth, k):
        return above(predictions.pairs[:, 0], predictions.pairs[:, 1], truth.further.pairs[:, 0] > 0)
