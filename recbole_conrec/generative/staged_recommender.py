"""StagedRecommender: the base class of language models that are trained in stages.

    StagedRecommender           trained in stages (stage.py)
      GenerativeRecommender     answers with IDs: constrained beam search, likelihoods of candidates (recommender.py)
        IdLanguageModel         on a causal language model that reads histories of IDs: CoNRec, LC-Rec, MiniOneRec
        T5Recommender           on a T5 over token ids (t5_recommender.py): TIGER, P5-CID
      TextRecommender           on a causal language model that reads titles (text_recommender.py): TALLRec, InstructRec

A method names its ``OPTIONS`` and its ``TASKS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType

from recbole_conrec import tokenizer
from recbole_conrec.evaluation.answers import Answers
from recbole_conrec.generative.method_options import StagedOptions
from recbole_conrec.generative.prompts import Context, context_of
from recbole_conrec.generative.stage import Task, read_stages, without_texts
from recbole_conrec.generative.validation import selecting
from recbole_conrec.llm.backbone import Backbone, load_backbone
from recbole_conrec.runs.options import STAGES_INSTEAD, EvaluationOptions, PlaceOptions
from recbole_conrec.utils.distributed import process_state
from recbole_conrec.utils.errors import UserError


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
            why = "" if hasattr(cls, "recommend") else f" {cls.__name__} only ranks given candidates;"
            raise UserError(f"valid_metric: '{evaluation.valid_metric}';{why} give {' or '.join(able)}")
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
