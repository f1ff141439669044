"""Item-item Swing of negatives."""

import numpy as np
import torch
from scipy.sparse import csr_matrix

from recbole_conrec.data.events import NEGATIVE, FeedbackStream
from recbole_conrec.dense.scores import target_scores
from recbole_conrec.dense.untrained import UntrainedRecommender


class ItemSwing(UntrainedRecommender):
    r"""A user is expected to dislike the Swing neighbours of what they disliked:

        score(u, j) = sum over i in D(u) of s(i, j)                     if any s(i, j) > 0
                      N_j / (1 + max N) - 1, which is in [-1, 0),       otherwise

    D(u) are the items that u disliked before t0, s is the Swing similarity (:mod:`recbole_conrec.data.swing`, option
    ``swing``), and N_j how often j was disliked: items that are no neighbour of D(u) come after all others, by
    popularity. s and N count the training events, or all events before t0 (option ``as_of``).
    """

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.log, self.side = dataset.log, dataset.side
        self.negatives = FeedbackStream(self.log, (NEGATIVE,))

    def predict(self, interaction) -> torch.Tensor:
        return target_scores(self, interaction)

    def full_sort_predict(self, interaction) -> torch.Tensor:
        begin, end, t0 = (interaction[field].cpu().numpy() for field in ("history_begin", "history_end", "t0"))
        ptr, events = self.negatives.csr(begin, end)
        past = csr_matrix((np.ones(len(events)), self.log.item[events], ptr), shape=(len(begin), self.log.n_items))
        past.sum_duplicates()
        past.data[:] = 1  # D(u) is a set: disliking an item twice does not make it count twice
        scores = np.empty(past.shape, dtype=np.float32)
        for those, neighbours in self.side.swing(t0):
            scores[those] = (past[those] @ neighbours.matrix()).toarray()
        counts = self.side.counts((NEGATIVE,), t0)
        by_popularity = counts / (1 + counts.max(axis=1, keepdims=True)) - 1
        return torch.from_numpy(np.where(scores > 0, scores, by_popularity.astype(np.float32))).to(self.device)
