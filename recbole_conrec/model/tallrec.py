"""TALLRec: "will the user like it?", Yes or No, asked of a language model that reads liked and disliked titles.

A candidate's score is P(No), from the two answers' logits alone. The candidates of a user are asked about in one pass
over his history. The row fills CandAcc only: to rank a catalogue it would have to answer once per item.

Reference: Bao et al., "TALLRec: An Effective and Efficient Tuning Framework to Align Large Language Model with
Recommendation", RecSys 2023, arXiv 2305.00447; code SAI990323/TALLRec. Departures:

- Its question and its lists of the last events are kept. "Unpreference" is negative feedback alone (its code counts
  three stars of five there). An event without opinion is in no list; ``neutral: 1`` makes it a target with answer Yes.
- With ``context: negative`` no prompt tells a like; likes stay the targets whose answer is Yes.
- The loss is on the answer; the public script trains on the question's words, too.
- The public model has been tuned on Alpaca's instructions before, sees 16 to 256 samples, and is selected by AUC; here
  all training events are there to be drawn (``samples``), and CandAcc on validation selects.
- The paper tunes LLaMA-7B by LoRA (r 8, alpha 16, on q and v, 1e-4). Here ``llm:`` decides; the default is the embedded
  model, tuned in full.
"""

from dataclasses import replace

import numpy as np
import torch

from recbole_conrec.data.events import NEGATIVE, POSITIVE, Instances
from recbole_conrec.generative.language_tasks import tokens_of, unpadded
from recbole_conrec.generative.prompts import context_of
from recbole_conrec.generative.recommender import StagedRecommender
from recbole_conrec.generative.stage import SFT_NEEDS, SFT_TAKES, StageRun, Task
from recbole_conrec.generative.tasks import row
from recbole_conrec.generative.text_prompts import NO, TEXT, YES, TextPrompts
from recbole_conrec.llm.backbone import load_backbone
from recbole_conrec.llm.decoding import answer_logps
from recbole_conrec.utils.errors import UserError


def yes_no(run: StageRun):
    """Training events as targets: No for dislikes, Yes for likes (``neutral: 1``: for all that is no dislike), as many
    of either in an epoch."""
    model, data, log = run.model, run.data, run.data.log
    yes = log.feedback != NEGATIVE if run.stage.get("neutral") else log.feedback == POSITIVE
    parts = {"no": data.instances, "yes": Instances.of_rows(log, np.flatnonzero(data.train_mask & yes))}
    if not all(map(len, parts.values())):
        raise UserError(
            f"stage {run.stage['name']}: {len(parts['no'])} dislikes and {len(parts['yes'])} likes in "
            "training; TALLRec learns from both"
        )
    rows = {}
    for (name, part), token in zip(parts.items(), (model.no, model.yes), strict=True):
        part = part[run.rng.permutation(len(part))[: run.stage["samples"]]]
        prompts = unpadded(*model.prompts.liking(part.begin, part.end, part.time, part.user, model.context))
        questions = tokens_of(model.prompts.question(part.item))
        rows[name] = [row(prompt + question, [token]) for prompt, question in zip(prompts, questions, strict=True)]
    weights = {"no": 1.0, "yes": len(rows["no"]) / len(rows["yes"])}
    return replace(run, stage={**run.stage, "weights": weights}).sft(rows)


class TALLRec(StagedRecommender):
    """The model of one data set. It ranks given candidates and recommends nothing."""

    TASKS = {"yes_no": Task(yes_no, SFT_NEEDS | {"samples"}, SFT_TAKES | {"neutral"})}
    chunk = 32

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        titles = dataset.item_text()
        self.speak(
            load_backbone(
                config["llm"],
                self.semantic_ids,
                [*titles[1:], *TEXT],
                item_texts=titles,
                seed=config["seed"],
                device=config["device"],
                **(config["llm_options"] or {}),
            )
        )
        self.prompts = TextPrompts(self.backbone, self.log, config["max_tokens"], titles)
        self.context = context_of(config["context"], config["history"])
        self.yes, self.no = self.prompts.encode(YES)[0], self.prompts.encode(NO)[0]
        if self.yes == self.no:
            raise UserError(f"llm: {config['llm']} begins '{YES}' and '{NO}' with the same token; name another model")

    def prompt(self, interaction) -> tuple[torch.Tensor, torch.Tensor]:
        """What all questions about a user begin with: input_ids, attention_mask int64 [B, T], left-padded."""
        ids, mask = self.prompts.liking(*self.told(interaction), self.context)
        return ids.to(self.device), mask.to(self.device)

    @torch.no_grad()
    def score_candidates(self, interaction, items: torch.Tensor) -> torch.Tensor:
        """float [B, C]: log P(No) - log P(Yes), in the order of P(No) among the two; -inf for padding."""
        questions = torch.from_numpy(self.prompts.question(items.cpu().numpy())).to(self.device)
        answers = answer_logps(
            self.backbone, *self.prompt(interaction), questions, [self.no, self.yes], chunk=self.chunk
        )
        return (answers[..., 0] - answers[..., 1]).masked_fill(items == 0, -torch.inf)
