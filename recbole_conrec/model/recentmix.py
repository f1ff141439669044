"""Recent exposures and dislikes of all users: the reference of the prior that other methods are offered."""

import torch

from recbole_conrec.dense.scores import target_scores
from recbole_conrec.dense.untrained import UntrainedRecommender


class RecentMix(UntrainedRecommender):
    r"""The prior of recbole_conrec/runs/present.py and nothing else:

        score(u, j, t0) = a log r_j + b log e_j + c log q_j

    with the recent rate of dislikes r, that of events e, and the share of dislikes q of item j before t0; a, b, c are
    chosen on validation. It knows no user: what a method has above it is taste.
    """

    takes_present = prior_alone = True

    def predict(self, interaction) -> torch.Tensor:
        return target_scores(self, interaction)

    def full_sort_predict(self, interaction) -> torch.Tensor:
        return torch.zeros(len(interaction), self.n_items, device=self.device)
