"""RecBole's classifiers of a history and an item, trained on the labels that feedback gives."""

import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import SequentialRecommender

from recbole_conrec.data.events import EXPOSURE, POSITIVE
from recbole_conrec.data.protocol import DataOptions
from recbole_conrec.dense.targets import Histories, Targets

_PAIRS = 1 << 12  # pairs of a history and an item that are judged at a time


class FeedbackLabels(SequentialRecommender):
    """Put before a RecBole model that reads a label, such as DIN: it then judges whether an item will be disliked.

    The label of the next-dislike instances of RecBole's loader is 1. As many other training events, likes and exposures
    without opinion, are drawn for each batch; their label is 0, and each has the history before its own time. The top K
    comes from judging every item: B * n_items passes of the network.
    """

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.negatives = self.NEG_ITEM_ID + self.ITEM_SEQ.removeprefix(self.ITEM_ID)
        self.histories = Histories(dataset.log, DataOptions.of(config).kinds, self.max_seq_length)
        self.others = Targets(dataset, (EXPOSURE, POSITIVE))

    def calculate_loss(self, interaction):
        n, others = len(interaction), self.others.draw(len(interaction))
        item_seq, _, length = self.histories.before(others.begin, others.end, self.device)
        user, item = (torch.from_numpy(column).to(self.device) for column in (others.user, others.item))
        names = (self.USER_ID, self.POS_ITEM_ID, self.ITEM_SEQ, self.ITEM_SEQ_LEN)
        columns = zip(names, (user, item, item_seq, length), strict=True)
        fields = {name: torch.cat([interaction[name], column]) for name, column in columns}
        fields[self.LABEL_FIELD] = (torch.arange(2 * n, device=self.device) < n).float()
        shown = fields[self.ITEM_SEQ]
        fields[self.negatives] = torch.randint(1, self.n_items, shown.shape).to(self.device).masked_fill(shown == 0, 0)
        return super().calculate_loss(Interaction(fields))

    def predict(self, interaction):
        """Float [B]: the probability that ``item_id`` is disliked."""
        fields = {**interaction.interaction, self.negatives: interaction[self.ITEM_SEQ]}  # of use in training alone
        return super().predict(Interaction(fields))

    def full_sort_predict(self, interaction):
        """The probability of every item, float [B, n_items]."""
        fields = (self.USER_ID, self.ITEM_SEQ, self.ITEM_SEQ_LEN)
        pairs = torch.cartesian_prod(torch.arange(len(interaction)), torch.arange(self.n_items)).to(self.device)
        parts = [
            self.predict(Interaction({**{name: interaction[name][row] for name in fields}, self.POS_ITEM_ID: item}))
            for row, item in (part.T for part in pairs.split(_PAIRS))
        ]
        return torch.cat(parts).view(len(interaction), -1)
