"""ReversedSASRec: a positive next-item model read upside down."""

import torch

from recbole_conrec.dense.likes import LikeSASRec


class ReversedSASRec(LikeSASRec):
    r"""The control for "dislike is not reversed like": SASRec trained to predict the next *liked* item,

        L = CE(h . E, y+),  score(dislike j) = - h . e_j

    with h the encoding of the history before the liked event y+. The next-dislike instances of RecBole's loader are not
    used: nothing here knows what a dislike is, except, with ``context: both``, from the history.

    Read upside down, the top of the list is what nobody liked: over a whole catalogue the figures are near zero by
    construction, and CandAcc, where all 20 items were shown, is the column to look at.
    """

    def calculate_loss(self, interaction) -> torch.Tensor:
        return self.like_loss(len(interaction))
