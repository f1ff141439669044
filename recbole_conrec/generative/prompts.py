"""Prompts of semantic IDs, and how they become token ids.

A history is shown in time order, each event as a word for its feedback and the item's semantic ID:

    <instruction> disliked<a_5><b_2><c_9> liked<a_1><b_7><c_0> ... disliked

and the answer is the semantic ID that follows. In this order, one pass over a user's whole sequence trains on every one
of their dislikes at once (``packed``). The context of each is what its own prompt would show, with two differences that
concern training alone (ours): other events of its own second may come before it, in random order, and a long sequence
is cut into stretches.

Text is tokenised once, when the builder is made; prompts are then assembled from token ids.
"""

from dataclasses import dataclass

import numpy as np
import torch

from recbole_conrec.data.events import NEGATIVE, POSITIVE, FeedbackStream, Window
from recbole_conrec.utils.errors import UserError

INSTRUCTION = "These are items in the order in which a user disliked or liked them. Name the item disliked next."
FEEDBACK = {NEGATIVE: " disliked", POSITIVE: " liked"}
TITLE_OF = "What is the title of the item"
ITEM_OF = "Which item has the title"
ODD_ONE = "One of these four items was disliked, the others were liked. Name the disliked one."

ID_TEXTS = (INSTRUCTION, *FEEDBACK.values(), TITLE_OF, ITEM_OF, ODD_ONE, "?")


@dataclass(frozen=True)
class Context:
    """What a prompt shows of a user: which feedback, how far back, how many events.

    Attributes:
        kinds: feedback values, e.g. (NEGATIVE,) or (NEGATIVE, POSITIVE).
        max_events: the most recent events that are kept.
        window: how far back from t0, or None for everything.
    """

    kinds: tuple[int, ...]
    max_events: int
    window: Window | None = None


def context_of(name: str, max_events: int, window: Window | None = None) -> Context:
    """'negative' or 'both', how many events, and how far back (None: everything)."""
    kinds = {"negative": (NEGATIVE,), "both": (NEGATIVE, POSITIVE)}
    return Context(kinds[name], max_events, window)


@dataclass(frozen=True)
class Prompts:
    """Prompts of N instances.

    Attributes:
        input_ids, attention_mask: int64 [N, T], padded on the left.
        shortened: bool [N], prompts that lost their oldest events because they were too long.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    shortened: np.ndarray

    @property
    def pair(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(input_ids, attention_mask): what the decoding functions take."""
        return self.input_ids, self.attention_mask

    def to(self, device) -> "Prompts":
        """The same prompts with their tensors on ``device``."""
        return Prompts(self.input_ids.to(device), self.attention_mask.to(device), self.shortened)

    def lists(self) -> list[list[int]]:
        """The token ids of each prompt, without padding."""
        pairs = zip(self.input_ids.numpy(), self.attention_mask.bool().numpy(), strict=True)
        return [tokens[there].tolist() for tokens, there in pairs]


class PromptBuilder:
    """Histories of a log -> token ids.

    Args:
        backbone: tokenizer, ``sid_tokens`` and SemanticIds that belong together.
        log: EventLog.
        max_tokens: the most tokens that prompt and answer may have together; the model's own limit counts, too. A
            longer history loses its oldest events, never the instruction.

    Raises UserError if ``max_tokens`` cannot hold the instruction, one event and an answer.
    """

    def __init__(self, backbone, log, max_tokens: int):
        max_tokens = min(max_tokens, backbone.max_length)
        self.log, self.max_tokens = log, max_tokens
        self.tokenizer, self.depth = backbone.tokenizer, backbone.semantic_ids.depth
        self.words, self.start = backbone.words, backbone.start
        self.item_tokens = backbone.item_tokens.cpu().numpy()
        self.prefix = np.array(self.open(INSTRUCTION), dtype=np.int64)
        self.markers = {kind: np.array(self.encode(text), dtype=np.int64) for kind, text in FEEDBACK.items()}
        self.event_width = max(map(len, self.markers.values())) + self.depth
        room = max_tokens - len(self.prefix) - len(self.markers[NEGATIVE]) - self.depth
        self.max_events = room // self.event_width
        if self.max_events < 1:
            raise UserError(
                f"max_tokens={max_tokens} is too few for the instruction ({len(self.prefix)} tokens), one "
                f"event and an answer; give at least {max_tokens - room + self.event_width}"
            )

    def encode(self, text: str) -> list[int]:
        """The tokens of a text inside a prompt, all of them words."""
        return self.words([text])[0]

    def open(self, text: str) -> list[int]:
        """The tokens of a text that a prompt begins with, after those that the tokenizer puts first (<bos>)."""
        return [*self.start, *self.encode(text)]

    def rows(self, begin, end, t0, context: Context, users=None) -> tuple[np.ndarray, np.ndarray]:
        """The log rows that prompts show: int64 [N, L] oldest first, -1 where there is none; and which prompts lack
        older events of the context because of ``max_tokens``, bool [N].

        Args:
            begin, end: int64 [N], the history of each instance as rows of the log; nothing outside is ever read.
            t0, users: int64 [N]; only a context with a window reads them.
        """
        begin, end = np.asarray(begin), np.asarray(end)
        if context.window is not None and context.window.length is not None:
            users = self.log.user[np.maximum(end - 1, 0)] if users is None else users
            begin = np.maximum(begin, context.window.begin(self.log, users, np.asarray(t0), end))
            begin = np.minimum(begin, end)
        stream = FeedbackStream(self.log, context.kinds)
        limit = min(context.max_events, self.max_events)
        rows, _ = stream.last(begin, end, limit)
        shortened = np.zeros(len(rows), dtype=bool)
        if limit < context.max_events:
            shortened = stream.count(begin, end) > limit
        return rows, shortened

    def history(self, begin, end, t0, context: Context, users=None, ask=None) -> Prompts:
        """Prompts that ask for the next dislike.

        Args:
            ask: token ids that a prompt ends with (default: the word before a disliked item's ID).
        """
        rows, shortened = self.rows(begin, end, t0, context, users)
        tokens, _ = self._events(rows)
        n, ask = len(tokens), self.markers[NEGATIVE] if ask is None else np.array(ask, dtype=np.int64)
        tokens = np.concatenate([np.tile(self.prefix, (n, 1)), tokens, np.tile(ask, (n, 1))], axis=1)
        return Prompts(*left_pad_holes(tokens, self.tokenizer.pad_token_id), shortened)

    def packed(
        self,
        begin,
        end,
        context: Context,
        events: int,
        targets: np.ndarray,
        rng: np.random.Generator | None = None,
        drop: float = 0.0,
    ) -> list[dict]:
        """Training examples that hold a stretch of a user's sequence, with loss on every target not yet trained.

        A sequence longer than ``events`` is cut into stretches that overlap by half, and only the new half bears loss:
        each target is trained once, with at least half a stretch of context unless the user has less.

        Args:
            begin, end: int64 [U], one stretch of log rows per user: training events only.
            events: events per example.
            targets: float or bool [E], the weight of the loss on each log row; 0: it is context alone.
            rng: if given, events of the same second are shuffled (their order in a file means nothing).
            drop: share of the events that are left out at random, as context and as targets; needs ``rng``.

        Returns:
            examples with ``input_ids`` and ``completion_mask`` (the weights, on the answer tokens of the targets).
        """
        ptr, rows = FeedbackStream(self.log, context.kinds).csr(np.asarray(begin), np.asarray(end))
        if rng is not None:
            rows = rows[
                np.lexsort((rng.random(len(rows)), self.log.time[rows], np.repeat(np.arange(len(begin)), np.diff(ptr))))
            ]
        if rng is not None and drop:
            kept = rng.random(len(rows)) >= drop
            ptr, rows = np.concatenate([[0], np.cumsum(kept)])[ptr], rows[kept]
        events = min(events, self.max_events)
        step = max(events // 2, 1)
        first, new_from = _stretches(np.diff(ptr), events, step)
        user = np.repeat(np.arange(len(begin)), [len(f) for f in first])
        first, new_from = np.concatenate(first), np.concatenate(new_from)
        index = first[:, None] + np.arange(events)
        inside = index < np.diff(ptr)[user][:, None]
        picked = np.where(inside, rows[np.minimum(ptr[user][:, None] + index, len(rows) - 1)], -1)
        target = np.where((np.arange(events) >= new_from[:, None]) & inside, targets[picked], 0)
        tokens, answer = self._events(picked, target)
        keep = (answer > 0).any(axis=1)
        return [
            {
                "input_ids": np.concatenate([self.prefix, t[t >= 0]]).tolist(),
                "completion_mask": [0] * len(self.prefix) + a[t >= 0].tolist(),
            }
            for t, a in zip(tokens[keep], answer[keep], strict=True)
        ]

    def _events(self, rows, target=None):
        """int64 [N, L * event_width] tokens with -1 holes, and float of the same shape: how much loss each bears."""
        n, length = rows.shape
        tokens = np.full((n, length, self.event_width), -1, dtype=np.int64)
        for kind, marker in self.markers.items():
            is_kind = (rows >= 0) & (self.log.feedback[rows] == kind)
            at = self.event_width - self.depth - len(marker)
            tokens[..., at : at + len(marker)][is_kind] = marker
        tokens[..., -self.depth :][rows >= 0] = self.item_tokens[self.log.item[rows[rows >= 0]]]
        answer = np.zeros(tokens.shape, dtype=np.float32)
        if target is not None:
            answer[..., -self.depth :] = target[..., None]
        return tokens.reshape(n, -1), answer.reshape(n, -1)


def _stretches(lengths, events: int, step: int):
    """For each sequence: where its stretches start, and from which event on each is new."""
    first, new_from = [], []
    for length in lengths:  # one entry per user, not per event
        starts = np.arange(0, max(length - (events - step), 1), step)
        first.append(starts)
        new_from.append(np.where(starts == 0, 0, events - step))
    return first, new_from


def left_pad_holes(tokens: np.ndarray, pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Close the -1 holes of each row and align the rows on the right."""
    there = tokens >= 0
    width = int(there.sum(axis=1).max(initial=0))
    column = width - there.sum(axis=1, keepdims=True) + np.cumsum(there, axis=1) - 1
    packed = np.full((len(tokens), width), pad, dtype=np.int64)
    row = np.broadcast_to(np.arange(len(tokens))[:, None], tokens.shape)
    packed[row[there], column[there]] = tokens[there]
    mask = np.arange(width) >= width - there.sum(axis=1, keepdims=True)
    return torch.from_numpy(packed), torch.from_numpy(mask.astype(np.int64))
