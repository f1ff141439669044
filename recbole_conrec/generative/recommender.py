"""Base classes of methods that answer with semantic IDs: only IDs of existing items can be generated.

:mod:`.staged_recommender` shows their place among the base classes.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch

from recbole_conrec.data.events import NEGATIVE, POSITIVE
from recbole_conrec.evaluation.answers import Answers
from recbole_conrec.generative.candidate_scores import Scoring, similarity, within
from recbole_conrec.generative.prompts import ID_TEXTS, PromptBuilder, Prompts
from recbole_conrec.generative.rewards import unit_vectors
from recbole_conrec.generative.staged_recommender import StagedRecommender
from recbole_conrec.llm.decoding import beam_search, score, search_and_score
from recbole_conrec.runs.options import EvaluationOptions

SMALL = 5000  # IDs that are searched exactly by default


class GenerativeRecommender(StagedRecommender):
    """Base class of methods that answer with IDs. A subclass defines :meth:`prompt`.

    Attributes:
        trie: the IDs, on the model's device.
    """

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.normalise, self.beam = self.options.normalise, self.options.beam
        self.scorings, self.topk = self.options.candidate_scores, max(EvaluationOptions.of(config).topk)
        self.trie = self.semantic_ids.trie.to(self.device)
        self._shared = self.trie.n_leaves < len(self.trie.leaf_items)  # collisions: shared
        small = self.trie.n_leaves <= SMALL
        self._exact = self.options.search == "exact" or (self.options.search == "auto" and small)

    def prompt(self, interaction) -> Prompts:
        """The prompts of a batch, on the model's device; an ID follows each."""
        raise NotImplementedError

    @torch.no_grad()
    def recommend(self, interaction, k: int, prior: torch.Tensor | None = None) -> torch.Tensor:
        """int64 [B, k] items, best first, 0 = missing; no item that the user may not get (data/exclusion.py).

        prior: float [B, n_items], added to the log-likelihood of each item (runs/present.py).
        """
        left_out = self._excluded(interaction)
        leaves, _ = beam_search(
            self.backbone,
            self.trie,
            *self.prompt(interaction).pair,
            **self._search(left_out, k),
            prior=self._leaf(prior),
        )
        return expand(self.trie, leaves, left_out, k)

    def _leaf(self, prior: torch.Tensor | None) -> torch.Tensor | None:
        """The prior of each ID, float [B, n_leaves]: of items that share one the largest."""
        if prior is None or not self._shared:
            return None if prior is None else prior[:, self.trie.leaf_items]
        leaf = self.trie.item_leaf.clamp(min=0).expand_as(prior)
        known = prior.masked_fill(self.trie.item_leaf < 0, -torch.inf)
        return prior.new_full((len(prior), self.trie.n_leaves), -torch.inf).scatter_reduce(1, leaf, known, "amax")

    @torch.no_grad()
    def answer(
        self,
        interaction,
        candidates: torch.Tensor,
        k: int,
        pairs: torch.Tensor | None = None,
        prior: torch.Tensor | None = None,
    ) -> Answers:
        """:meth:`recommend`, and the scores of candidates by each way of ``candidate_scores``, the first as CandAcc's,
        from one run of the prompts; with a ``prior``, which is for the lists alone, from two. The pairs are scored by
        the first way that judges an item by itself.
        """
        prompts, left_out = self.prompt(interaction), self._excluded(interaction)
        size = candidates.shape[1]
        both = self.trie.item_leaf[candidates if pairs is None else torch.cat([candidates, pairs], dim=1)]
        found, levels = search_and_score(self.backbone, self.trie, *prompts.pair, both, **self._search(left_out, k))
        items = expand(self.trie, found, left_out, k) if prior is None else self.recommend(interaction, k, prior)
        top, leaves, at = items[:, : self.topk], both[:, :size], levels[:, :size]
        scores = {how: self._score(how, candidates, leaves, at, top) for how in self.scorings}
        first, *others = scores
        alone: Scoring = next((how for how in self.scorings if how != "beam"), "likelihood")
        judged = None if pairs is None else self._score(alone, pairs, both[:, size:], levels[:, size:], top)
        return Answers(items, scores[first], {how: scores[how] for how in others}, int(prompts.shortened.sum()), judged)

    def score_candidates(self, interaction, items: torch.Tensor) -> torch.Tensor:
        """Float [B, C]: how likely each candidate is, by the first of the option ``candidate_scores``."""
        return self.scores_by(self.scorings[0], interaction, items)

    @torch.no_grad()
    def scores_by(self, how: Scoring, interaction, items: torch.Tensor) -> torch.Tensor:
        """Float [B, C] by one of candidate_scores.SCORINGS; -inf or any number for padding."""
        if how == "similarity":
            return self._score(how, items, None, None, self.recommend(interaction, self.topk))
        leaves = self.trie.item_leaf[items]
        levels = score(
            self.backbone,
            self.trie,
            *self.prompt(interaction).pair,
            leaves,
            normalise=self.normalise,
            chunk=self.chunk,
            by_level=True,
        )
        return self._score(how, items, leaves, levels, None)

    def _score(self, how: Scoring, items, leaves, levels, predicted) -> torch.Tensor:
        if how == "similarity":
            return similarity(items, predicted, self.vectors)
        return levels.sum(2) if how == "likelihood" else within(levels, self.trie.leaf_codes[leaves.clamp(min=0)])

    def _search(self, left_out: torch.Tensor, k: int) -> dict[str, Any]:
        """The arguments of every beam search here. With shared IDs, excluded items are left out afterwards."""
        return {
            "width": max(k, self.beam),
            "normalise": self.normalise,
            "exact": self._exact,
            "chunk": self.chunk,
            "forbidden": None if self._shared else self.trie.item_leaf[left_out],
        }

    @cached_property
    def vectors(self) -> torch.Tensor:
        """float32 [n_items, dim], items rebuilt from their codes, of length 1, on the model's device."""
        return unit_vectors(self.semantic_ids).to(self.device)

    def forbidden(self, begin: np.ndarray, end: np.ndarray) -> list[list[int]]:
        """The leaves that must not come out for N instances, by their histories; [] for each with shared IDs."""
        if self._shared:
            return [[] for _ in begin]
        owner, items = self.exclusion.pairs(begin, end)
        leaves = self.trie.item_leaf.cpu().numpy()[items]
        return [part.tolist() for part in np.split(leaves, np.cumsum(np.bincount(owner, minlength=len(begin)))[:-1])]

    def _excluded(self, interaction) -> torch.Tensor:
        """int64 [B, M]: the items that each list leaves out, padded with 0."""
        begin, end = (interaction[f].cpu().numpy() for f in ("history_begin", "history_end"))
        return torch.from_numpy(self.exclusion.padded(begin, end)).to(self.device)


class IdLanguageModel(GenerativeRecommender):
    """A causal language model whose prompts are histories of IDs. ``TEXTS``: the words of its prompts."""

    TEXTS: ClassVar[tuple[str, ...]] = ID_TEXTS

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.load_language_model(dataset, self.TEXTS)
        self.prompts = self.make_prompts(dataset.item_text())

    def make_prompts(self, titles: list[str]) -> PromptBuilder:
        """The builder of this method's prompts."""
        return PromptBuilder(self.backbone, self.log, self.options.max_tokens)

    def prompt(self, interaction, kind: int = NEGATIVE) -> Prompts:
        """Histories that ask for the next event of this kind of feedback."""
        begin, end, t0, users = self.prompt_inputs(interaction)
        ask = self.prompts.markers[kind].tolist()
        return self.prompts.history(begin, end, t0, self.context, users, ask).to(self.device)

    @property
    def knows_likes(self) -> bool:
        """Whether a stage has trained the next like, too."""
        return any(getattr(stage, "likes", 0) for stage in self.stages)

    @torch.no_grad()
    def like_scores(self, interaction, items: torch.Tensor) -> torch.Tensor:
        """Float [B, C]: the log-likelihood of each item [B, C] as the next like; -inf for padding."""
        prompts = self.prompt(interaction, POSITIVE).pair
        leaves = self.trie.item_leaf[items]
        return score(self.backbone, self.trie, *prompts, leaves, normalise=self.normalise, chunk=self.chunk)


def expand(trie, leaves: torch.Tensor, left_out: torch.Tensor, k: int) -> torch.Tensor:
    """IDs [B, W] (-1: none) -> items [B, k], 0 = missing.

    The items of an ID are listed in ascending order, and those in ``left_out`` [B, M] are dropped before the cut at k.
    """
    known = leaves.clamp(min=0)
    size = (trie.leaf_ptr[known + 1] - trie.leaf_ptr[known]).masked_fill(leaves < 0, 0)
    end = size.cumsum(1)
    place = torch.arange(int(end[:, -1].max()), device=leaves.device).expand(len(leaves), -1).contiguous()
    beam = torch.searchsorted(end, place, right=True).clamp(max=leaves.shape[1] - 1)
    offset = place - (end - size).gather(1, beam)
    at = (trie.leaf_ptr[known].gather(1, beam) + offset).clamp(max=len(trie.leaf_items) - 1)
    items = trie.leaf_items[at].masked_fill(place >= end[:, -1:], 0)
    items = items.masked_fill((items[:, :, None] == left_out[:, None, :]).any(-1), 0)
    items = items.gather(1, (items == 0).int().argsort(dim=1, stable=True))[:, :k]
    return torch.nn.functional.pad(items, (0, k - items.shape[1]))
