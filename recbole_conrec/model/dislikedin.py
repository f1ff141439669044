"""DislikeDIN: RecBole's DIN as a pointwise judge of shown items."""

from typing import Literal

import torch
from recbole.data.interaction import Interaction
from recbole.model.sequential_recommender import DIN

from recbole_conrec.data.events import EXPOSURE, POSITIVE
from recbole_conrec.data.protocol import DataOptions
from recbole_conrec.dense.targets import Histories, Targets
from recbole_conrec.options.schema import Count, Options

_PAIRS = 1 << 14  # pairs of a history and an item that are judged at a time


class DislikeDINOptions(Options):
    """Options of DislikeDIN, beside those of RecBole's DIN."""

    contrast: Literal["shown", "random"] = "shown"
    """What a dislike is contrasted with: other training events (shown), or any items (random)."""
    contrast_items: Count = 4
    """Contrasting items for each dislike."""


class DislikeDIN(DIN):
    r"""How likely is this user to dislike this item? Deep Interest Network (Zhou et al., KDD 2018) as a classifier:

        p = sigmoid( MLP( a, e_j, a * e_j ) ),   a = sum over i in the history of w(e_j, e_i) e_i,   L = BCE(p, y)

    The network is RecBole's class, over all features of the .item file. y = 1 for the next-dislike instances; each of
    them is contrasted with ``contrast_items`` with y = 0: with ``contrast: shown`` other training events (likes and
    exposures without opinion) with the history before their own time, with ``contrast: random`` any items, uniformly,
    under the history of the instance. The first asks "disliked, given that it was shown", which is what CandAcc asks;
    the second "disliked rather than never met", which a top K of the whole catalogue needs.

    The top K comes from judging every item: B * n_items passes of a small network, for catalogues of some 10^4 items.
    (It is exact: :meth:`full_sort_predict` gives DIN's own logits; only the embeddings are looked up once.)
    """

    OPTIONS = DislikeDINOptions

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        options = DislikeDINOptions.of(config)
        self.contrast_items = options.contrast_items
        kinds = DataOptions.of(config).kinds
        self.histories = Histories(dataset.log, kinds, self.max_seq_length)
        self.shown = Targets(dataset, (EXPOSURE, POSITIVE)) if options.contrast == "shown" else None

    def calculate_loss(self, interaction):
        names = (self.USER_ID, self.POS_ITEM_ID, self.ITEM_SEQ, self.ITEM_SEQ_LEN)
        ones = [interaction[name] for name in names]
        zeros = self._contrast(*ones)
        fields = {name: torch.cat(pair) for name, *pair in zip(names, ones, zeros, strict=True)}
        labels = torch.arange(len(fields[self.USER_ID]), device=self.device) < len(interaction)
        return super().calculate_loss(Interaction({**fields, self.LABEL_FIELD: labels.float()}))

    def _contrast(self, user, item, item_seq, length):
        """The same four columns, of examples that are no dislikes."""
        n = len(user) * self.contrast_items
        if self.shown is None:
            again = (column.repeat_interleave(self.contrast_items, dim=0) for column in (user, item_seq, length))
            user, item_seq, length = again
            return user, torch.randint(1, self.n_items, (n,)).to(self.device), item_seq, length
        events = self.shown.draw(n)
        item_seq, _, length = self.histories.before(events.begin, events.end, self.device)
        user, item = (torch.from_numpy(column).to(self.device) for column in (events.user, events.item))
        return user, item, item_seq, length

    def full_sort_predict(self, interaction):
        """Logits of every item, [B, n_items]."""
        table = self._item_vectors()
        item_seq, lengths = interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]
        pairs = torch.cartesian_prod(torch.arange(len(item_seq)), torch.arange(self.n_items)).to(item_seq.device)
        return torch.cat(
            [
                self._judge(table[item_seq[row]], lengths[row], table[item])
                for row, item in (part.T for part in pairs.split(_PAIRS))
            ]
        ).view(len(item_seq), -1)

    def _item_vectors(self):
        """Float [n_items, features * embedding_size]: what DIN reads of each item."""
        everything = torch.arange(self.n_items, device=self.device)[None]
        sparse, dense = self.embedding_layer(everything.new_zeros(1), everything)  # no user feature reaches DIN's MLP
        parts = [part["item"] for part in (sparse, dense) if part["item"] is not None]
        return torch.cat(parts, dim=-2).flatten(-2)[0]

    def _judge(self, history, lengths, target):
        interest = self.attention(target, history, lengths).squeeze(1)
        seen = torch.cat([interest, target, interest * target], dim=-1)
        return self.dnn_predict_layers(self.dnn_mlp_layers(seen)).squeeze(1)
