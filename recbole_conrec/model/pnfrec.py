"""PNFRec: two encoders for two kinds of feedback over the same items."""

from typing import Literal

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.model.sequential_recommender import SASRec
from torch.nn.functional import cross_entropy

from recbole_conrec.data.events import NEGATIVE, POSITIVE
from recbole_conrec.data.protocol import DataOptions
from recbole_conrec.dense.scores import target_scores
from recbole_conrec.dense.targets import Histories, Targets
from recbole_conrec.options.schema import NonNegative, Options


class PNFRecOptions(Options):
    """Options of PNFRec, beside those of RecBole's SASRec."""

    leading: Literal["negative", "positive"] = "negative"
    """The kind of the main cross-entropy and of the contrastive term; the paper's is positive."""
    other_weight: NonNegative = 0.45
    """Weight of the other kind's cross-entropy."""
    contrastive_weight: NonNegative = 0.25
    """Weight of the contrastive term against the opposing history."""


class PNFRec(SequentialRecommender):
    r"""Likes and dislikes are encoded apart and share the embeddings of items (Ivanova, Frolov, Vasilev, RecSys 2025,
    arXiv 2508.14786):

        L = CE_leading + neg * CE_other + con * L_con,          neg = 0.45, con = 0.25 in the paper's code
        L_con = - log  exp(h . e_y) / ( exp(h . e_y) + sum over j in the user's opposing history of exp(h . e_j) )

    CE_leading is the next item of one kind of feedback given the history of that kind, CE_other the same for the
    other kind and its own encoder; h and y belong to the leading kind. The score of a dislike is always the one of
    the negative encoder, h- . e_j.

    Departures (ours). The paper predicts likes: there the positive encoder leads, and it alone is used for prediction.
    Here the roles are exchanged (``leading: negative``: the same equations for the task of this benchmark);
    ``leading: positive`` keeps the paper's training and reads its negative encoder. The paper's contrastive term takes
    the user's whole opposing sequence, what lies in the future of y included; here it is the opposing history before
    y. Both encoders are RecBole's SASRec, trained on one position per instance; likes are drawn from the training
    events, as many in a batch as there are next-dislike instances. With ``context: negative`` no like may be seen:
    what is left is the negative encoder with its cross-entropy, which is SASRec on dislikes.
    """

    OPTIONS = PNFRecOptions

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        options = PNFRecOptions.of(config)
        self.leading = options.leading
        self.other_weight, self.contrastive_weight = options.other_weight, options.contrastive_weight
        self.negative = SASRec(config, dataset)
        self.dislikes = Histories(dataset.log, (NEGATIVE,), self.max_seq_length)
        self.both = DataOptions.of(config).context == "both"
        if self.both:
            self.positive = SASRec(config, dataset)
            self.positive.item_embedding = self.negative.item_embedding
            self.likes, self.liked = (
                Histories(dataset.log, (POSITIVE,), self.max_seq_length),
                Targets(dataset, (POSITIVE,)),
            )

    def calculate_loss(self, interaction):
        begin, end = self._rows(interaction)
        dislike = self._encoded(self.negative, self.dislikes, begin, end), interaction[self.POS_ITEM_ID]
        if not self.both:
            return cross_entropy(dislike[0] @ self._items.T, dislike[1])
        drawn = self.liked.draw(len(interaction))
        like = (
            self._encoded(self.positive, self.likes, drawn.begin, drawn.end),
            torch.from_numpy(drawn.item).to(self._items.device),
        )
        if self.leading == "negative":
            leading, other, opposing = dislike, like, self.likes.before(begin, end, self._items.device)[0]
        else:
            leading, other, opposing = (
                like,
                dislike,
                self.dislikes.before(drawn.begin, drawn.end, self._items.device)[0],
            )
        losses = [cross_entropy(h @ self._items.T, y) for h, y in (leading, other)]
        return losses[0] + self.other_weight * losses[1] + self.contrastive_weight * self._contrast(*leading, opposing)

    def _contrast(self, h, y, opposing):
        """L_con of encodings h [B, d], targets y [B] and opposing histories [B, L], 0-padded."""
        columns = torch.cat([y[:, None], opposing], dim=1)
        similar = (self._items[columns] @ h[:, :, None]).squeeze(-1).masked_fill(columns == 0, -torch.inf)
        return cross_entropy(similar, torch.zeros_like(y))

    @property
    def _items(self) -> torch.Tensor:
        return self.negative.item_embedding.weight

    def _rows(self, interaction):
        return (interaction[field].cpu().numpy() for field in ("history_begin", "history_end"))

    def _encoded(self, encoder: SASRec, histories: Histories, begin, end) -> torch.Tensor:
        items, _, lengths = histories.before(begin, end, self._items.device)
        return encoder.forward(items, lengths)

    def full_sort_predict(self, interaction):
        return self._encoded(self.negative, self.dislikes, *self._rows(interaction)) @ self._items.T

    def predict(self, interaction) -> torch.Tensor:
        return target_scores(self, interaction)
