"""SASRec with the not-to-recommend loss."""

import torch

from recbole_conrec.dense.likes import LikeSASRec
from recbole_conrec.options.schema import NonNegative, Options


class NotToRecommendOptions(Options):
    """Options of NotToRecommend, beside those of RecBole's SASRec."""

    not_to_recommend: NonNegative = 1000.0
    """Weight of the loss on dislikes."""


class NotToRecommend(LikeSASRec):
    r"""A model of likes that is also taught what not to recommend (Wang et al., RecSys 2023, arXiv 2308.12256):

        L = CE(y+) + w * ( - log(1 - p(y- | history)) ),   p = softmax(h . E),   score(dislike j) = - h . e_j

    y+ are liked training events, y- the next-dislike instances, w the option ``not_to_recommend``. One model of
    likes, ranked from its bottom.

    Departures (ours): the paper recommends from the top, and the bottom of its list is not measured; its retrieval
    model is an RNN over many features with a sampled softmax, here it is RecBole's SASRec with a full softmax and one
    vector for disliked events in the history (see dense/likes.py). Where p is small, so is the gradient of -log(1 - p):
    the loss pushes down what would be recommended, and orders little below that.
    """

    OPTIONS = NotToRecommendOptions

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.weight = NotToRecommendOptions.of(config).not_to_recommend

    def calculate_loss(self, interaction):
        logits, disliked = self.like_logits(interaction), interaction[self.POS_ITEM_ID][:, None]
        others = logits.scatter(1, disliked, -torch.inf).logsumexp(dim=1)  # log of the sum over all but y-
        not_recommended = (logits.logsumexp(dim=1) - others).mean()  # -log(1 - p), stable where p is near 1
        return self.like_loss(len(interaction)) + self.weight * not_recommended
