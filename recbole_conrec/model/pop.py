"""Popularity among negatives."""

import numpy as np
import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType

from recbole_conrec.data.events import NEGATIVE


class Pop(SequentialRecommender):
    r"""Everybody is expected to dislike what most users disliked:

        score(u, j) = N_j = |{training events in which j is disliked}|

    RecBole's own Pop counts every training interaction, whatever its feedback. Nothing is learned; the one parameter
    is there because RecBole's trainer wants something to optimise.
    """

    input_type = InputType.POINTWISE

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.register_buffer("count", torch.from_numpy(negative_counts(dataset)).float())
        self.fake_loss = torch.nn.Parameter(torch.zeros(1))

    def calculate_loss(self, interaction):
        return self.fake_loss.sum()

    def predict(self, interaction):
        return self.count[interaction[self.ITEM_ID]]

    def full_sort_predict(self, interaction):
        return self.count.repeat(len(interaction), 1)


def negative_counts(dataset) -> np.ndarray:
    """int64 [n_items]: negative events of each item among the training events."""
    log = dataset.log
    disliked = dataset.train_mask & (log.feedback == NEGATIVE)
    return np.bincount(log.item[disliked], minlength=log.n_items)
