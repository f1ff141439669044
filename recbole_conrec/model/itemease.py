"""EASE on dislikes: a linear item-item model in closed form."""

from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from scipy import sparse

from recbole_conrec.data.events import NEGATIVE
from recbole_conrec.dense.decayed import DecayedHistories
from recbole_conrec.dense.fitted import FittedRecommender
from recbole_conrec.dense.ridge import NormalEquations, most_frequent, places
from recbole_conrec.dense.scores import target_scores
from recbole_conrec.options.schema import Count, NonNegative, Options, Positive


class ItemEASEOptions(Options):
    """Options of ItemEASE."""

    l2: Positive = 300
    """Weight of the penalty."""
    decay: Annotated[int | float, Field(gt=0, le=1)] = 0.9
    """Weight of a dislike of the history against that of the one after it; 1: all weigh the same, as in the paper."""
    popularity: NonNegative = 0.0001
    """Weight of popularity beside the scores; a small one orders what the history leaves level."""
    features: Count = 5000
    """Most disliked items that are kept; memory and time grow with their square and cube."""


class ItemEASE(FittedRecommender):
    r"""Which dislikes go together (Steck, WWW 2019, arXiv 1905.03375), on dislikes instead of likes:

        P = (X'X + l2 I)^-1,   B_ij = -P_ij / P_jj,   B_jj = 0
        score(u, j) = sum over i in D(u) of decay^age(i) B_ij  +  popularity * N_j / sum N

    X are the training dislikes, users x items, 0 or 1; D(u) what u disliked before t0, the last of them of age 0.
    Departures (ours): the paper weighs all of the history alike (``decay: 1``); items outside the ``features`` most
    disliked ones are left out of B and ordered by popularity. N_j follows the option ``as_of``.
    """

    OPTIONS = ItemEASEOptions

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.options = options = ItemEASEOptions.of(config)
        self.log, self.side = dataset.log, dataset.side
        self.rows = np.flatnonzero(dataset.train_mask & (self.log.feedback == NEGATIVE))
        n = self.log.n_items
        self.kept = most_frequent(np.bincount(self.log.item[self.rows], minlength=n), options.features)
        columns = places(self.kept, 2 * n)
        self.histories = DecayedHistories(self.log, (NEGATIVE,), self.max_seq_length, options.decay, columns)
        self.weights = self.frozen(len(self.kept), len(self.kept))

    def fit(self) -> None:
        column = self.histories.columns[self.log.item[self.rows]]
        pairs = np.unique(np.column_stack([self.log.user[self.rows], column])[column >= 0], axis=0)
        shape = (self.log.n_users, len(self.kept))
        x = sparse.csr_matrix((np.ones(len(pairs), dtype=np.float32), pairs.T), shape=shape)
        equations = NormalEquations(len(self.kept), 0, self.options.l2)
        equations.add(x, sparse.csr_matrix((shape[0], 0), dtype=np.float32))
        inverse = equations.inverse()
        weights = -inverse / np.diag(inverse)
        np.fill_diagonal(weights, 0)
        self.weights.copy_(torch.from_numpy(weights))

    def predict(self, interaction) -> torch.Tensor:
        return target_scores(self, interaction)

    def full_sort_predict(self, interaction) -> torch.Tensor:
        begin, end, t0 = (interaction[field].cpu().numpy() for field in ("history_begin", "history_end", "t0"))
        counts = self.side.counts((NEGATIVE,), t0)
        scores = self.options.popularity * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        scores[:, self.kept] += self.histories.before(begin, end) @ self.weights.cpu().numpy()
        return torch.from_numpy(scores.astype(np.float32)).to(self.device)
