"""One user's prompt, what a trained run answers to it, and how CoNRec's reward judges the answers.

Meant for finding out why a run behaves as it does. It shows the future of the instance (GTS, FPS, hits), which the
model did not see.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from pydantic import model_validator
from typing_extensions import Self

from recbole_conrec.data.dataset import NegativeFeedbackDataset
from recbole_conrec.data.events import NEGATIVE
from recbole_conrec.generative.recommender import GenerativeRecommender
from recbole_conrec.model.conrec import RewardOptions
from recbole_conrec.options.schema import Count, Options, Text
from recbole_conrec.runs.restore import TrainedRun
from recbole_conrec.study.judge import judging_items, judging_stage, rewards
from recbole_conrec.utils.errors import UserError


class ExplainOptions(Options):
    """Options of ``recbole-conrec explain``; without ``run`` it takes those of a run as well."""

    user: Text
    """Id of the user, as in the data files."""
    run: Text | None = None
    """Folder of the trained run; null: the run of the given model, data set and options."""
    model: Text | None = None
    """Method of the run, where `run` is not given."""
    dataset: Text | None = None
    """Data set of the run, where `run` is not given."""
    instance: Count = 1
    """Which of the user's instances in the split, in order of time."""
    split: Literal["train", "valid", "test"] = "test"
    """Part of the data from which the instance is."""
    stage: Text | None = None
    """Stage whose reward judges; null: the last GRPO stage, or CoNRec's defaults if the run has none."""
    k: Count = 20
    """Number of answers; cut to the number of items."""
    out: Text | None = None
    """File to which the view is written as an HTML page; null: none."""

    @model_validator(mode="after")
    def _one_run(self) -> Self:
        if self.run is not None and (self.model is not None or self.dataset is not None):
            raise ValueError("run is given, which decides model and dataset; leave these out")
        return self


@dataclass(frozen=True)
class Answer:
    """One answer of the model.

    Attributes:
        item: internal id. likelihood: log-likelihood of its semantic ID.
        gts, fps: the items of GTS and FPS nearest to it (0: none); gts_cosine, fps_cosine: their cosines.
        reward: of the judging stage.
        hit: 'next' (the next disliked item), 'F' (another of the window), 'neighbour' (in GTS only by Swing) or ''.
    """

    item: int
    likelihood: float
    gts: int
    gts_cosine: float
    fps: int
    fps_cosine: float
    reward: float
    hit: str


@dataclass(frozen=True)
class Explanation:
    """The result of :func:`explain`; items are internal ids.

    Attributes:
        user: id as in the data files.
        split: part of the data. number, of: the instance is the ``number``-th of the user's ``of`` in the split.
        t0: seconds.
        prompt: (words, item) in the order of the prompt; item 0 after the last words, where the answer follows.
        tokens: length of the prompt.
        next, f: the next disliked item, and all that the user dislikes within the window.
        gts, fps: the items by which answers are rewarded.
        stage: the stage whose reward judges.
        answers: the likeliest first.
    """

    user: str
    split: str
    number: int
    of: int
    t0: int
    prompt: list[tuple[str, int]]
    tokens: int
    next: int
    f: list[int]
    gts: list[int]
    fps: list[int]
    stage: RewardOptions
    answers: list[Answer]

    def future(self) -> list[tuple[str, list[int]]]:
        """What follows the instance, each group by its name."""
        beyond = [item for item in self.gts if item not in self.f]
        return [("next", [self.next]), ("F", self.f), ("GTS beyond F", beyond), ("FPS", self.fps)]


@torch.no_grad()
def explain(run: TrainedRun, options: ExplainOptions) -> Explanation:
    """Look at one instance of a trained run of a method that answers with semantic IDs.

    Raises UserError for another method, an unknown user or stage, or an instance that does not exist.
    """
    model, data = run.model, run.data
    if not isinstance(model, GenerativeRecommender):
        raise UserError(
            f"explain: {run.method} does not answer with semantic IDs; give a run of a method that does, such as CoNRec"
        )
    stage = judging_stage(model.stages, options.stage)
    serving, places = _instances(data, options.user, options.split)
    if options.instance > len(places):
        raise UserError(
            f"explain.instance: {options.instance}; user '{options.user}' has {len(places)} instances in "
            f"{options.split}; give a smaller number, another split, or another user"
        )
    at = places[options.instance - 1]
    part, interaction = serving.instances[[at]], serving[[at]].to(run.model.device)

    gts, fps = judging_items(data, part, stage)
    _, future = data.future(part, (NEGATIVE,))
    items = model.recommend(interaction, min(options.k, data.item_num - 1))
    likely = model.scores_by("likelihood", interaction, items)[0].tolist()
    (tokens,) = model.prompt(interaction).to("cpu").lists()
    asked, items = int(part.item[0]), items[0][items[0] > 0].cpu()
    near, far = _nearest(items, gts, model.vectors.cpu()), _nearest(items, fps, model.vectors.cpu())
    judged = rewards(model, items, gts, fps, stage)
    return Explanation(
        user=options.user,
        split=options.split,
        number=options.instance,
        of=len(places),
        t0=int(part.time[0]),
        tokens=len(tokens),
        prompt=read_prompt(model, tokens),
        next=asked,
        f=future.tolist(),
        gts=gts.tolist(),
        fps=fps.tolist(),
        stage=stage,
        answers=[
            Answer(item, likely[n], *near[n], *far[n], judged[n], _hit(item, asked, future, gts))
            for n, item in enumerate(items.tolist())
        ],
    )


def _instances(data: NegativeFeedbackDataset, user: str, split: str) -> tuple[NegativeFeedbackDataset, np.ndarray]:
    """The data set that serves a split, and the places of the user's instances in it, int64 [n]."""
    number = data.field2token_id[data.uid_field].get(user, 0)
    if not number:
        raise UserError(f"explain.user: there is no user '{user}' in {data.dataset_name}")
    serving = next(part for part in data.build() if part.split == split)
    return serving, np.flatnonzero(serving.instances.user == number)


def _hit(item: int, asked: int, future: np.ndarray, gts: np.ndarray) -> str:
    if item == asked:
        return "next"
    if item in future:
        return "F"
    return "neighbour" if item in gts else ""


def _nearest(items: torch.Tensor, targets: np.ndarray, vectors: torch.Tensor) -> list[tuple[int, float]]:
    """For each item [k] the nearest of the targets and its cosine; (0, 0.0) without targets."""
    if not len(targets):
        return [(0, 0.0)] * len(items)
    cosine, at = (vectors[items] @ vectors[torch.from_numpy(targets)].T).max(1)
    return list(zip(targets[at.numpy()].tolist(), cosine.tolist(), strict=True))


def read_prompt(model: GenerativeRecommender, tokens: list[int]) -> list[tuple[str, int]]:
    """Token ids -> (words, item) pairs: the words before each item; last, with item 0, the words after all items.

    The words of a model without a tokenizer are token numbers. Tokens of an ID that no item has stay words.
    """
    backbone, ids = model.backbone, model.semantic_ids
    place = {int(token): n for n, token in enumerate(backbone.sid_tokens.tolist())}
    offsets, names, out, at = ids.level_offset.tolist(), ids.tokens(), [], 0
    words: list[int] = []
    while at < len(tokens):
        found = [place.get(token, -1) for token in tokens[at : at + ids.depth]]
        codes = [n - offset for n, offset in zip(found, offsets, strict=False)]
        item = 0
        if len(found) == ids.depth and all(0 <= code < size for code, size in zip(codes, ids.sizes, strict=True)):
            items = ids.items_of(np.array(codes))
            item = int(items[0]) if len(items) else 0
        if item:
            out.append((_words(backbone, words, place, names), item))
            words, at = [], at + ids.depth
        else:
            words.append(tokens[at])
            at += 1
    return [*out, (_words(backbone, words, place, names), 0)]


def _words(backbone, tokens: list[int], place: dict[int, int], names: list[str]) -> str:
    if backbone.tokenizer is None:
        return " ".join(names[place[token]] if token in place else f"[{token}]" for token in tokens)
    return backbone.tokenizer.decode(tokens).strip()
