"""CoNRec's training stages: what each one shows the model. A stage is a mapping of ``stages`` in the YAML.

``task`` is one of

    translation   ID -> title and title -> ID
    alignment     four items, one disliked and three liked, no user: name the disliked one
    next          next-negative prediction, on whole sequences
    grpo          group-relative policy optimisation with a reward of ``llm/rewards.py``
"""

import numpy as np
import torch

from recbole_conrec.data.events import NEGATIVE, POSITIVE
from recbole_conrec.generative.prompts import ITEM_OF, ODD_ONE, TITLE_OF
from recbole_conrec.generative.rewards import REWARDS, best_cosine, unit_vectors
from recbole_conrec.generative.stage import (
    GRPO_NEEDS,
    GRPO_TAKES,
    SFT_NEEDS,
    SFT_TAKES,
    StageRun,
    Task,
    stage_context,
    stage_window,
)
from recbole_conrec.llm.batch import left_pad
from recbole_conrec.llm.decoding import beam_search, score
from recbole_conrec.utils.arrays import ragged, unique_rows
from recbole_conrec.utils.errors import UserError

MIN_NEGATIVES = 3  # of the paper: an answer of the alignment task has more
QUESTIONS = 20_260_115  # seed of the questions that measure it; no run's own


# -- supervised tasks ----------------------------------------------------------------------------------------------
def next_negative(run: StageRun):
    """All rows of :func:`next_rows` are shuffled together and shown once."""
    return run.sft(next_rows(run), epochs=1)


def next_rows(run: StageRun) -> list[dict]:
    """Every user's training events as packed sequences, as often as ``epochs`` says, each time with simultaneous events
    in a new order."""
    data, log = run.data, run.data.log
    begin, end = log.start[:-1], log.first_at_or_after(np.arange(log.n_users), data.cuts.valid_start)
    context = stage_context(run.stage, run.config)
    rows = []
    for _ in range(run.stage["epochs"]):
        rows += run.model.prompts.packed(begin, end, context, context.max_events, data.first_dislike, run.rng)
    return rows


def translation(run: StageRun):
    """Both directions for every item that has a text."""
    return run.sft([one for pair in zip(*translation_rows(run), strict=True) for one in pair])


def translation_rows(run: StageRun) -> tuple[list[dict], list[dict]]:
    """ID -> title and title -> ID of every item that has a text."""
    prompts, titles = run.model.prompts, run.data.item_text()
    items = np.array([item for item, title in enumerate(titles) if title])
    encoded = run.model.backbone.encode([f" {titles[item]}" for item in items])
    title_of, item_of, stop = prompts.encode(TITLE_OF), prompts.encode(ITEM_OF), prompts.encode("?")
    end = [run.model.backbone.eos_id]
    sids = prompts.item_tokens[items].tolist()
    pairs = list(zip(sids, encoded, strict=True))
    return (
        [row([*title_of, *sid, *stop], [*title, *end]) for sid, title in pairs],
        [row([*item_of, *title, *stop], sid) for sid, title in pairs],
    )


def alignment(run: StageRun):
    """Item-level alignment: items with more than ``min_negatives`` dislikes against three items that were liked."""
    stage, prompts = run.stage, run.model.prompts
    answers, choices = alignment_choices(run.data, stage.get("min_negatives", MIN_NEGATIVES), stage["samples"], run.rng)
    return run.sft(
        [
            row(question, prompts.item_tokens[answer].tolist())
            for question, answer in zip(questions(prompts, choices), answers, strict=True)
        ]
    )


def questions(prompts, choices) -> list[list[int]]:
    """The prompt of each four choices [S, 4]."""
    start = prompts.encode(ODD_ONE)
    return [start + four for four in prompts.item_tokens[choices].reshape(len(choices), -1).tolist()]


@torch.no_grad()
def alignment_accuracy(model, data, samples: int = 1000) -> float | None:
    """How often the model names the disliked one of four when it must name one; chance is .25, a tie is wrong.

    The questions are the same for every run on the data: drawn as those of training are, from training events, by a
    seed of their own. None where the data hold no such question.
    """
    try:
        answers, choices = alignment_choices(data, MIN_NEGATIVES, samples, np.random.default_rng(QUESTIONS))
    except UserError:
        return None
    prompts = left_pad(questions(model.prompts, choices), model.backbone.pad_id, model.device)
    leaves = model.trie.item_leaf[torch.from_numpy(choices).to(model.device)]
    likely = score(model.backbone, model.trie, *prompts, leaves, normalise=model.normalise, chunk=model.chunk)
    own = likely.gather(1, torch.from_numpy((choices == answers[:, None]).argmax(1)).to(model.device)[:, None])
    return float(((likely >= own).sum(1) == 1).double().mean())


def alignment_choices(data, min_negatives: int, samples: int, rng):
    """Answers [S] and the four choices [S, 4] in random order. Training events only.

    The answer is drawn among items with more than ``min_negatives`` negatives, the others from positive events.
    Raises UserError if there is no such item or no positive event.
    """
    log = data.log
    item, feedback = log.item[data.train_mask], log.feedback[data.train_mask]
    disliked = np.flatnonzero(np.bincount(item[feedback == NEGATIVE], minlength=log.n_items) > min_negatives)
    liked = item[feedback == POSITIVE]
    if not len(disliked) or len(np.unique(liked)) < 4:
        raise UserError(
            f"alignment: {len(disliked)} items have more than {min_negatives} negatives and "
            f"{len(np.unique(liked))} items are liked in training; lower `min_negatives` or leave it out"
        )
    answers = rng.choice(disliked, samples)
    choices = np.concatenate([answers[:, None], rng.choice(liked, (samples, 3))], axis=1)
    while (clash := (np.diff(np.sort(choices, axis=1), axis=1) == 0).any(axis=1)).any():
        choices[clash, 1:] = rng.choice(liked, (int(clash.sum()), 3))
    return answers, rng.permuted(choices, axis=1)


def row(prompt: list[int], answer: list[int]) -> dict:
    return {"input_ids": prompt + answer, "completion_mask": [0] * len(prompt) + [1] * len(answer)}


# -- GRPO ----------------------------------------------------------------------------------------------------------
def grpo(run: StageRun):
    """Rewarded by what the user will dislike (GTS) and like (FPS) within the window, training events only."""
    model, stage = run.model, run.stage
    rows = grpo_rows(model, run.data, stage, run.config, run.rng)
    if stage.get("clean"):
        again = repeats(model, rows, stage["clean"])
        run.notes["repeated"] = len(again)
        rows = rows + again
    vectors, codes = unit_vectors(model.semantic_ids), torch.from_numpy(np.array(model.semantic_ids.codes))
    function, gamma = REWARDS[stage["reward"]], stage["gamma"]

    def reward(items, gts, fps):
        return function(items, padded(gts), padded(fps), vectors, codes, gamma)

    return run.grpo(rows, reward)


def grpo_rows(model, data, stage, config, rng) -> list[dict]:
    """Prompts of the stage's context with the columns ``gts`` and ``fps``: lists of item ids."""
    picked = rng.permutation(len(data.instances))[: stage["samples"]]
    part = data.instances[picked]
    gts, fps = targets(data, part, stage, config)
    ids, mask = model.prompts.history(part.begin, part.end, part.time, stage_context(stage, config), part.user)
    return [
        {"input_ids": tokens[there].tolist(), "gts": g.tolist(), "fps": f.tolist()}
        for tokens, there, g, f in zip(ids, mask.bool(), gts, fps, strict=True)
    ]


def targets(data, part, stage, config) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """GTS and FPS of some instances: sorted item ids for each.

    GTS: the dislikes of the window and the first ``neighbours`` Swing neighbours of each. FPS: its likes. The window is
    the protocol's, or ``future: {unit, length}``; ``future: next`` takes the next dislike alone and the likes of the
    protocol's window.
    """
    only_next = stage.get("future") == "next"
    window = None if only_next else stage_window(stage, "future", config)
    if only_next:
        ptr, items = np.arange(len(part) + 1), part.item
    else:
        ptr, items = data.future(part, (NEGATIVE,), window)
    if stage["neighbours"]:
        swing = data.swing()
        first, end = swing.ptr[items], swing.ptr[items + 1]
        per_item, at = ragged(first, np.minimum(first + stage["neighbours"], end))
        owner = np.repeat(np.arange(len(part)), np.diff(ptr))
        owner = np.concatenate([owner, np.repeat(owner, np.diff(per_item))])
        order = np.argsort(owner, kind="stable")
        items = np.concatenate([items, swing.items[at]])[order]
        ptr = np.concatenate([[0], np.bincount(owner, minlength=len(part)).cumsum()])
    return _lists(unique_rows(ptr, items, data.log.n_items)), _lists(data.future(part, (POSITIVE,), window))


def check_future(stage, config) -> None:
    if stage.get("future") != "next":
        stage_window(stage, "future", config)


@torch.no_grad()
def repeats(model, rows, clean: dict) -> list[dict]:
    """Data cleaning between stages: prompts to which the model now answers something too similar to what the user will
    like come again ``factor`` - 1 times (ours: the paper says that such samples are augmented)."""
    ids, mask = left_pad([one["input_ids"] for one in rows], model.backbone.pad_id, model.device)
    leaves, _ = beam_search(model.backbone, model.trie, ids, mask, width=4, normalise=model.normalise, chunk=128)
    first = model.trie.leaf_items[model.trie.leaf_ptr[leaves[:, :1].clamp(min=0)]].cpu()
    close = (
        best_cosine(first, padded([one["fps"] for one in rows]), unit_vectors(model.semantic_ids))[:, 0]
        > clean["threshold"]
    )
    return [one for one, again in zip(rows, close.tolist(), strict=True) if again] * (clean["factor"] - 1)


def _lists(csr) -> list[np.ndarray]:
    return np.split(csr[1], csr[0][1:-1])


def padded(lists) -> torch.Tensor:
    """Lists of item ids -> int64 [N, longest], padded with 0."""
    width = max(map(len, lists), default=0)
    return torch.tensor([[*one, *[0] * (width - len(one))] for one in lists], dtype=torch.int64).view(len(lists), width)


CONTEXT = frozenset({"context", "window", "history"})
TASKS = {
    "translation": Task(translation, SFT_NEEDS, SFT_TAKES),
    "alignment": Task(alignment, SFT_NEEDS | {"samples"}, SFT_TAKES | {"min_negatives"}),
    "next": Task(next_negative, SFT_NEEDS, SFT_TAKES | CONTEXT - {"window"}),  # whole sequences know no window
    "grpo": Task(
        grpo, GRPO_NEEDS | {"gamma", "reward", "neighbours"}, GRPO_TAKES | CONTEXT | {"clean", "future"}, check_future
    ),
}
