"""A model of likes, read upside down: what ReversedSASRec and NotToRecommend share."""

import torch
from recbole.model.sequential_recommender import SASRec
from torch import nn

from recbole_conrec.data.events import POSITIVE
from recbole_conrec.data.protocol import DataOptions
from recbole_conrec.dense.scores import target_scores
from recbole_conrec.dense.targets import Histories, Targets


class SignedEmbedding(nn.Embedding):
    """Item embeddings that distinguish a liked item from a disliked one: id -7 is item 7 plus one learned vector."""

    def __init__(self, n_items: int, dim: int):
        super().__init__(n_items, dim, padding_idx=0)
        self.disliked = nn.Parameter(torch.zeros(dim))

    def forward(self, ids):
        return super().forward(ids.abs()) + (ids < 0).unsqueeze(-1) * self.disliked


class LikeSASRec(SASRec):
    """RecBole's SASRec, trained to predict the next liked item and ranked from its bottom.

    The liked events are drawn from all training events with positive feedback, as many in a batch as RecBole's loader
    gives next-dislike instances. Where the history holds both kinds of feedback, one learned vector is added to the
    embedding of each disliked item (ours: without it a model of likes could not know which half to follow).
    """

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        if self.loss_type != "CE":
            raise NotImplementedError("loss_type: only CE is supported here")
        kinds = DataOptions.of(config).kinds
        self.histories = Histories(dataset.log, kinds, self.max_seq_length)
        self.likes = Targets(dataset, (POSITIVE,))
        self.item_embedding = SignedEmbedding(self.n_items, self.hidden_size)
        self.item_embedding.apply(self._init_weights)

    def like_loss(self, n: int) -> torch.Tensor:
        """The cross-entropy of n liked training events given what came before each."""
        events, device = self.likes.draw(n), self.item_embedding.weight.device
        items, feedback, lengths = self.histories.before(events.begin, events.end, device)
        logits = self.forward(items * feedback, lengths) @ self.item_embedding.weight.T
        return self.loss_fct(logits, torch.from_numpy(events.item).to(device))

    def like_logits(self, interaction) -> torch.Tensor:
        """Float [B, n_items]: how likely each item is the next like."""
        signed = interaction[self.ITEM_SEQ] * interaction["feedback_list"]
        return self.forward(signed, interaction[self.ITEM_SEQ_LEN]) @ self.item_embedding.weight.T

    def full_sort_predict(self, interaction) -> torch.Tensor:
        return -self.like_logits(interaction)

    def predict(self, interaction) -> torch.Tensor:
        return target_scores(self, interaction)
