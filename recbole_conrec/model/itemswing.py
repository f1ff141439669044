"""Item-item Swing of negatives."""

import numpy as np
import torch
from scipy.sparse import csr_matrix

from recbole_conrec.data.counts import training_dislikes
from recbole_conrec.data.events import NEGATIVE, FeedbackStream
from recbole_conrec.dense.scores import target_scores
from recbole_conrec.dense.untrained import UntrainedRecommender


class ItemSwing(UntrainedRecommender):
    r"""A user is expected to dislike the Swing neighbours of what they disliked:

        score(u, j) = sum over i in D(u) of s(i, j)                     if any s(i, j) > 0
                      N_j / (1 + max N) - 1, which is in [-1, 0),       otherwise

    D(u) are the items that u disliked before t0, s the Swing similarity over the training negatives (see
    :mod:`recbole_conrec.data.swing` and the option ``swing``), and N_j how many training events dislike j: items that
    are no neighbour of D(u) come after all others, by popularity.
    """

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.log = dataset.log
        self.similarity = dataset.swing().matrix()
        self.negatives = FeedbackStream(self.log, (NEGATIVE,))
        count = training_dislikes(dataset)
        self.register_buffer("fallback", torch.from_numpy(count / (1 + count.max()) - 1).float())

    def predict(self, interaction) -> torch.Tensor:
        return target_scores(self, interaction)

    def full_sort_predict(self, interaction) -> torch.Tensor:
        begin, end = (interaction[field].cpu().numpy() for field in ("history_begin", "history_end"))
        ptr, events = self.negatives.csr(begin, end)
        past = csr_matrix((np.ones(len(events)), self.log.item[events], ptr), shape=(len(begin), self.log.n_items))
        past.sum_duplicates()
        past.data[:] = 1  # D(u) is a set: disliking an item twice does not make it count twice
        scores = torch.from_numpy((past @ self.similarity).toarray()).to(self.fallback)
        return torch.where(scores > 0, scores, self.fallback)
