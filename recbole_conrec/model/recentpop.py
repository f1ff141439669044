"""Recent popularity among negatives."""

from typing import Literal

import numpy as np
import torch
from pydantic import model_validator
from typing_extensions import Self

from recbole_conrec.data.events import NEGATIVE
from recbole_conrec.dense.scores import target_scores
from recbole_conrec.dense.untrained import UntrainedRecommender
from recbole_conrec.options.schema import Options, Positive, Share


class RecentOptions(Options):
    """The `recent` option."""

    unit: Literal["days", "events"] = "days"
    """What the length counts; events are dislikes of all users."""
    length: Positive = 7
    """How long the window before t0 is, whole for events."""

    @model_validator(mode="after")
    def _whole_events(self) -> Self:
        if self.unit == "events" and self.length != int(self.length):
            raise ValueError(f"{self.length!r} events; expected a whole number of events")
        return self


class RecentPopOptions(Options):
    """Options of RecentPop."""

    recent: RecentOptions = RecentOptions()
    """The dislikes that count: those of all users in this window before t0."""
    mix: Share = 0.01
    """Weight of the popularity over all time; a small one orders what the window leaves level."""


class RecentPop(UntrainedRecommender):
    r"""Everybody is expected to dislike what most users disliked lately:

        score(u, j) = (1 - mix) * r_j / sum_i r_i  +  mix * N_j / sum_i N_i

    r_j are the dislikes of j in the window ``recent`` that ends before t0, N_j those of all time. Under ``as_of: t0``
    the window is the one before t0; under ``as_of: cut`` it is the last one of the training
    (:mod:`recbole_conrec.data.side`).
    """

    OPTIONS = RecentPopOptions

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        options = RecentPopOptions.of(config)
        self.recent, self.mix, self.side = options.recent, options.mix, dataset.side

    def predict(self, interaction) -> torch.Tensor:
        return target_scores(self, interaction)

    def full_sort_predict(self, interaction) -> torch.Tensor:
        t0 = interaction["t0"].cpu().numpy()
        lately, ever = _shares(self._lately(t0)), _shares(self.side.counts((NEGATIVE,), t0))
        scores = (1 - self.mix) * lately + self.mix * ever
        return torch.from_numpy(scores.astype(np.float32)).to(self.device)

    def _lately(self, t0: np.ndarray) -> np.ndarray:
        """The dislikes of each item in the window before t0: int32 [N, n_items]."""
        length = self.recent.length
        window = {"events": int(length)} if self.recent.unit == "events" else {"days": length}
        return self.side.recent((NEGATIVE,), t0, **window)


def _shares(counts: np.ndarray) -> np.ndarray:
    """Each row divided by its sum; a row of zeros stays one."""
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
