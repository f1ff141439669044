"""The task ``mixture``: several language tasks at once, each shown as often as its weight says.

next            next-dislike prediction, on whole sequences
title_of        ID -> title
item_of         title -> ID
next_title      history of IDs -> title
titles_next     history of titles -> ID
titles_title    history of titles -> title
alignment       four items, one disliked and three liked, no user: name the disliked one
"""

import warnings
from collections.abc import Callable, Mapping

from pydantic import field_validator

from recbole_conrec.generative.stage import StageRun, TrainingSet
from recbole_conrec.generative.stage_options import SFTStage
from recbole_conrec.generative.tasks import (
    MIN_NEGATIVES,
    SequenceOptions,
    alignment_choices,
    alignment_examples,
    asked,
    next_examples,
    text_histories,
    tokens_of,
    translation_examples,
)
from recbole_conrec.generative.text_prompts import TITLED
from recbole_conrec.options.schema import Count, NonNegative


def _next(run: StageRun) -> list[dict]:
    return next_examples(run, run.model.context)


def _next_title(run: StageRun) -> list[dict]:
    prompts = run.model.prompts
    part, columns, context = text_histories(run)
    asking = prompts.history(*columns, context, part.user, prompts.encode(TITLED))
    return asked(asking, tokens_of(prompts.answer(part.item)))


def _titles_next(run: StageRun) -> list[dict]:
    prompts = run.model.prompts
    part, columns, context = text_histories(run)
    asking = prompts.title_history(*columns, part.user, context)
    return asked(asking, prompts.item_tokens[part.item].tolist())


def _titles_title(run: StageRun) -> list[dict]:
    prompts = run.model.prompts
    part, columns, context = text_histories(run)
    asking = prompts.title_history(*columns, part.user, context, TITLED)
    return asked(asking, tokens_of(prompts.answer(part.item)))


def _alignment(run: StageRun) -> list[dict]:
    choices = alignment_choices(run.data, MIN_NEGATIVES, run.stage.questions, run.rng)
    return alignment_examples(run.model.prompts, *choices)


LANGUAGE_TASKS: Mapping[str, Callable[[StageRun], list[dict]]] = {
    "next": _next,
    "title_of": lambda run: translation_examples(run)[0],
    "item_of": lambda run: translation_examples(run)[1],
    "next_title": _next_title,
    "titles_next": _titles_next,
    "titles_title": _titles_title,
    "alignment": _alignment,
}


TEXTLESS = {"next", "alignment"}  # the language tasks that read no text of an item


class MixtureStage(SFTStage, SequenceOptions):
    """Options of the task ``mixture``."""

    epochs: Count = 1
    """Passes over the mixture."""

    weights: dict[str, NonNegative]
    """How often an epoch shows each example of a language task (0.3: a random 30 % of them); 0 leaves a task out."""
    questions: Count = 20_000
    """Examples of the language task alignment, from which each epoch draws its share."""

    @field_validator("weights")
    @classmethod
    def _known(cls, weights: dict[str, float]) -> dict[str, float]:
        return check_weights(weights, LANGUAGE_TASKS)


def check_weights(weights: dict[str, float], known) -> dict[str, float]:
    """Raise ValueError for a weight of something unknown, or where none is above 0."""
    if set(weights) - set(known) or not any(weights.values()):
        raise ValueError(f"{weights!r}; expected numbers for some of {', '.join(known)}, one of them above 0")
    return weights


def mixture(run: StageRun) -> TrainingSet:
    """Supervised training on several language tasks at once."""
    weights = {task: weight for task, weight in run.stage.weights.items() if weight > 0}
    if run.data.item_words is None and set(weights) - TEXTLESS:
        left_out = ", ".join(task for task in weights if task not in TEXTLESS)
        warnings.warn(f"language tasks left out, as the data set has no texts of items: {left_out}", stacklevel=2)
        weights = {task: weight for task, weight in weights.items() if task in TEXTLESS}
    examples = {task: LANGUAGE_TASKS[task](run) for task in weights}
    if "next" in examples:  # its examples are those of all epochs
        weights["next"] /= run.stage.epochs
    return TrainingSet(examples, weights=weights)
