"""The data options: the protocol, which is the same for all methods that are compared, and what a method sees."""

import json
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator

from recbole_conrec.data.candidates import CandidateOptions, sized
from recbole_conrec.data.events import NEGATIVE, POSITIVE, Window
from recbole_conrec.data.exclusion import ExclusionRule
from recbole_conrec.data.feedback import FeedbackRules
from recbole_conrec.data.side import AsOf
from recbole_conrec.data.splits import SplitRule
from recbole_conrec.data.swing import SwingOptions
from recbole_conrec.options.schema import Natural, Options, Seed, Several

KINDS = {"negative": (NEGATIVE,), "both": (NEGATIVE, POSITIVE)}
"""Value of the option `context` -> the kinds of feedback in a history."""

Names = Annotated[Several[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]


def _intervals(text: str) -> str:
    """Checks what RecBole parses: intervals joined by semicolons. It would skip one that it cannot read."""
    for one in text.split(";"):
        ends = _INTERVAL.fullmatch(one.strip())
        if not ends or float(ends[1]) > float(ends[2]):
            raise ValueError(f"{text!r}; expected an interval such as [5,inf), or several joined by semicolons")
    return text


_NUMBER = r"\s*([-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|inf))\s*"
_INTERVAL = re.compile(rf"[(\[]{_NUMBER},{_NUMBER}[)\]]")
Interval = Annotated[str, AfterValidator(_intervals)]


class Protocol(Options):
    """What defines instances, truth and candidates: the same for all methods that are compared."""

    feedback: FeedbackRules = FeedbackRules(negative="rating <= 2", positive="rating >= 4")
    """The rules that make an event negative or positive; all others are exposures."""
    split: SplitRule = SplitRule(by="time")
    """Which negative events are for training, validation and test."""
    window: Window = Window(unit="days", length=7)
    """The future that counts as F, GTS and FPS, from t0 on."""
    exclude: ExclusionRule = "disliked"
    """What a list leaves out: items that the user disliked before t0, reacted to, or was exposed to."""
    as_of: AsOf = "cut"
    """What side information may read of other users: training events alone, or all events strictly before t0."""
    low_activity: Natural = 3
    """LUF is over the users with fewer negative events than this before t0."""
    long_tail: Natural = 5
    """LIF is over the items with fewer negative events than this in training."""
    candidates: Annotated[CandidateOptions, BeforeValidator(sized)] = CandidateOptions()
    """The candidate lists of CandAcc; a number alone is their length."""
    candidate_seed: Seed = 2020
    """Seed of the candidate lists; not `seed`, so that runs with several seeds rank the same lists."""
    rm_dup_inter: Literal["first", "last"] | None = None
    """RecBole's filter: which of several events of one user with one item to keep; null: all."""
    val_interval: dict[str, Interval | list] | None = None
    """RecBole's filter: field -> the interval (such as "[1,4]") or list of values to keep; null: all."""
    filter_inter_by_user_or_item: bool = False
    """RecBole's filter: whether events are left out whose item is not in the .item file (or user in .user). (RecBole's
    default is true, and drops them without a word.)"""
    user_inter_num_interval: Interval | None = None
    """RecBole's filter: users with this number of events, such as "[5,inf)"; null: all."""
    item_inter_num_interval: Interval | None = None
    """RecBole's filter: items with this number of events; null: all."""

    @property
    def digest(self) -> str:
        """These options as one text, the part of a data set's fingerprint that is not its files.

        The nested options are written as they were given: an option left out and one set to its default differ.
        """
        values = {name: getattr(self, name) for name in type(self).model_fields}
        given = {
            name: value.model_dump(exclude_unset=True) if isinstance(value, Options) else value
            for name, value in values.items()
        }
        return json.dumps(given, sort_keys=True, default=str)

    @property
    def training_digest(self) -> str:
        """The same of what training reads: `as_of` is about evaluated instances alone."""
        return self.model_copy(update={"as_of": "cut"}).digest


class DataOptions(Options):
    """What a method sees of the data; methods that differ in these options can be compared."""

    context: Literal["negative", "both"] = "negative"
    """The feedback in a history: negative, or negative and positive."""
    item_text: Names | None = None
    """Fields of the .item file that make the text of an item; null: all."""
    item_category: str | None = None
    """Field of the .item file that groups items, for diversity."""
    swing: Annotated[SwingOptions, BeforeValidator(lambda value: {} if value is None else value)] = SwingOptions()
    """Item-item Swing over the training negatives."""

    @property
    def kinds(self) -> tuple[int, ...]:
        """The kinds of feedback in a history: (NEGATIVE,) or (NEGATIVE, POSITIVE)."""
        return KINDS[self.context]
