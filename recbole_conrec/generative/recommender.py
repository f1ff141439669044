"""Base classes of the methods that answer with semantic IDs or text.

    StagedRecommender           trained in stages (stage.py)
      GenerativeRecommender     answers with IDs: constrained beam search, likelihoods of candidates
        IdLanguageModel         on a causal language model that reads histories of IDs: CoNRec, LC-Rec, MiniOneRec
        T5Recommender           on a T5 over token ids (t5_recommender.py): TIGER, P5-CID
      TextRecommender           on a causal language model that reads titles: TALLRec, InstructRec

A method names its ``OPTIONS`` and its ``TASKS``; only IDs of existing items can be generated.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType

from recbole_conrec import tokenizer
from recbole_conrec.data.events import NEGATIVE, POSITIVE
from recbole_conrec.evaluation.answers import Answers
from recbole_conrec.generative.candidate_scores import Scoring, similarity, within
from recbole_conrec.generative.method_options import StagedOptions
from recbole_conrec.generative.prompts import ID_TEXTS, Context, PromptBuilder, Prompts, context_of
from recbole_conrec.generative.rewards import unit_vectors
from recbole_conrec.generative.stage import Task, read_stages, without_texts
from recbole_conrec.generative.text_prompts import TITLE_TEXTS, TextPrompts
from recbole_conrec.generative.validation import selecting
from recbole_conrec.llm.backbone import Backbone, load_backbone
from recbole_conrec.llm.decoding import beam_search, score, search_and_score
from recbole_conrec.runs.options import STAGES_INSTEAD, EvaluationOptions, PlaceOptions
from recbole_conrec.utils.distributed import process_state
from recbole_conrec.utils.errors import UserError

SMALL = 5000  # IDs that are searched exactly by default


class StagedRecommender(SequentialRecommender):
    """A language model that is trained in stages. A method of this class without ``recommend`` only ranks candidates.

    Attributes:
        options: the method's options, of its class ``OPTIONS``.
        stages: the options of each stage.
        semantic_ids: the IDs of the catalogue.
        backbone, lm: the language model (transformers) with the IDs in its vocabulary; see :meth:`set_backbone`.
        context: what prompts show of a user.
    """

    input_type = InputType.POINTWISE  # RecBole asks; its data loaders bring no sampled items
    trainer = "recbole_conrec.generative.trainer:StagedTrainer"
    OPTIONS: ClassVar[type[StagedOptions]] = StagedOptions
    TASKS: ClassVar[Mapping[str, Task]] = {}
    UNREAD: ClassVar[Mapping[str, str]] = STAGES_INSTEAD
    chunk = 128  # users that are decoded at a time
    options: Any
    context: Context

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.options, self.stages = self.read_options(config)
        if dataset.item_words is None:
            self.stages = without_texts(self.stages, self.TASKS)
        self.exclusion = dataset.exclusion
        self.context = context_of(self.options.context, self.options.history)
        self.seed, self.log = PlaceOptions.of(config).seed, dataset.log
        with process_state().main_process_first():  # one makes the IDs, the others read them
            self.semantic_ids = tokenizer.build(config, dataset)

    @classmethod
    def read_options(cls, config) -> tuple[Any, list[Any]]:
        """(the method's options, those of each stage). Raises UserError for what does not fit the method."""
        options = cls.OPTIONS.of(config)
        evaluation = EvaluationOptions.of(config)
        able = selecting(cls, evaluation)
        if evaluation.valid_metric.lower() not in [name.lower() for name in able]:
            does = "" if hasattr(cls, "recommend") else " only ranks given candidates;"
            raise UserError(f"valid_metric: '{evaluation.valid_metric}'; {cls.__name__}{does} give {' or '.join(able)}")
        return options, read_stages(options.stages, cls.TASKS)

    def set_backbone(self, backbone: Backbone) -> None:
        """Take a language model; its parameters become this module's."""
        self.backbone, self.lm = backbone, backbone.model

    def load_language_model(self, dataset, texts) -> None:
        """The backbone of the options ``llm`` and ``llm_options``; ``texts``: the words of the prompts."""
        titles = dataset.item_text()
        self.set_backbone(
            load_backbone(
                self.options.llm,
                self.semantic_ids,
                [*titles[1:], *texts],
                self.options.llm_options,
                item_texts=titles,
                device=self.device,
                seed=self.seed,
            )
        )

    def answer(self, interaction, candidates: torch.Tensor, k: int, pairs: torch.Tensor | None = None) -> Answers:
        """The top K and the scores of candidates [B, C] and of the pairs [B, P], from one run of the prompts."""
        raise NotImplementedError

    def score_candidates(self, interaction, items: torch.Tensor) -> torch.Tensor:
        """Float [B, C]: how likely each candidate is to be disliked."""
        raise NotImplementedError

    def predict(self, interaction) -> torch.Tensor:
        """Float [B]: the score of ``item_id`` (what RecBole's profiler calls)."""
        return self.score_candidates(interaction, interaction[self.ITEM_ID][:, None])[:, 0]

    def probe(self, data) -> dict[str, Any]:
        """What else to measure after each stage, by name; data: the training part. Plain values, for the record."""
        return {}

    def prompt_inputs(self, interaction) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What prompt builders read of a batch: history_begin, history_end, t0, user, int64 [B] each."""
        begin, end, t0, user = (
            interaction[field].cpu().numpy() for field in ("history_begin", "history_end", "t0", self.USER_ID)
        )
        return begin, end, t0, user


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
