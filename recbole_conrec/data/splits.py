"""Which negative event trains, validates or tests: cut times per user, and the instances on either side of them."""

from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from recbole_conrec.data.events import NEGATIVE, NEVER, EventLog, Instances
from recbole_conrec.data.years import UNITS, implausible, likely_unit
from recbole_conrec.options.schema import Options
from recbole_conrec.utils.errors import UserError

TRAIN, VALID, TEST = 0, 1, 2
PARTS = ("train", "valid", "test")
Part: TypeAlias = Annotated[int | float, Field(gt=0, lt=1)]
Time: TypeAlias = int | float | str | datetime | date


@dataclass(frozen=True, eq=False)
class Cuts:
    """When evaluation begins for each user: int64 [n_users] times, NEVER where a user is not evaluated.

    An event belongs to the last part whose cut its time has reached. Events that tie never straddle a cut: the whole
    group goes to the later part.
    """

    valid_start: np.ndarray
    test_start: np.ndarray

    def part(self, users: np.ndarray, times: np.ndarray) -> np.ndarray:
        """TRAIN, VALID or TEST of events [N] by their users and times."""
        return (times >= self.valid_start[users]).astype(np.int64) + (times >= self.test_start[users])

    def part_end(self, users: np.ndarray, times: np.ndarray) -> np.ndarray:
        """The first moment after the part that each event [N] lies in (NEVER for test)."""
        part = self.part(users, times)
        return np.select([part == TRAIN, part == VALID], [self.valid_start[users], self.test_start[users]], NEVER)


def first_dislikes(log: EventLog) -> np.ndarray:
    """Log rows (ascending) of the negative events that become instances: each user's first dislike of each item.

    A later dislike of the same item can never be predicted, because items that were disliked are excluded; of several
    at the same moment the first in the file is kept.
    """
    rows = np.flatnonzero(log.feedback == NEGATIVE)
    _, first = np.unique(log.user[rows] * log.n_items + log.item[rows], return_index=True)
    return rows[np.sort(first)]


def cuts_by_user(log: EventLog, rows: np.ndarray, ratio: tuple[float, float, float]) -> Cuts:
    """Cut each user's own instances (`rows`, as first_dislikes gives them) by ratio.

    Of a user's n instances the last max(1, round(ratio[2] * n)) are test instances and the round(ratio[1] * n) before
    them validation instances (halves round up; there may be none). With n < 2 all are training instances. Instances
    that tie with the first of a part belong to that part.
    """
    count = np.bincount(log.user[rows], minlength=log.n_users)
    users = np.flatnonzero(count >= 2)
    n = count[users]
    n_test = np.maximum(1, _floor(ratio[2] * n + 0.5))
    n_valid = np.minimum(_floor(ratio[1] * n + 0.5), n - n_test)
    first_test = np.cumsum(count)[users] - n_test
    valid_start, test_start = np.full((2, log.n_users), NEVER)
    test_start[users] = log.time[rows[first_test]]
    valid_start[users] = log.time[rows[first_test - n_valid]]
    return Cuts(valid_start, test_start)


def cuts_by_time(log: EventLog, ratio: tuple[float, float, float]) -> Cuts:
    """The same two cut times for all users: the times of the events at ranks ratio[0] * E and
    (ratio[0] + ratio[1]) * E (rounded down) among all E events in time order, of any feedback.
    """
    ranks = _floor(np.array([ratio[0], ratio[0] + ratio[1]]) * len(log))
    return fixed_cuts(log, *np.partition(log.time, ranks)[ranks])


def _floor(values: np.ndarray) -> np.ndarray:
    """Rounded down, but 0.7 + 0.1 of 40 is 32, not 31.999."""
    return np.floor(values + 1e-9).astype(np.int64)


def fixed_cuts(log: EventLog, valid: int, test: int) -> Cuts:
    """The same two given times (int seconds) for all users."""
    return Cuts(np.full(log.n_users, valid, dtype=np.int64), np.full(log.n_users, test, dtype=np.int64))


def parse_time(value: Time, option: str = "split.cuts") -> int:
    """Seconds since 1970 of a number (or its text), of an ISO date or date-time (UTC if it names no offset), or of
    YAML's date.

    Raises UserError naming ``option`` for anything else.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        if implausible(np.array(float(value))):
            unit = likely_unit(value)
            divide = f"; it seems to be in {unit}: divide it by {UNITS[unit]:,}" if unit else ""
            raise UserError(f"{option}: {value}; expected seconds since 1970 in a year from 1900 to 2242{divide}")
        return int(value)
    if isinstance(value, str) and value.strip().lstrip("-").isdecimal() and len(value) != 8:  # 8 digits are an ISO date
        return parse_time(int(value), option)
    try:
        moment = datetime.fromisoformat(str(value).strip().replace("Z", "+00:00"))
    except ValueError:
        raise UserError(f"{option}: '{value}' is not a time; give seconds or an ISO date such as 2003-01-31") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp())


class SplitRule(Options):
    """The `split` option: where each user's log is cut into training, validation and test."""

    by: Literal["time", "user"]
    """time: the same two cuts for all users; user: cuts within each user's own instances."""
    ratio: Annotated[tuple[Part, Part, Part], Field(strict=False)] = (0.7, 0.1, 0.2)
    """Shares of training, validation and test, summing to 1: of all events (by time) or of a user's instances."""
    cuts: Annotated[tuple[Time, Time], Field(strict=False)] | None = None
    """When validation and test begin, in seconds since 1970 or as ISO dates, instead of the ratio; by time only."""

    @model_validator(mode="before")
    @classmethod
    def _cuts_are_by_time(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("cuts") is not None and given.get("by") is None:
            return {**given, "by": "time"}
        return given

    @field_validator("ratio")
    @classmethod
    def _sums_to_one(cls, ratio: tuple) -> tuple:
        if abs(sum(ratio) - 1) > 1e-6:
            raise ValueError(f"{list(ratio)} sums to {sum(ratio):g}; expected [train, valid, test] that sum to 1")
        return ratio

    @field_validator("cuts")
    @classmethod
    def _are_in_order(cls, cuts: tuple | None) -> tuple | None:
        if cuts is not None and parse_time(cuts[0]) >= parse_time(cuts[1]):
            raise ValueError(f"[{cuts[0]}, {cuts[1]}] is not [valid, test]: validation must begin before the test")
        return cuts

    @model_validator(mode="after")
    def _cut_by_time(self) -> Self:
        if self.cuts is not None and self.by == "user":
            raise ValueError(
                "cuts need `by: time` (--split.by=time); with `by: user` give `ratio: [train, valid, test]`"
            )
        return self

    def known_before(self, log: EventLog) -> np.ndarray:
        """When what labels may read ends for each user: int64 [n_users] times; the labels of `log` are not read.

        By time it is the first cut. By user the cuts are shares of the user's negatives, which a rule with a statistic
        has yet to name: so it is the share of training in all of the user's events, and `cut` evaluates none earlier.
        """
        if self.by == "time":
            return self.cut(log, np.empty(0, dtype=np.int64)).valid_start
        begin, count = log.start[:-1], np.diff(log.start)
        at = np.minimum(begin + _floor(self.ratio[0] * count), len(log) - 1)
        return np.where(count > 0, log.time[at], NEVER)

    def cut(self, log: EventLog, rows: np.ndarray, known_before: np.ndarray | None = None) -> Cuts:
        """The cuts of a log.

        Args:
            rows: its instances, as first_dislikes gives them.
            known_before: where labels depend on earlier events, what the method of that name gave: no user is evaluated
                earlier, so that no label reads an event at or after an evaluated instance.
        """
        if self.by == "user":
            cuts = cuts_by_user(log, rows, self.ratio)
            if known_before is None:
                return cuts
            return Cuts(*(np.maximum(start, known_before) for start in (cuts.valid_start, cuts.test_start)))
        if self.cuts is None:
            return cuts_by_time(log, self.ratio)
        return fixed_cuts(log, *map(parse_time, self.cuts))


def split_instances(log: EventLog, rows: np.ndarray, cuts: Cuts) -> dict[str, Instances]:
    """The instances of log `rows` by part: 'train', 'valid' and 'test'. Raises UserError if a part is empty."""
    instances = Instances.of_rows(log, rows)
    part = cuts.part(instances.user, instances.time)
    splits = {name: instances[part == number] for number, name in enumerate(PARTS)}
    for name, those in splits.items():
        if len(those) == 0:
            raise UserError(
                f"split: no negative event is left for {name}; the log has {len(rows)} of them, "
                f"at times from {log.time.min()} to {log.time.max()}: change `split.ratio` or `split.cuts`"
            )
    return splits
