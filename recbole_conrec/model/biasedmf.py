"""Biased matrix factorisation of the feedback itself."""

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType

from recbole_conrec.data.events import EXPOSURE, NEGATIVE, POSITIVE
from recbole_conrec.dense.scores import target_scores
from recbole_conrec.dense.targets import Targets
from recbole_conrec.options.schema import Count, NonNegative, Options, Share


class BiasedMFOptions(Options):
    """Options of BiasedMF."""

    factors: Count = 16
    """Length of the vectors of users and items."""
    exposures: Share | None = 0
    """The label of events without opinion, from 0 (as a like) to 1 (as a dislike), which fit the biases alone; null:
    they are left out."""
    l2: NonNegative = 0.1
    """Weight of the penalty on vectors and biases."""


class BiasedMF(SequentialRecommender):
    r"""Will this user dislike this item, if it is shown? (Koren, Bell, Volinsky 2009, on labels instead of ratings):

        score(u, j) = mu + b_u + b_j + p_u . q_j,        L = mean (score - y)^2 + l2 (|p_u|^2 + |q_j|^2 + b_u^2 + b_j^2)

    y is 1 for a dislike, 0 for a like and ``exposures`` for events without opinion; mu is the mean of y. An epoch draws
    as many training events as there are, whatever their feedback. What is not in them is unknown to it: a user who
    comes later has no vector, and is given the items by their bias. It judges shown items and is meant for candidates.

    Events without opinion fit the biases and leave the vectors alone (ours): the distractors of candidates are the
    user's own earlier exposures, and vectors that are fitted to such pairs remember them, which CandAcc would reward
    (docs/references.md).
    """

    OPTIONS = BiasedMFOptions
    input_type = InputType.POINTWISE

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.options = options = BiasedMFOptions.of(config)
        kinds = (NEGATIVE, POSITIVE) if options.exposures is None else (NEGATIVE, EXPOSURE, POSITIVE)
        self.events = Targets(dataset, kinds)
        self.per_instance = len(self.events) / max(len(dataset), 1)  # so that an epoch is one pass over the events
        self.feedback = dataset.log.feedback
        self.n_users, width = dataset.num(self.USER_ID), options.factors
        self.user_factors = torch.nn.Embedding(self.n_users, width)
        self.item_factors = torch.nn.Embedding(self.n_items, width)
        self.user_bias, self.item_bias = torch.nn.Embedding(self.n_users, 1), torch.nn.Embedding(self.n_items, 1)
        torch.nn.init.normal_(self.item_factors.weight, std=0.1)
        for start in (self.user_factors, self.user_bias, self.item_bias):  # those of strangers stay 0
            torch.nn.init.zeros_(start.weight)
        self.register_buffer("mean", self._labels(self.events.instances.row).mean())

    def _labels(self, rows) -> torch.Tensor:
        """The label of each of these rows of the log: float [N]."""
        feedback = torch.from_numpy(self.feedback[rows])
        return (feedback == NEGATIVE).float() + (feedback == EXPOSURE) * float(self.options.exposures or 0)

    def calculate_loss(self, interaction) -> torch.Tensor:
        drawn = self.events.draw(max(round(len(interaction) * self.per_instance), 1))
        user, item = (torch.from_numpy(column).to(self.device) for column in (drawn.user, drawn.item))
        parts = [table(user) for table in (self.user_factors, self.user_bias)]
        parts += [table(item) for table in (self.item_factors, self.item_bias)]
        p, b_u, q, b_j = parts
        opinion = torch.from_numpy(self.feedback[drawn.row] != EXPOSURE).to(self.device)
        scores = self.mean + b_u[:, 0] + b_j[:, 0] + opinion * (p * q).sum(dim=1)
        penalty = sum(part.square().sum(dim=1) for part in parts)
        wrong = (scores - self._labels(drawn.row).to(self.device)).square()
        return (wrong + self.options.l2 * penalty).mean()

    def predict(self, interaction) -> torch.Tensor:
        return target_scores(self, interaction)

    def full_sort_predict(self, interaction) -> torch.Tensor:
        user = interaction[self.USER_ID]
        scores = self.user_factors(user) @ self.item_factors.weight.T
        return self.mean + self.user_bias(user) + self.item_bias.weight[:, 0] + scores
