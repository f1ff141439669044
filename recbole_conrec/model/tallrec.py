"""TALLRec: a language model reads liked and disliked titles and answers "will the user like it?" with Yes or No.

A candidate's score is P(No), from the logits of the two answers only. All candidates of a user are scored in one pass
over their history. The method fills CandAcc only: to rank a catalogue it would have to answer once per item.

Reference: Bao et al., "TALLRec: An Effective and Efficient Tuning Framework to Align Large Language Model with
Recommendation", RecSys 2023, arXiv 2305.00447; code SAI990323/TALLRec. Departures:

- Its question and its lists of the last events are kept. "Unpreference" is negative feedback only (its code counts
  three stars of five as such). An event without opinion is in no list; ``neutral: 1`` makes it a target with the answer
  Yes.
- With ``context: negative`` no prompt shows a like; likes remain the targets whose answer is Yes.
- The loss is on the answer; the public script trains on the question's words, too.
- The public model was tuned on Alpaca's instructions before, sees 16 to 256 samples, and is selected by AUC; here the
  samples are drawn from all training events (``samples``), and the weights are selected by CandAcc on validation.
- The paper tunes LLaMA-7B with LoRA (r 8, alpha 16, on q and v, 1e-4). Here ``llm:`` names the backbone; the default is
  the embedded model, with all weights trained.
"""

from typing import ClassVar, Literal

import numpy as np
import torch

from recbole_conrec.data.events import NEGATIVE, POSITIVE, Instances
from recbole_conrec.generative.method_options import LanguageModelOptions
from recbole_conrec.generative.prompts import Prompts
from recbole_conrec.generative.stage import StageRun, Task, TrainingSet
from recbole_conrec.generative.stage_options import SFTStage
from recbole_conrec.generative.tasks import example, tokens_of
from recbole_conrec.generative.text_prompts import NO, YES
from recbole_conrec.generative.text_recommender import TextRecommender
from recbole_conrec.llm.decoding import answer_logps
from recbole_conrec.options.schema import Count
from recbole_conrec.utils.errors import UserError


class YesNoStage(SFTStage):
    """Options of the task ``yes_no``."""

    samples: Count
    """Targets of each answer, at most."""
    neutral: Literal[0, 1] | bool = False
    """Whether events without opinion are targets with the answer Yes, too."""


def yes_no(run: StageRun) -> TrainingSet:
    """Training events as targets: No for dislikes, Yes for likes (``neutral``: for everything but dislikes), in equal
    numbers per epoch.
    """
    model, data, log = run.model, run.data, run.data.log
    yes = log.feedback != NEGATIVE if run.stage.neutral else log.feedback == POSITIVE
    parts = {"no": data.instances, "yes": Instances.of_rows(log, np.flatnonzero(data.train_mask & yes))}
    if not all(map(len, parts.values())):
        raise UserError(
            f"stage {run.stage.name}: {len(parts['no'])} dislikes and {len(parts['yes'])} likes in training; TALLRec "
            "learns from both"
        )
    examples = {}
    for (name, part), token in zip(parts.items(), (model.no, model.yes), strict=True):
        part = part[run.rng.permutation(len(part))[: run.stage.samples]]
        prompts = model.prompts.liking(part.begin, part.end, part.time, part.user, model.context).lists()
        questions = tokens_of(model.prompts.question(part.item))
        pairs = zip(prompts, questions, strict=True)
        examples[name] = [example(prompt + question, [token]) for prompt, question in pairs]
    return TrainingSet(examples, weights={"no": 1.0, "yes": len(examples["no"]) / len(examples["yes"])})


class TALLRec(TextRecommender):
    """The model of one data set. It ranks given candidates and recommends nothing."""

    OPTIONS = LanguageModelOptions
    TASKS: ClassVar[dict[str, Task]] = {"yes_no": Task(yes_no, YesNoStage)}

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.yes, self.no = self.prompts.encode(YES)[0], self.prompts.encode(NO)[0]
        if self.yes == self.no:
            raise UserError(
                f"llm: {self.options.llm} begins '{YES}' and '{NO}' with the same token; name another model"
            )

    def prompt(self, interaction) -> Prompts:
        """What all questions about a user begin with."""
        return self.prompts.liking(*self.prompt_inputs(interaction), self.context).to(self.device)

    def judge(self, interaction, items: torch.Tensor) -> tuple[np.ndarray, torch.Tensor]:
        """The scores are log P(No) - log P(Yes), ordered as P(No) among the two."""
        prompts = self.prompt(interaction)
        questions = torch.from_numpy(self.prompts.question(items.cpu().numpy())).to(self.device)
        answers = answer_logps(self.backbone, *prompts.pair, questions, [self.no, self.yes], chunk=self.chunk)
        return prompts.shortened, (answers[..., 0] - answers[..., 1]).masked_fill(items == 0, -torch.inf)
