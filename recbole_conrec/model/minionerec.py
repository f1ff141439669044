r"""MiniOneRec: supervised tuning between IDs and language, then GRPO with the beam as its group and rule-based rewards.

The G completions of a prompt are its G best beams, all different and all existing items. With y the next dislike,

.. math::
    r_i = [o_i = y] + r^{rank}_i, \quad
    r^{rank}_i = - \frac{1 / \log_2(i + 1)}{\sum_j 1 / \log_2(j + 1)} [o_i \ne y]
    \text{ where some } o_j = y, \text{ else } 0

for the beam of rank i = 1..G: a miss costs more the higher its rank, and a group without a hit has no learning signal.

Reference: "MiniOneRec: An Open-Source Framework for Scaling Generative Recommendation", arXiv 2510.24431; code
AkaliKong/MiniOneRec, whose script uses ``ranking``, the sum of both rewards. It shares no stage and no reward with
CoNRec. Departures:

- The tasks are those of its code (generative/mixture.py), with every dislike of a user trained in one pass; GRPO uses
  its three kinds of prompts (histories of IDs, titles of items, histories of titles).
- The KL divergence is measured from the model that results from tuning; in the public script that reference follows the
  policy.
- Likelihoods are those of the allowed codes, the distribution in which the beams were searched; the public code uses
  the whole vocabulary.
- Its IDs come from an RQ-VAE or constrained k-means of Qwen embeddings, 3 x 256; here the option ``tokenizer`` defines
  them.
"""

from typing import ClassVar

import torch
from pydantic import Field, field_validator

from recbole_conrec.generative.method_options import IdDecodingOptions, LanguageModelOptions, TitleHistoryOptions
from recbole_conrec.generative.mixture import MixtureStage, check_weights, mixture
from recbole_conrec.generative.prompts import ID_TEXTS, ITEM_OF
from recbole_conrec.generative.recommender import IdLanguageModel
from recbole_conrec.generative.stage import StageRun, Task, TrainingSet
from recbole_conrec.generative.stage_options import GRPOStage
from recbole_conrec.generative.tasks import text_histories, tokens_of
from recbole_conrec.generative.text_prompts import TITLE_TEXTS, TextPrompts
from recbole_conrec.options.schema import NonNegative

KINDS = ("next", "item_of", "titles_next")


class MiniOneRecOptions(LanguageModelOptions, IdDecodingOptions, TitleHistoryOptions):
    """Options of MiniOneRec."""


class MiniOneRecGRPOStage(GRPOStage):
    """Options of MiniOneRec's task ``grpo``."""

    REWARDS = (2, "the rewards rule and rank")
    weights: dict[str, NonNegative] = Field(default_factory=dict)
    """Prompts of each kind, as shares of `samples`; next is 1 and the others are 0 unless given."""

    @field_validator("weights")
    @classmethod
    def _known(cls, weights: dict[str, float]) -> dict[str, float]:
        check_weights({"next": 1, **weights}, KINDS)
        return weights

    def share(self, kind: str) -> float:
        """Prompts of a kind for each training instance."""
        return self.weights.get(kind, 1 if kind == "next" else 0)


def rule(items: torch.Tensor, target: list[int], **_) -> torch.Tensor:
    """1 where the item [P, G] is its prompt's target, else 0."""
    return (items == torch.tensor(target)[:, None]).float()


def rank(items: torch.Tensor, target: list[int], **_) -> torch.Tensor:
    """The cost of a miss by its rank in the beam [P, G], in groups that contain the target; 0 elsewhere."""
    hit = rule(items, target)
    cost = 1 / torch.log2(torch.arange(items.shape[1]) + 2.0)
    return -(cost / cost.sum()) * (1 - hit) * hit.amax(dim=1, keepdim=True)


def grpo(run: StageRun) -> TrainingSet:
    """``samples`` training instances as histories of IDs, and ``weights`` times as many prompts of the other kinds."""
    model, prompts, examples = run.model, run.model.prompts, []
    for kind in KINDS:
        part, columns, context = text_histories(run, round(run.stage.share(kind) * run.stage.samples))
        if not len(part):
            continue
        if kind == "next":
            asking = prompts.history(*columns, model.context, part.user).lists()
        elif kind == "titles_next":
            asking = prompts.title_history(*columns, part.user, context).lists()
        else:  # the instances' items, so that widely disliked ones are asked for more often
            text, stop = prompts.open(ITEM_OF), prompts.encode("?")
            asking = [text + title + stop for title in tokens_of(prompts.titles[part.item])]
        pairs = zip(asking, part.item, strict=True)
        examples += [{"input_ids": tokens, "target": int(item)} for tokens, item in pairs]
    return TrainingSet(examples, rewards=[rule, rank])


class MiniOneRec(IdLanguageModel):
    """The model of one data set. Decoding is constrained: only IDs of existing items can be generated."""

    OPTIONS = MiniOneRecOptions
    TASKS: ClassVar[dict[str, Task]] = {
        "mixture": Task(mixture, MixtureStage),
        "grpo": Task(grpo, MiniOneRecGRPOStage, algorithm="grpo"),
    }
    TEXTS = (*ID_TEXTS, *TITLE_TEXTS)

    def make_prompts(self, titles: list[str]) -> TextPrompts:
        return TextPrompts(self.backbone, self.log, self.options.max_tokens, titles)
