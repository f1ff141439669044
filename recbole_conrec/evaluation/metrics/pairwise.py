"""What AUCLike and AUCNeutral share."""

from abc import abstractmethod

from recbole_conrec.evaluation.metrics.arrays import above
from recbole_conrec.evaluation.metrics.base import Metric


class PairwiseAUC(Metric):
    """AUC of dislikes against other events: 1 where the item of the instance scores above the other event's item, 1/2
    where both score the same.

    Both are scored at t0. The other item is drawn, by seed, once for all methods (``truth.further.pairs``). NaN where
    there is none.
    """

    per_k = False
    needs = ("pairs", "further")

    @property
    @abstractmethod
    def other(self) -> int:
        """The column of ``truth.further.pairs`` that holds the other item."""

    def values(self, predictions, truth, k):
        scores, there = predictions.pairs, truth.further.pairs[:, self.other] > 0
        return above(scores[:, 0], scores[:, 1 + self.other], there)
