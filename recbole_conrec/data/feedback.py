"""Rules that make an event negative or positive, such as ``rating <= 2`` or ``label == 0 and stars < 4``.

    rule       = condition {("and" | "or") condition}        ("and" binds tighter)
    condition  = FIELD OP VALUE  |  FIELD OP STATISTIC  |  FIELD "in" "[" VALUE {"," VALUE} "]"
    OP         = "<" | "<=" | ">" | ">=" | "==" | "!="
    STATISTIC  = ("user_mean" | "user_median" | "user_q" PERCENT) [("+" | "-") NUMBER]

A VALUE is a number or a word, quoted if it has spaces. A STATISTIC is of the same field over the training events of the
event's user (:mod:`.user_statistics`): ``rating <= user_median - 1``. No part of a rule is ever evaluated as code.
"""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from pydantic import model_validator
from typing_extensions import Self

from recbole_conrec.data.events import EXPOSURE, NEGATIVE, POSITIVE
from recbole_conrec.data.user_statistics import DECIMALS, TrainingEvents, UserStatistic
from recbole_conrec.options.schema import Options
from recbole_conrec.utils.errors import UserError

_NAMES = {NEGATIVE: "negative", POSITIVE: "positive"}
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_TOKEN = re.compile(r"""\s*(?:(<=|>=|==|!=|<|>|\[|\]|,)|"([^"]*)"|'([^']*)'|([^\s<>=!\[\],"']+))""")
_FORM = (
    "write FIELD OP VALUE joined by and/or, with OP one of < <= > >= == != or in [..], such as 'rating <= 2' or "
    "'rating <= user_median - 1'"
)


@dataclass(frozen=True)
class Condition:
    """One comparison of a field with a value, with several (op 'in'), or with a statistic of each user."""

    field: str
    op: str
    values: tuple[str, ...]
    statistic: UserStatistic | None = None

    def __str__(self) -> str:
        return f"{self.field} {self.op} " + (f"[{', '.join(self.values)}]" if self.op == "in" else self.values[0])

    def mask(self, column: pd.Series, training: TrainingEvents | None = None) -> np.ndarray:
        """Which values of the field satisfy the condition: bool [E].

        They are compared as numbers if the whole column and the values of the condition are numbers, else as text.
        Raises UserError if text is compared by order or with a statistic.
        """
        if self.statistic is not None:
            return self._mask_by_user(column, training)
        numbers = pd.to_numeric(pd.Series(self.values), errors="coerce")
        as_numbers = pd.to_numeric(column, errors="coerce")
        if numbers.notna().all() and as_numbers.notna().all():
            column, values = as_numbers.to_numpy(), numbers.to_numpy()
        elif self.op in ("<", "<=", ">", ">="):
            raise UserError(f"feedback: '{self}' needs numbers, but not every value of '{self.field}' is one")
        else:
            column, values = column.astype(str).to_numpy(), np.array(self.values, dtype=object)
        return np.isin(column, values) if self.op == "in" else _COMPARE[self.op](column, values[0])

    def _mask_by_user(self, column: pd.Series, training: TrainingEvents | None) -> np.ndarray:
        assert self.statistic is not None and training is not None  # Rule.by_user says what needs `training`
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
        if np.isnan(numbers).any():
            raise UserError(f"feedback: '{self}' needs numbers, but not every value of '{self.field}' is one")
        limits = self.statistic.of_users(numbers, training)
        return _COMPARE[self.op](np.round(numbers, DECIMALS), limits[training.user])


@dataclass(frozen=True)
class Rule:
    """A parsed rule: an `or` of `and`s of conditions."""

    text: str
    alternatives: tuple[tuple[Condition, ...], ...]

    @property
    def fields(self) -> list[str]:
        """The fields that the rule reads, each once."""
        return list(dict.fromkeys(c.field for conditions in self.alternatives for c in conditions))

    @property
    def by_user(self) -> bool:
        """Whether it compares with a statistic of each user, so that `mask` needs `training`."""
        return any(c.statistic is not None for conditions in self.alternatives for c in conditions)

    def mask(self, events: pd.DataFrame, training: TrainingEvents | None = None) -> np.ndarray:
        """Which events [E] satisfy the rule: bool [E]. ``training``: what statistics read."""
        parts = [np.logical_and.reduce([c.mask(events[c.field], training) for c in cs]) for cs in self.alternatives]
        return np.logical_or.reduce(parts)

    @classmethod
    def parse(cls, text: str, name: str) -> "Rule":
        """Read a rule. Raises UserError naming the rule (``name``: negative or positive) and what was expected."""

        def fail(why: str) -> NoReturn:
            raise UserError(f"feedback: {name} rule '{text}': {why}; {_FORM}")

        tokens, at = [], 0
        text = str(text).strip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                fail(f"cannot read {text[at:].strip()!r}")
            symbol, double, single, word = match.groups()
            quoted = double if double is not None else single
            tokens.append(("symbol", symbol) if symbol else ("word", word) if quoted is None else ("text", quoted))
            at = match.end()

        def take(kinds: tuple[str, ...], what: str, among: tuple[str, ...] | None = None) -> str:
            if not tokens or tokens[0][0] not in kinds or (among and tokens[0][1] not in among):
                fail(f"expected {what} but found {tokens[0][1]!r}" if tokens else f"it ends where {what} was expected")
            return tokens.pop(0)[1]

        alternatives: list[list[Condition]] = [[]]
        while True:
            field = take(("word", "text"), "a field")
            op = take(("symbol", "word"), "an operator", (*_COMPARE, "in"))
            values, statistic = [], None
            if op == "in":
                take(("symbol",), "'['", ("[",))
                values.append(take(("word", "text"), "a value"))
                while take(("symbol",), "',' or ']'", (",", "]")) == ",":
                    values.append(take(("word", "text"), "a value"))
            else:
                bare = bool(tokens) and tokens[0][0] == "word"
                values.append(take(("word", "text"), "a value"))
                if bare and values[0].startswith("user_"):  # 'user_median - 1' is up to three words
                    while tokens and tokens[0][0] == "word" and (tokens[0][1][0] in "+-" or values[-1][-1] in "+-"):
                        values.append(take(("word",), "a number"))
                    try:
                        statistic = UserStatistic.parse("".join(values), exact=op in ("==", "!="))
                    except UserError as error:
                        fail(str(error))
                    values = [" ".join(values)]
            alternatives[-1].append(Condition(field, op, tuple(values), statistic))
            if not tokens:
                return cls(text, tuple(map(tuple, alternatives)))
            if take(("word",), "'and' or 'or'", ("and", "or")) == "or":
                alternatives.append([])


class FeedbackRules(Options):
    """The `feedback` option: what makes an event negative or positive; all others are exposures."""

    negative: str
    """The rule of negative events: FIELD OP VALUE, OP one of < <= > >= == != or in [..], joined by and/or; VALUE may be
    user_mean, user_median or user_q25 (any percent) of the user's training events, plus or minus a number."""
    positive: str | None = None
    """The rule of positive events; null: no event is positive."""

    @model_validator(mode="after")
    def _can_be_parsed(self) -> Self:
        self.rules  # noqa: B018  (parsed here, so that a mistake is found when the option is read)
        return self

    @cached_property
    def rules(self) -> dict[int, Rule]:
        """The parsed rules by what they make of an event: NEGATIVE, and POSITIVE if there is a rule for it."""
        texts = {NEGATIVE: self.negative, POSITIVE: self.positive}
        return {kind: Rule.parse(text, _NAMES[kind]) for kind, text in texts.items() if text is not None}

    @property
    def fields(self) -> dict[str, str]:
        """The fields of the .inter file that the rules read, each with the text of a rule that reads it."""
        return {field: rule.text for rule in reversed(self.rules.values()) for field in rule.fields}

    @property
    def by_user(self) -> bool:
        """Whether a rule compares with a statistic of each user, so that `label` needs `training`."""
        return any(rule.by_user for rule in self.rules.values())

    def label(self, events: pd.DataFrame, file: str, training: TrainingEvents | None = None) -> np.ndarray:
        """Feedback of each event: int8 [E].

        Args:
            events: the fields that the rules read, indexed by the rows of the file.
            file: name of the file, for errors.
            training: what statistics of users read.

        Raises UserError if a rule matches no event, or both rules match the same one.
        """
        feedback = np.full(len(events), EXPOSURE, dtype=np.int8)
        for kind, rule in self.rules.items():
            mask = rule.mask(events, training)
            if not mask.any():
                seen = "; ".join(_range(field, events[field]) for field in rule.fields)
                raise UserError(
                    f"feedback: {_NAMES[kind]} rule '{rule.text}' matches none of the {len(events)} events of {file}, "
                    f"where {seen}: change `feedback.{_NAMES[kind]}`"
                )
            both = np.flatnonzero(mask & (feedback != EXPOSURE))
            if len(both):
                raise UserError(
                    f"feedback: '{self.rules[NEGATIVE].text}' and '{rule.text}' both match {len(both)} events of "
                    f"{file}, the first in row {events.index[both[0]]}: make the rules exclude each other"
                )
            feedback[mask] = kind
        return feedback


def _range(field: str, column: pd.Series) -> str:
    """What a user needs to know of a field's values to correct a rule."""
    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.notna().all():
        return f"'{field}' runs from {numbers.min():g} to {numbers.max():g}"
    values = sorted(column.astype(str).unique())
    return f"'{field}' is one of {', '.join(values[:8])}{' ...' if len(values) > 8 else ''}"
