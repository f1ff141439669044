"""What methods without anything to learn share."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType

from recbole_conrec.runs.options import LOOP


class UntrainedRecommender(SequentialRecommender):
    """A method that only counts. Its one parameter is there because RecBole's trainer needs something to optimise."""

    input_type = InputType.POINTWISE
    takes_present = False  # it is what the prior `present` of other methods is compared with
    UNREAD: ClassVar[Mapping[str, str]] = dict.fromkeys(LOOP, "")

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.fake_loss = torch.nn.Parameter(torch.zeros(1))

    def calculate_loss(self, interaction) -> torch.Tensor:
        return self.fake_loss.sum()
