"""AUCLike."""

from recbole_conrec.evaluation.metrics.pairwise import PairwiseAUC


class AUCLike(PairwiseAUC):
    """AUC of dislikes against likes: 1 where the item of the instance scores above an item that the user likes in
    [t0, t0 + window], 1/2 where both score the same.

    Both are scored at t0. The liked item is drawn, by seed, once for all methods (``truth.further.pairs``). NaN where
    there is none. (Ours.)
    """

    other = 0
