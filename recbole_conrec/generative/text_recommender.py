"""TextRecommender: the base class of language models that read titles."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch

from recbole_conrec.evaluation.answers import Answers
from recbole_conrec.generative.staged_recommender import StagedRecommender
from recbole_conrec.generative.text_prompts import TITLE_TEXTS, TextPrompts


class TextRecommender(StagedRecommender):
    """A causal language model that reads titles and ranks given candidates; without ``recommend`` in the subclass it
    recommends nothing. The score of a candidate does not depend on the others.
    """

    TEXTS: ClassVar[tuple[str, ...]] = TITLE_TEXTS
    chunk = 32

    def __init__(self, config, dataset):
        dataset.need_texts(type(self).__name__, "choose a method that reads semantic IDs")
        super().__init__(config, dataset)
        self.load_language_model(dataset, self.TEXTS)
        self.prompts = TextPrompts(self.backbone, self.log, self.options.max_tokens, dataset.item_text())

    def judge(self, interaction, items: torch.Tensor) -> tuple[np.ndarray, torch.Tensor]:
        """(bool [B], whether a prompt lost events; the scores of candidates [B, C], -inf for padding)."""
        raise NotImplementedError

    @torch.no_grad()
    def score_candidates(self, interaction, items: torch.Tensor) -> torch.Tensor:
        return self.judge(interaction, items)[1]

    @torch.no_grad()
    def answer(self, interaction, candidates, k, pairs=None, prior=None) -> Answers:
        """The scores alone; of a subclass that recommends, its list, too, to which alone the ``prior`` is added."""
        size = candidates.shape[1]
        items = self.recommend(interaction, k, prior) if hasattr(self, "recommend") else None
        both = candidates if pairs is None else torch.cat([candidates, pairs], dim=1)
        shortened, scores = self.judge(interaction, both)
        judged = None if pairs is None else scores[:, size:]
        return Answers(items, scores[:, :size], {}, int(shortened.sum()), judged)
