"""InstructRec: an instruction with preference, intention and task lists the candidates; the answer is one of them.

A candidate's score is the log-likelihood of its title after the instruction. The method fills CandAcc only, since
candidates must be given. Their order in the prompt is a hash of the run's seed, so that a position reveals nothing.

Reference: Zhang et al., "Recommendation as Instruction Following: A Large Language Model Empowered Recommendation
Approach", arXiv 2305.07001; no code is public. Departures:

- The preference is the history as titles (the paper's implicit preference), liked and disliked; the intention is one
  fixed sentence. The paper's explicit preferences and its intentions are written by GPT-3.5 from reviews, partly of the
  target itself: there are no reviews here, and nothing about the target may be revealed.
- One phrasing of the reranking task; the paper has 39 templates of several tasks, and adds reasoning texts.
- Training lists are drawn as the benchmark's own candidates are (19 exposures or popular items beside the dislike),
  from training events; the paper draws negatives at random. Under ``candidates.pool: day``, lists, and with them these
  prompts, hold items that the user met after t0.
- The paper tunes Flan-T5-XL; here ``llm:`` is any causal model, and the default is the embedded one.
"""

from typing import ClassVar

import torch

from recbole_conrec.generative.method_options import LanguageModelOptions
from recbole_conrec.generative.prompts import Prompts
from recbole_conrec.generative.recommender import TextRecommender
from recbole_conrec.generative.stage import StageRun, Task, TrainingSet
from recbole_conrec.generative.stage_options import SFTStage
from recbole_conrec.generative.tasks import asked, tokens_of
from recbole_conrec.llm.decoding import text_logps
from recbole_conrec.options.schema import Count


class RankStage(SFTStage):
    """Options of the task ``rank``."""

    samples: Count
    """Training instances that are shown, at most."""


def ranking(run: StageRun) -> TrainingSet:
    """Training instances with their own candidates; the answer is the disliked item."""
    model, data = run.model, run.data
    picked = run.rng.permutation(len(data.instances))[: run.stage.samples]
    part, candidates = data.instances[picked], data.truth("train").candidates[picked]
    columns = part.begin, part.end, part.time, part.user
    prompts = model.prompts.ranking(*columns, model.context, candidates, model.seed)
    return TrainingSet(asked(prompts, tokens_of(model.prompts.answer(part.item))))


class InstructRec(TextRecommender):
    """The model of one data set. It ranks given candidates and recommends nothing."""

    OPTIONS = LanguageModelOptions
    listwise = True
    TASKS: ClassVar[dict[str, Task]] = {"rank": Task(ranking, RankStage)}

    def prompt(self, interaction, candidates: torch.Tensor) -> Prompts:
        """The instructions that name candidates [B, C]."""
        columns = self.prompt_inputs(interaction)
        return self.prompts.ranking(*columns, self.context, candidates.cpu().numpy(), self.seed).to(self.device)

    def prompt_and_score(self, interaction, items: torch.Tensor) -> tuple[Prompts, torch.Tensor]:
        """The scores are the log-likelihoods of the candidates' titles after the prompt that names all of them."""
        prompts = self.prompt(interaction, items)
        answers = torch.from_numpy(self.prompts.answer(items.cpu().numpy())).to(self.device)
        return prompts, text_logps(self.backbone, *prompts.pair, answers, chunk=self.chunk)
