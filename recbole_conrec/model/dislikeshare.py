"""The share of dislikes among the events of an item."""

import numpy as np
import torch

from recbole_conrec.data.events import EXPOSURE, NEGATIVE, POSITIVE
from recbole_conrec.dense.scores import target_scores
from recbole_conrec.dense.untrained import UntrainedRecommender
from recbole_conrec.options.schema import Options, Positive, Share


class DislikeShareOptions(Options):
    """Options of DislikeShare."""

    shrinkage: Positive = 2
    """Events that are added to those of each item, so that few events say little; 2 at .5 is add-one."""
    towards: Share | None = 0.5
    """The share of dislikes among the added events; null: the one of all events."""


class DislikeShare(UntrainedRecommender):
    r"""The worst items are expected to be disliked, by whoever is shown them:

        score(u, j) = (N_j + s * m) / (E_j + s)

    N_j are the dislikes among the E_j events of item j, of any feedback; s is ``shrinkage`` and m ``towards``. Counted
    in training, or in all that lies before t0 (option ``as_of``). The score does not know who is asked, nor how likely
    an item is to be met: it is meant for candidates.
    """

    OPTIONS = DislikeShareOptions

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.options, self.side = DislikeShareOptions.of(config), dataset.side

    def predict(self, interaction) -> torch.Tensor:
        return target_scores(self, interaction)

    def full_sort_predict(self, interaction) -> torch.Tensor:
        t0 = interaction["t0"].cpu().numpy()
        dislikes = self.side.counts((NEGATIVE,), t0)
        events = self.side.counts((NEGATIVE, EXPOSURE, POSITIVE), t0)
        added, share = self.options.shrinkage, self.options.towards
        if share is None:
            share = dislikes.sum(axis=1, keepdims=True) / np.maximum(events.sum(axis=1, keepdims=True), 1)
        scores = (dislikes + added * share) / (events + added)
        return torch.from_numpy(scores.astype(np.float32)).to(self.device)
