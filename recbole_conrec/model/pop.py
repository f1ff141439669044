"""Popularity among negatives."""

import numpy as np
import torch

from recbole_conrec.data.events import NEGATIVE
from recbole_conrec.dense.scores import target_scores
from recbole_conrec.dense.untrained import UntrainedRecommender


class Pop(UntrainedRecommender):
    r"""Everybody is expected to dislike what most users disliked:

        score(u, j) = N_j = |{events in which j is disliked}|

    of the training, or of all that lies before t0 (option ``as_of``). RecBole's own Pop counts every training
    interaction, whatever its feedback.
    """

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.side = dataset.side

    def predict(self, interaction) -> torch.Tensor:
        return target_scores(self, interaction)

    def full_sort_predict(self, interaction) -> torch.Tensor:
        counts = self.side.counts((NEGATIVE,), interaction["t0"].cpu().numpy())
        return torch.from_numpy(counts.astype(np.float32)).to(self.device)
