"""What stages show the model: the tasks that methods share, each a plain function beside its options.

    translation   ID -> title and title -> ID
    alignment     four items, one disliked and three liked, no user: name the disliked one
    next          next-dislike prediction, on whole sequences
    mixture       several language tasks at once (mixture.py)

Training events only; a prompt shows what lies strictly before its t0.
"""

from dataclasses import replace
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from recbole_conrec.data.events import NEGATIVE, POSITIVE, Instances, Window
from recbole_conrec.generative.prompts import ITEM_OF, ODD_ONE, TITLE_OF, Context, Prompts, context_of
from recbole_conrec.generative.stage import StageRun, TrainingSet
from recbole_conrec.generative.stage_options import PromptOptions, SFTStage, WindowedPromptOptions
from recbole_conrec.llm.batch import left_pad
from recbole_conrec.llm.decoding import score
from recbole_conrec.options.schema import Count, Natural, NonNegative, Options
from recbole_conrec.utils.arrays import mix
from recbole_conrec.utils.errors import UserError

MIN_NEGATIVES = 3  # of the paper: an answer of the alignment task has more
QUESTIONS = 20_260_115  # seed of the questions that measure it; no run's own


# -- examples --------------------------------------------------------------------------------------------------------
def example(prompt: list[int], answer: list[int]) -> dict:
    """A supervised example: the loss is on the answer."""
    return {"input_ids": prompt + answer, "completion_mask": [0] * len(prompt) + [1] * len(answer)}


def asked(prompts: Prompts, answers) -> list[dict]:
    """The examples of N prompts and their N answers, lists of token ids."""
    return [example(prompt, answer) for prompt, answer in zip(prompts.lists(), answers, strict=True)]


def tokens_of(holed: np.ndarray) -> list[list[int]]:
    """Token arrays [N, L] with -1 for holes, as lists."""
    return [tokens[tokens >= 0].tolist() for tokens in holed]


def context_for(run: StageRun, stage: PromptOptions) -> Context:
    """What a stage's prompts show; what the stage leaves open is as in the method's options."""
    options = run.model.options
    context = context_of(stage.context or options.context, stage.history or options.history)
    window = stage.window if isinstance(stage, WindowedPromptOptions) else None
    return replace(context, window=resolve(window, run, "window"))


def resolve(window, run: StageRun, option: str) -> Window | None:
    """A stage's window as a Window of the log; None if it is not given."""
    return None if window is None else window.resolve(run.data.protocol.window, f"stages.{run.stage.name}.{option}")


# -- next dislike ----------------------------------------------------------------------------------------------------
class SequenceOptions(Options):
    """What a packed sequence trains besides dislikes, and how it is varied."""

    likes: NonNegative = 0
    """Weight of the loss on liked events, that of dislikes being 1 (ours): taste is learned from many more events."""
    drop: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the events that are left out at random, other ones in each epoch (ours)."""


class NextStage(SFTStage, PromptOptions, SequenceOptions):
    """Options of the task ``next``."""

    epochs: Count = 1
    """Passes over the sequences, each in a new order of simultaneous events."""


def next_dislike(run: StageRun) -> TrainingSet:
    """All examples of :func:`next_examples`, shuffled together and shown once."""
    return TrainingSet(next_examples(run, context_for(run, run.stage)), epochs=1)


def next_examples(run: StageRun, context: Context) -> list[dict]:
    """Every user's training events as packed sequences, once for each of the stage's ``epochs``, each time with
    simultaneous events in a new order.
    """
    data, log, stage = run.data, run.data.log, run.stage
    if stage.likes and POSITIVE not in context.kinds:
        raise UserError(f"stages.{stage.name}.likes: {stage.likes}; needs `context: both`, or set it to 0")
    begin, end = log.start[:-1], log.first_at_or_after(np.arange(log.n_users), data.cuts.valid_start)
    targets = data.first_dislike + stage.likes * (log.feedback == POSITIVE)
    examples = []
    for _ in range(stage.epochs):
        examples += run.model.prompts.packed(begin, end, context, context.max_events, targets, run.rng, stage.drop)
    return examples


# -- translation -----------------------------------------------------------------------------------------------------
def translation(run: StageRun) -> TrainingSet:
    """Both directions for every item that has a text."""
    return TrainingSet([one for pair in zip(*translation_examples(run), strict=True) for one in pair])


def translation_examples(run: StageRun) -> tuple[list[dict], list[dict]]:
    """ID -> title, and title -> ID, of every item that has a text."""
    prompts, titles = run.model.prompts, run.data.item_text()
    items = np.array([item for item, title in enumerate(titles) if title])
    encoded = run.model.backbone.words([f" {titles[item]}" for item in items])
    title_of, stop, end = prompts.open(TITLE_OF), prompts.encode("?"), [run.model.backbone.eos_id]
    sids = prompts.item_tokens[items].tolist()
    asking = title_questions(run.model, [titles[item] for item in items])
    return (
        [example([*title_of, *sid, *stop], [*title, *end]) for sid, title in zip(sids, encoded, strict=True)],
        [example(question, sid) for question, sid in zip(asking, sids, strict=True)],
    )


def title_questions(model, titles: list[str]) -> list[list[int]]:
    """The prompts that ask for the item of each title."""
    item_of, stop = model.prompts.open(ITEM_OF), model.prompts.encode("?")
    return [[*item_of, *title, *stop] for title in model.backbone.words([f" {title}" for title in titles])]


# -- alignment -------------------------------------------------------------------------------------------------------
class AlignmentStage(SFTStage):
    """Options of the task ``alignment``."""

    samples: Count
    """Questions."""
    min_negatives: Natural = MIN_NEGATIVES
    """An answer has more training dislikes than this."""


def alignment(run: StageRun) -> TrainingSet:
    """Item-level alignment: items with more than ``min_negatives`` dislikes against three items that were liked."""
    stage, prompts = run.stage, run.model.prompts
    return TrainingSet(
        alignment_examples(prompts, *alignment_choices(run.data, stage.min_negatives, stage.samples, run.rng))
    )


def alignment_examples(prompts, answers: np.ndarray, choices: np.ndarray) -> list[dict]:
    """The questions with their answers."""
    pairs = zip(questions(prompts, choices), answers, strict=True)
    return [example(question, prompts.item_tokens[answer].tolist()) for question, answer in pairs]


def questions(prompts, choices: np.ndarray) -> list[list[int]]:
    """The prompt of each four choices [S, 4]."""
    start = prompts.open(ODD_ONE)
    return [start + four for four in prompts.item_tokens[choices].reshape(len(choices), -1).tolist()]


@torch.no_grad()
def alignment_accuracy(model, data, samples: int = 1000) -> dict[str, float]:
    """How often the model names the disliked one of four when it must name one; a tie is wrong.

    The questions are the same for every run on the data, and of the users that no question of the training is about.

    Returns:
        {'alignment': of the model, 'alignment_least_liked': of naming the one with the fewest training likes}, which a
        model that knows popularity alone reaches; chance is .25. {} where the data hold no such question.
    """
    try:
        rng = np.random.default_rng(QUESTIONS)
        answers, choices = alignment_choices(data, MIN_NEGATIVES, samples, rng, held_out=True)
    except UserError:
        return {}
    likes = np.bincount(data.log.item[data.train_mask & (data.log.feedback == POSITIVE)], minlength=data.log.n_items)
    prompts = left_pad(questions(model.prompts, choices), model.backbone.pad_id, model.device)
    leaves = model.trie.item_leaf[torch.from_numpy(choices).to(model.device)]
    likely = score(model.backbone, model.trie, *prompts, leaves, normalise=model.normalise, chunk=model.chunk)
    scores = {"alignment": likely.cpu().numpy(), "alignment_least_liked": -likes[choices]}
    place = (choices == answers[:, None]).argmax(1)[:, None]
    ahead = {name: (given >= np.take_along_axis(given, place, 1)).sum(1) for name, given in scores.items()}
    return {name: float((those == 1).mean()) for name, those in ahead.items()}


def alignment_choices(data, min_negatives: int, samples: int, rng: np.random.Generator, *, held_out: bool = False):
    """Answers [S] and the four choices [S, 4] in random order. Training events only.

    The answer is drawn from the disliked events on items with more than ``min_negatives`` dislikes, the others from the
    liked events: so neither popularity nor its absence gives the answer away (ours; drawn by items, "name the least
    popular" is right more often).

    Args:
        held_out: the events of the tenth of the users that is kept for measuring, in place of all others'.

    Raises UserError if there is no such item or no liked event.
    """
    log = data.log
    negative = data.train_mask & (log.feedback == NEGATIVE)
    often = np.bincount(log.item[negative], minlength=log.n_items) > min_negatives
    mine = (mix(QUESTIONS, np.arange(log.n_users)) % np.uint64(10) == 0)[log.user] == held_out
    disliked = log.item[mine & negative & often[log.item]]
    liked = log.item[mine & data.train_mask & (log.feedback == POSITIVE)]
    if not len(disliked) or len(np.unique(liked)) < 4:
        raise UserError(
            f"alignment: {len(np.unique(disliked))} items have more than {min_negatives} negatives and "
            f"{len(np.unique(liked))} items are liked in training; lower `min_negatives` or leave the stage out"
        )
    answers = rng.choice(disliked, samples)
    choices = np.concatenate([answers[:, None], rng.choice(liked, (samples, 3))], axis=1)
    while (clash := (np.diff(np.sort(choices, axis=1), axis=1) == 0).any(axis=1)).any():
        choices[clash, 1:] = rng.choice(liked, (int(clash.sum()), 3))
    return answers, rng.permuted(choices, axis=1)


# -- histories of titles ---------------------------------------------------------------------------------------------
def text_histories(run: StageRun, samples: int | None = None) -> tuple[Instances, tuple, Context]:
    """Training instances (at most ``samples`` of them, drawn by the stage's generator), what a prompt builder reads of
    them (begin, end, t0), and their context of ``text_history`` events.
    """
    part = run.data.instances
    if samples is not None:
        part = part[run.rng.permutation(len(part))[:samples]]
    options = run.model.options
    return part, (part.begin, part.end, part.time), context_of(options.context, options.text_history)
