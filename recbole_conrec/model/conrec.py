r"""CoNRec: a language model over semantic IDs, trained with progressive GRPO.

An item is an ID of a few codes, each one token. The model reads a user's history as IDs and answers with the ID of the
item that they will dislike next. Training goes through ``stages`` (properties/model/CoNRec.yaml), in this order:

1. ``translation`` between IDs and titles, ``alignment`` of items and ``next``-dislike prediction are supervised; see
   generative/tasks.py;
2. ``grpo``, three times, with growing context: this file shows the prompts and what their answers are rewarded by;
3. generative/rewards.py has the rewards, and llm/grpo.py the optimisation:

.. math::
    r(o) = \max_{i \in GTS} \cos(o, i) - \gamma \max_{t \in FPS} \cos(o, t), \quad
    A_i = (r_i - \mathrm{mean}\, r) / \mathrm{std}\, r

Reference: "CoNRec", arXiv 2601.15721; its authors released no code. What the paper leaves open is marked (ours).
"""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, field_validator

from recbole_conrec.data.events import NEGATIVE, POSITIVE, Instances, Window
from recbole_conrec.generative.method_options import IdDecodingOptions, LanguageModelOptions
from recbole_conrec.generative.mixture import MixtureStage, check_weights, mixture
from recbole_conrec.generative.recommender import IdLanguageModel
from recbole_conrec.generative.rewards import best_cosine, find_reward, padded, unit_vectors
from recbole_conrec.generative.stage import StageRun, Task, TrainingSet
from recbole_conrec.generative.stage_options import Clean, GRPOStage, SFTStage, StageWindow, WindowedPromptOptions
from recbole_conrec.generative.tasks import (
    MIN_NEGATIVES,
    AlignmentStage,
    NextStage,
    alignment,
    alignment_accuracy,
    alignment_choices,
    context_for,
    next_dislike,
    questions,
    resolve,
    title_questions,
    translation,
)
from recbole_conrec.llm.batch import left_pad
from recbole_conrec.llm.decoding import beam_search
from recbole_conrec.options.schema import Natural, NonNegative
from recbole_conrec.utils.arrays import ragged, unique_rows
from recbole_conrec.utils.errors import UserError


class RewardOptions(GRPOStage):
    """What a completion is rewarded by."""

    REWARDS = (1, "the option reward")
    reward: str = "negatives_minus_positives"
    """A reward of generative/rewards.py by name, or a function of your own as package.module:function."""
    gamma: NonNegative = 0.5
    """Weight of the similarity to what the user will like."""
    neighbours: Natural = 1
    """Swing neighbours of each future dislike that count as targets, too."""
    future: Literal["next"] | StageWindow | None = None
    """Where the targets lie: null: in the data set's window; next: the next dislike alone; or another window."""

    @field_validator("reward")
    @classmethod
    def _known(cls, reward: str) -> str:
        try:
            find_reward(reward)
        except UserError as error:
            raise ValueError(str(error)) from None
        return reward


class CoNRecGRPOStage(RewardOptions, WindowedPromptOptions):
    """Options of CoNRec's task ``grpo``."""

    clean: Clean | None = None
    """Data cleaning by the model of the stage before; null: none."""
    rehearse: dict[str, NonNegative] = Field(default_factory=dict)
    """Prompts of earlier tasks, as shares of the training prompts: alignment (four items, the reward's targets are the
    disliked one and the three liked ones) and item_of (the item of a title), so that they are not forgotten (ours)."""

    @field_validator("rehearse")
    @classmethod
    def _known_tasks(cls, shares: dict[str, float]) -> dict[str, float]:
        return check_weights({**shares, "next": 1}, (*REHEARSED, "next")) and shares


class CoNRecOptions(LanguageModelOptions, IdDecodingOptions):
    """Options of CoNRec."""


def grpo(run: StageRun) -> TrainingSet:
    """Prompts of the stage's context, rewarded by what the user will dislike (GTS) and like (FPS).

    Training events only. Each example has the columns ``gts`` and ``fps``, lists of item ids, and ``forbidden``: what
    decoding would leave out of the user's lists is not sampled either.
    """
    model, stage, notes = run.model, run.stage, {}
    part = run.data.instances[run.rng.permutation(len(run.data.instances))[: stage.samples]]
    gts, fps = targets(run.data, part, stage, resolve(_window(stage), run, "future"))
    prompts = model.prompts.history(part.begin, part.end, part.time, context_for(run, stage), part.user)
    columns = zip(prompts.lists(), gts, fps, model.forbidden(part.begin, part.end), strict=True)
    examples = [{"input_ids": t, "gts": g.tolist(), "fps": f.tolist(), "forbidden": b} for t, g, f, b in columns]
    able = model.trie.n_leaves - stage.G  # of a user who has seen nearly everything nothing is left to sample
    examples = [one for one in examples if len(set(one["forbidden"])) <= able]
    if stage.clean:
        again = repeats(model, examples, stage.clean)
        notes["repeated"] = len(again)
        examples = examples + again
    for task, share in stage.rehearse.items():
        examples = examples + REHEARSED[task](run, round(share * len(part)))
    return TrainingSet(examples, rewards=[reward_of(model, stage)], notes=notes)


def rehearsed_alignment(run: StageRun, n: int) -> list[dict]:
    """Prompts that ask for the disliked one of four items: the target; the liked ones are to be avoided."""
    answers, choices = alignment_choices(run.data, MIN_NEGATIVES, n, run.rng) if n else (np.zeros(0), np.zeros((0, 4)))
    asked = zip(questions(run.model.prompts, choices), answers.tolist(), choices.tolist(), strict=True)
    return [
        {"input_ids": tokens, "gts": [answer], "fps": [item for item in four if item != answer], "forbidden": []}
        for tokens, answer, four in asked
    ]


def rehearsed_titles(run: StageRun, n: int) -> list[dict]:
    """Prompts that give a title and ask for its item; none where the data set has no texts."""
    titles = run.data.item_text()
    items = run.rng.permutation([item for item, title in enumerate(titles) if title])[:n]
    asked = title_questions(run.model, [titles[item] for item in items])
    return [
        {"input_ids": tokens, "gts": [int(item)], "fps": [], "forbidden": []}
        for tokens, item in zip(asked, items, strict=True)
    ]


REHEARSED: dict[str, Callable[[StageRun, int], list[dict]]] = {
    "alignment": rehearsed_alignment,
    "item_of": rehearsed_titles,
}


def reward_of(model, stage: RewardOptions):
    """The stage's reward as a function of generated items and the examples' columns."""
    function = find_reward(stage.reward)
    vectors, codes = unit_vectors(model.semantic_ids), torch.from_numpy(np.array(model.semantic_ids.codes))

    def reward(items, gts, fps, **columns):
        return function(
            items, gts=padded(gts), fps=padded(fps), vectors=vectors, codes=codes, gamma=stage.gamma, **columns
        )

    return reward


def _window(stage: RewardOptions) -> StageWindow | None:
    return None if stage.future == "next" else stage.future


def targets(
    data, part: Instances, stage: RewardOptions, window: Window | None = None
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """GTS and FPS of some instances: sorted item ids for each.

    GTS: the dislikes of the window (default: the protocol's) and the first ``neighbours`` Swing neighbours of each,
    without what the user's lists leave out at t0. FPS: its likes. ``future: next`` takes the next dislike alone, and
    the likes of the protocol's window.
    """
    if stage.future == "next":
        ptr, items = np.arange(len(part) + 1), part.item
    else:
        ptr, items = data.future(part, (NEGATIVE,), window)
    if stage.neighbours:
        swing = data.swing()
        first, end = swing.ptr[items], swing.ptr[items + 1]
        per_item, at = ragged(first, np.minimum(first + stage.neighbours, end))
        owner = np.repeat(np.arange(len(part)), np.diff(ptr))
        owner = np.concatenate([owner, np.repeat(owner, np.diff(per_item))])
        order = np.argsort(owner, kind="stable")
        items = np.concatenate([items, swing.items[at]])[order]
        ptr = np.concatenate([[0], np.bincount(owner, minlength=len(part)).cumsum()])
    n_items = data.log.n_items
    ptr, items = unique_rows(ptr, items, n_items)
    owner = np.repeat(np.arange(len(part)), np.diff(ptr))
    left_out, those = data.exclusion.pairs(part.begin, part.end)
    kept = ~np.isin(owner * n_items + items, left_out * n_items + those)
    ptr = np.concatenate([[0], np.cumsum(kept)])[ptr]
    return _lists((ptr, items[kept])), _lists(data.future(part, (POSITIVE,), window))


def _lists(csr) -> list[np.ndarray]:
    return np.split(csr[1], csr[0][1:-1])


@torch.no_grad()
def repeats(model, examples: list[dict], clean: Clean) -> list[dict]:
    """Data cleaning between stages: prompts to which the model now answers something too similar to what the user will
    like are repeated ``factor`` - 1 times (ours: the paper says that such samples are augmented).
    """
    ids, mask = left_pad([one["input_ids"] for one in examples], model.backbone.pad_id, model.device)
    left_out = left_pad([one["forbidden"] for one in examples], -1, model.device)[0]
    leaves, _ = beam_search(
        model.backbone, model.trie, ids, mask, width=4, normalise=model.normalise, forbidden=left_out, chunk=128
    )
    first = model.trie.leaf_items[model.trie.leaf_ptr[leaves[:, :1].clamp(min=0)]].cpu()
    liked, vectors = padded([one["fps"] for one in examples]), unit_vectors(model.semantic_ids)
    close = best_cosine(first, liked, vectors)[:, 0] > clean.threshold
    return [one for one, again in zip(examples, close.tolist(), strict=True) if again] * (clean.factor - 1)


class CoNRec(IdLanguageModel):
    """The model of one data set. Decoding is constrained: only IDs of existing items can be generated."""

    OPTIONS = CoNRecOptions
    TASKS: ClassVar[dict[str, Task]] = {
        "translation": Task(translation, SFTStage, reads_text=True),
        "alignment": Task(alignment, AlignmentStage),
        "next": Task(next_dislike, NextStage),
        "mixture": Task(mixture, MixtureStage),
        "grpo": Task(grpo, CoNRecGRPOStage, algorithm="grpo"),
    }

    def probe(self, data) -> dict[str, Any]:
        return alignment_accuracy(self, data)
