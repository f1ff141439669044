"""The language tasks that LC-Rec and MiniOneRec mix: between IDs and titles, and from histories to either.

    next            history of IDs -> ID, on stretches of sequences: a pass trains all their negatives (llm/prompts.py)
    title_of        ID -> title
    item_of         title -> ID
    next_title      history of IDs -> title
    titles_next     history of titles -> ID
    titles_title    history of titles -> title

Training events only; a prompt tells what lies strictly before its t0.
"""

from dataclasses import replace

import numpy as np

from recbole_conrec.generative.prompts import context_of
from recbole_conrec.generative.stage import SFT_NEEDS, SFT_TAKES, StageRun, Task
from recbole_conrec.generative.tasks import next_rows, row, translation_rows
from recbole_conrec.generative.text_prompts import TITLED
from recbole_conrec.utils.errors import UserError


def mixture(run: StageRun):
    """Supervised training on several tasks at once: ``weights`` says which, and how often an epoch shows each row."""
    stage = run.stage
    weights = {task: weight for task, weight in stage["weights"].items() if weight > 0}
    rows = {task: TASKS[task](run) for task in weights}
    if "next" in rows:  # its rows are those of all epochs
        weights["next"] /= stage["epochs"]
    return replace(run, stage={**stage, "weights": weights}).sft(rows)


def check_mixture(stage: dict, config) -> None:
    weights = stage["weights"]
    if not isinstance(weights, dict) or not weights or set(weights) - set(TASKS):
        raise UserError(
            f"stage {stage['name']}: weights is {weights!r}; expected how often an epoch shows each row of "
            f"some of {', '.join(TASKS)}"
        )
    if not all(isinstance(w, int | float) and w >= 0 for w in weights.values()) or not any(weights.values()):
        raise UserError(f"stage {stage['name']}: weights is {weights!r}; expected numbers of at least 0, one above 0")


def unpadded(ids, mask) -> list[list[int]]:
    """Prompts as a builder gives them, without their padding."""
    return [tokens[there].tolist() for tokens, there in zip(ids.numpy(), mask.bool().numpy(), strict=True)]


def asked(prompts, answers) -> list[dict]:
    """Training rows of prompts (input_ids, attention_mask [N, T]) and N answers, lists of token ids."""
    return [row(prompt, answer) for prompt, answer in zip(unpadded(*prompts), answers, strict=True)]


def tokens_of(padded: np.ndarray) -> list[list[int]]:
    """Token arrays [N, L] with -1 for holes, as lists."""
    return [tokens[tokens >= 0].tolist() for tokens in padded]


def histories(run: StageRun, samples: int | None = None):
    """Training instances (at most ``samples`` of them, drawn by the stage's generator), what a prompt builder wants to
    know of them, and their context of ``text_history`` events."""
    part = run.data.instances
    if samples is not None:
        part = part[run.rng.permutation(len(part))[:samples]]
    context = context_of(run.config["context"], int(run.config["text_history"]))
    return part, (part.begin, part.end, part.time), context


def _next_title(run: StageRun) -> list[dict]:
    prompts = run.model.prompts
    part, told, context = histories(run)
    asking = prompts.history(*told, context, part.user, prompts.encode(TITLED))
    return asked(asking, tokens_of(prompts.answer(part.item)))


def _titles_next(run: StageRun) -> list[dict]:
    prompts = run.model.prompts
    part, told, context = histories(run)
    return asked(prompts.titles_told(*told, part.user, context), prompts.item_tokens[part.item].tolist())


def _titles_title(run: StageRun) -> list[dict]:
    prompts = run.model.prompts
    part, told, context = histories(run)
    return asked(prompts.titles_told(*told, part.user, context, TITLED), tokens_of(prompts.answer(part.item)))


TASKS = {
    "next": next_rows,
    "title_of": lambda run: translation_rows(run)[0],
    "item_of": lambda run: translation_rows(run)[1],
    "next_title": _next_title,
    "titles_next": _titles_next,
    "titles_title": _titles_title,
}
MIXTURE = Task(mixture, SFT_NEEDS | {"weights"}, SFT_TAKES, check_mixture)
