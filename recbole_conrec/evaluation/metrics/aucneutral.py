"""AUCNeutral."""

from recbole_conrec.evaluation.metrics.pairwise import PairwiseAUC


class AUCNeutral(PairwiseAUC):
    """AUC of dislikes against exposures: 1 where the item of the instance scores above an item that the user meets in
    [t0, t0 + window] without any reaction, 1/2 where both score the same.

    Both are scored at t0. The other item is drawn, by seed, once for all methods (``truth.further.pairs``). NaN where
    there is none. (Ours.)
    """

    other = 1
