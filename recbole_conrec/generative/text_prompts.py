"""Prompts in which items are named by their titles: those of TALLRec and InstructRec, and the language tasks of LC-Rec
and MiniOneRec.

    TALLRec      <instruction> Preference: a ; b ; Unpreference: c ; Target item: + e Will the user like it? + Yes | No
    InstructRec  <preference> Liked: a ; b ; Disliked: c ; <intention> <task> x ; y ; z ; Answer: + y <end>
    titles       <instruction> disliked c ; liked a ; ... disliked + the ID, or the title, of the item

What follows a "+" continues one shared prompt. An item without a text is named by its semantic ID.
"""

import numpy as np

from recbole_conrec.data.events import NEGATIVE, POSITIVE
from recbole_conrec.generative.prompts import PromptBuilder, Prompts, left_pad_holes
from recbole_conrec.utils.arrays import mix

LIKE_OR_NOT = "Given the items that a user liked and disliked, tell whether the user will like the target item."
TASTE = {POSITIVE: " Preference:", NEGATIVE: " Unpreference:"}
TARGET, LIKE_IT, YES, NO = " Target item:", " Will the user like it?", " Yes", " No"
PREFERENCE = "This is what a user thought of items, the latest last."
OPINION = {POSITIVE: " Liked:", NEGATIVE: " Disliked:"}
INTENTION = " The user wants to be spared what they would dislike."
RANK, ANSWER = " Which of these candidates will they dislike?", " Answer:"
TITLED = " disliked the item with the title"
SEPARATOR = " ;"

TITLE_TEXTS = (
    LIKE_OR_NOT,
    *TASTE.values(),
    TARGET,
    LIKE_IT,
    YES,
    NO,
    PREFERENCE,
    *OPINION.values(),
    INTENTION,
    RANK,
    ANSWER,
    TITLED,
    SEPARATOR,
)


class TextPrompts(PromptBuilder):
    """Histories of a log -> token ids, with titles besides IDs.

    Args:
        titles: one per item, '' for none.
        longest: tokens of a title that are shown, the first ones.

    A prompt that is too long loses its oldest events, as in :class:`PromptBuilder`. Token arrays have -1 for holes.
    """

    def __init__(self, backbone, log, max_tokens: int, titles: list[str], longest: int = 32):
        super().__init__(backbone, log, max_tokens)
        self.end, self.separator = [backbone.eos_id], self.encode(SEPARATOR)
        encoded = [tokens[:longest] for tokens in backbone.words([f" {title}" if title else "" for title in titles])]
        encoded = [tokens or self.item_tokens[item].tolist() for item, tokens in enumerate(encoded)]
        self.titles = np.full((len(titles), max(map(len, encoded))), -1, dtype=np.int64)
        for item, tokens in enumerate(encoded[1:], start=1):
            self.titles[item, : len(tokens)] = tokens
        self.width = (self.titles >= 0).sum(axis=1)

    # -- TALLRec ---------------------------------------------------------------------------------------------------
    def liking(self, begin, end, t0, users, context) -> Prompts:
        """Prompts up to the target item."""
        room = self.max_tokens - self.width.max() - len(self.encode(LIKE_IT)) - 1  # of question and answer
        return self._by_kind(begin, end, t0, users, context, TASTE, self.open(LIKE_OR_NOT), self.encode(TARGET), room)

    def question(self, items: np.ndarray) -> np.ndarray:
        """Target items [...] -> tokens [..., L] from the target's title to the question."""
        return self._after(items, self.encode(LIKE_IT))

    # -- InstructRec -----------------------------------------------------------------------------------------------
    def ranking(self, begin, end, t0, users, context, candidates: np.ndarray, seed: int) -> Prompts:
        """Prompts that name the candidates [N, C] (0: none), in an order that is a hash of seed, user, t0 and item."""
        users, t0 = np.asarray(users), np.asarray(t0)
        order = np.argsort(mix(seed, users[:, None], t0[:, None], candidates), axis=1, kind="stable")
        named = np.take_along_axis(candidates, order, axis=1)
        before, after = (np.tile(self.encode(text), (len(named), 1)) for text in (INTENTION + RANK, ANSWER))
        task = np.concatenate([before, self._separated(named).reshape(len(named), -1), after], axis=1)
        room = self.max_tokens - (task >= 0).sum(axis=1, keepdims=True) - self.width.max() - 1
        return self._by_kind(begin, end, t0, users, context, OPINION, self.open(PREFERENCE), task, room)

    def answer(self, items: np.ndarray) -> np.ndarray:
        """Items [...] -> tokens [..., L] of their titles and the end; -1 throughout for item 0."""
        return np.where(np.asarray(items)[..., None] > 0, self._after(items, self.end), -1)

    # -- histories of titles, for an ID or a title to follow ---------------------------------------------------------
    def title_history(self, begin, end, t0, users, context, ask: str | None = None) -> Prompts:
        """As :meth:`PromptBuilder.history`, with titles in place of IDs. `ask`: the closing text."""
        asking = self.markers[NEGATIVE] if ask is None else np.array(self.encode(ask))
        marker = max(map(len, self.markers.values()))
        room = self.max_tokens - len(self.prefix) - len(asking) - max(self.depth, self.width.max() + 1)
        extra = marker + len(self.separator)
        rows, shortened = self._newest(begin, end, t0, users, context, room, extra)
        kinds = np.full((*rows.shape, marker), -1)
        for kind, tokens in self.markers.items():
            kinds[(rows >= 0) & (self.log.feedback[rows] == kind), : len(tokens)] = tokens
        shown = np.concatenate([kinds, self._separated(self._items(rows))], axis=2).reshape(len(rows), -1)
        return self._join(shortened, self.prefix, shown, asking)

    # -- parts -----------------------------------------------------------------------------------------------------
    def _by_kind(self, begin, end, t0, users, context, headings, opening, closing, room) -> Prompts:
        """Prompts with one list per kind of feedback that the context shows; `room`: tokens of the whole, [N, 1] or
        one number.
        """
        shown = [kind for kind in headings if kind in context.kinds]
        fixed = len(opening) + sum(len(self.encode(headings[kind])) for kind in shown)
        fixed += len(closing) if isinstance(closing, list) else 0
        rows, shortened = self._newest(begin, end, t0, users, context, room - fixed, len(self.separator))
        items, feedback = self._items(rows), self.log.feedback[rows]
        lists = []
        for kind in shown:
            lists += [self.encode(headings[kind]), self._separated(np.where(feedback == kind, items, 0))]
        return self._join(shortened, opening, *lists, closing)

    def _items(self, rows: np.ndarray) -> np.ndarray:
        return np.where(rows >= 0, self.log.item[rows], 0)

    def _separated(self, items: np.ndarray) -> np.ndarray:
        """Items [...] -> tokens [..., W] of title and separator; holes throughout for item 0."""
        tail = np.where(items[..., None] > 0, self.separator, -1)
        return np.concatenate([self.titles[items], tail], axis=-1)

    def _after(self, items: np.ndarray, tail: list[int]) -> np.ndarray:
        """Items [...] -> tokens [..., W] of title and tail, holes last."""
        tokens = self.titles[np.asarray(items)]
        tokens = np.concatenate([tokens, np.broadcast_to(tail, (*tokens.shape[:-1], len(tail)))], axis=-1)
        return np.take_along_axis(tokens, np.argsort(tokens < 0, axis=-1, kind="stable"), axis=-1)

    def _newest(self, begin, end, t0, users, context, room, extra: int) -> tuple[np.ndarray, np.ndarray]:
        """:meth:`rows` less the oldest events that do not fit into `room` tokens; each takes its title and `extra`."""
        rows, shortened = self.rows(begin, end, t0, context, users)
        width = np.where(rows >= 0, self.width[self._items(rows)] + extra, 0)
        fits = np.cumsum(width[:, ::-1], axis=1)[:, ::-1] <= room
        return np.where(fits, rows, -1), shortened | ((rows >= 0) & ~fits).any(axis=1)

    def _join(self, shortened: np.ndarray, *parts) -> Prompts:
        """Prompts made of parts, each [N, ...] tokens or one list for all."""
        n = next(len(part) for part in parts if np.ndim(part) > 1)
        wide = [np.tile(part, (n, 1)) if np.ndim(part) == 1 else part.reshape(n, -1) for part in parts]
        tokens = np.concatenate(wide, axis=1).astype(np.int64)
        return Prompts(*left_pad_holes(tokens, self.tokenizer.pad_token_id), shortened)
