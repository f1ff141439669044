r"""MiniOneRec: supervised tuning between IDs and language, then GRPO with the beam as its group and rules as rewards.

A prompt's G completions are its G best beams, all different and all existing items. With y the item disliked next,

.. math::
    r_i = [o_i = y] + r^{rank}_i, \quad
    r^{rank}_i = - \frac{1 / \log_2(i + 1)}{\sum_j 1 / \log_2(j + 1)} [o_i \ne y]
    \text{ where some } o_j = y, \text{ else } 0

for the beam of rank i = 1..G: a miss costs the more the higher it stands, and a group without a hit teaches nothing.

Reference: "MiniOneRec: An Open-Source Framework for Scaling Generative Recommendation", arXiv 2510.24431; code
AkaliKong/MiniOneRec, whose script asks for ``ranking``, the sum of both rewards. None of CoNRec's stages and rewards.
Departures:

- The tasks are those of its code (model/language_tasks.py), with every dislike of a user trained in one pass; GRPO sees
  its three kinds of prompts (histories of IDs, titles of items, histories of titles).
- KL is measured to the model that comes out of tuning; the public script lets that reference follow the policy.
- Likelihoods are those of the allowed codes, the distribution that the beams were searched in; the public code takes
  the whole vocabulary's.
- Its IDs: RQ-VAE or constrained k-means of Qwen embeddings, 3 x 256; here as ``tokenizer`` says.
"""

import torch

from recbole_conrec.generative.language_tasks import MIXTURE, histories, tokens_of, unpadded
from recbole_conrec.generative.prompts import ITEM_OF, context_of
from recbole_conrec.generative.stage import GRPO_NEEDS, GRPO_TAKES, StageRun, Task
from recbole_conrec.model.lcrec import LCRec
from recbole_conrec.utils.errors import UserError

PROMPTS = ("next", "item_of", "titles_next")


def rule(items: torch.Tensor, target: list[int]) -> torch.Tensor:
    """1 where the item [P, G] is its prompt's target, else 0."""
    return (items == torch.tensor(target)[:, None]).float()


def rank(items: torch.Tensor, target: list[int]) -> torch.Tensor:
    """What a miss costs by its place in the beam [P, G], in groups that hold the target; 0 elsewhere."""
    hit = rule(items, target)
    cost = 1 / torch.log2(torch.arange(items.shape[1]) + 2.0)
    return -(cost / cost.sum()) * (1 - hit) * hit.amax(dim=1, keepdim=True)


def grpo(run: StageRun):
    """``samples`` training instances as histories of IDs; of the other kinds of prompts ``weights`` times as many."""
    prompts, stage, rows = run.model.prompts, run.stage, []
    for kind in PROMPTS:
        part, told, context = histories(run, round(_share(stage, kind) * stage["samples"]))
        if not len(part):
            continue
        if kind == "next":
            wide = context_of(run.config["context"], run.config["history"])
            tokens = unpadded(*prompts.history(*told, wide, part.user))
        elif kind == "titles_next":
            tokens = unpadded(*prompts.titles_told(*told, part.user, context))
        else:  # the instances' items, so that widely disliked ones are asked for more often
            text, stop = prompts.encode(ITEM_OF), prompts.encode("?")
            tokens = [text + title + stop for title in tokens_of(prompts.titles[part.item])]
        rows += [{"input_ids": ids, "target": int(item)} for ids, item in zip(tokens, part.item, strict=True)]
    return run.grpo(rows, [rule, rank])


def check(stage: dict, config) -> None:
    weights = stage.get("weights", {})
    if (
        not isinstance(weights, dict)
        or set(weights) - set(PROMPTS)
        or not all(isinstance(share, int | float) for share in weights.values())
    ):
        raise UserError(
            f"stage {stage['name']}: weights is {weights!r}; expected how many prompts of "
            f"{', '.join(PROMPTS)} there are, as shares of `samples`"
        )
    if not any(_share(stage, kind) > 0 for kind in PROMPTS):
        raise UserError(f"stage {stage['name']}: weights is {weights!r}; expected a share above 0")


def _share(stage: dict, kind: str) -> float:
    return stage.get("weights", {}).get(kind, 1 if kind == "next" else 0)


class MiniOneRec(LCRec):
    """The model of one data set: backbone, prompts and decoding are those of LC-Rec."""

    TASKS = {"mixture": MIXTURE, "grpo": Task(grpo, GRPO_NEEDS, GRPO_TAKES | {"weights"}, check)}
