"""Popularity among negatives."""

import torch

from recbole_conrec.data.counts import training_dislikes
from recbole_conrec.dense.untrained import UntrainedRecommender


class Pop(UntrainedRecommender):
    r"""Everybody is expected to dislike what most users disliked:

        score(u, j) = N_j = |{training events in which j is disliked}|

    RecBole's own Pop counts every training interaction, whatever its feedback.
    """

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.register_buffer("count", torch.from_numpy(training_dislikes(dataset)).float())

    def predict(self, interaction) -> torch.Tensor:
        return self.count[interaction[self.ITEM_ID]]

    def full_sort_predict(self, interaction) -> torch.Tensor:
        return self.count.repeat(len(interaction), 1)
