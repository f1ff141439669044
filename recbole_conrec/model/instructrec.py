"""InstructRec: an instruction with preference, intention and task lists the candidates; the answer is one of them.

A candidate's score is the log-likelihood of its title after the instruction. The method fills CandAcc only, since
candidates must be given. Each is judged in a prompt of its own, which names it among ``rivals``: items that the user
was exposed to before t0 without reacting, then popular ones. A prompt with all candidates would hold what the user met
after t0. The order in the prompt is a hash of the run's seed, so that a position reveals nothing.

Reference: Zhang et al., "Recommendation as Instruction Following: A Large Language Model Empowered Recommendation
Approach", arXiv 2305.07001; no code is public. Departures:

- The preference is the history as titles (the paper's implicit preference), liked and disliked; the intention is one
  fixed sentence. The paper's explicit preferences and its intentions are written by GPT-3.5 from reviews, partly of the
  target itself: there are no reviews here, and nothing about the target may be revealed.
- One phrasing of the reranking task; the paper has 39 templates of several tasks, and adds reasoning texts.
- One prompt for each candidate, with rivals from before t0; in the paper one prompt names all candidates.
- The rivals, of training and of evaluation, are exposures and popular items; the paper draws negatives at random.
- The paper tunes Flan-T5-XL; here ``llm:`` is any causal model, and the default is the embedded one.
"""

from typing import ClassVar

import numpy as np
import torch

from recbole_conrec.generative.method_options import LanguageModelOptions
from recbole_conrec.generative.prompts import Prompts
from recbole_conrec.generative.rivals import Columns, NeutralRivals, beside, judge, repeat
from recbole_conrec.generative.stage import StageRun, Task, TrainingSet
from recbole_conrec.generative.stage_options import SFTStage
from recbole_conrec.generative.tasks import asked, tokens_of
from recbole_conrec.generative.text_recommender import TextRecommender
from recbole_conrec.llm.decoding import text_logps
from recbole_conrec.options.schema import Count


class RankStage(SFTStage):
    """Options of the task ``rank``."""

    samples: Count
    """Training instances that are shown, at most."""


def ranking(run: StageRun) -> TrainingSet:
    """Training instances, each with its rivals; the answer is the disliked item."""
    model, data = run.model, run.data
    part = data.instances[run.rng.permutation(len(data.instances))[: run.stage.samples]]
    columns = part.begin, part.end, part.time, part.user
    lists = beside(part.item, model.rivals(*columns), model.options.rivals + 1)
    prompts = model.prompts.ranking(*columns, model.context, lists, model.seed)
    return TrainingSet(asked(prompts, tokens_of(model.prompts.answer(part.item))))


class InstructRecOptions(LanguageModelOptions):
    """Options of InstructRec."""

    rivals: Count = 19
    """Items that a prompt names beside the one that is judged."""


class InstructRec(TextRecommender):
    """The model of one data set. It ranks given candidates and recommends nothing."""

    OPTIONS = InstructRecOptions
    TASKS: ClassVar[dict[str, Task]] = {"rank": Task(ranking, RankStage)}

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.rivals = NeutralRivals(dataset.candidate_sources(), self.options.rivals, self.seed)

    def prompt(self, interaction, items: torch.Tensor) -> Prompts:
        """The instructions that judge items [B, C], one each: B * C prompts."""
        columns = self.prompt_inputs(interaction)
        rivals = np.repeat(self.rivals(*columns), items.shape[1], axis=0)
        lists = beside(items.cpu().numpy().reshape(-1), rivals, self.options.rivals + 1)
        return self._ranking(repeat(columns, items.shape[1]), lists)

    def _ranking(self, columns: Columns, lists: np.ndarray) -> Prompts:
        return self.prompts.ranking(*columns, self.context, lists, self.seed).to(self.device)

    def judge(self, interaction, items: torch.Tensor) -> tuple[np.ndarray, torch.Tensor]:
        """The scores are the log-likelihoods of the candidates' titles, each after its own prompt."""

        def score(columns, lists):
            prompts = self._ranking(columns, lists)
            answers = torch.from_numpy(self.prompts.answer(lists[:, :1])).to(self.device)
            return prompts, text_logps(self.backbone, *prompts.pair, answers, chunk=self.chunk)[:, 0]

        columns = self.prompt_inputs(interaction)
        return judge(columns, items, self.rivals(*columns), self.options.rivals + 1, score)
