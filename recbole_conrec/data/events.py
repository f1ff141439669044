"""The log of all events, kept once, and what is cut out of it: windows, instances, histories as slices."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from pydantic import model_validator
from typing_extensions import Self

from recbole_conrec.options.schema import Options, Positive
from recbole_conrec.utils.arrays import group_order, ragged
from recbole_conrec.utils.errors import UserError

NEGATIVE, EXPOSURE, POSITIVE = -1, 0, 1
SECONDS_A_DAY = 86_400
NEVER = np.iinfo(np.int64).max  # a time after every event
_LONGEST = 2**62  # seconds; a time plus a window must fit in 64 bits


@dataclass(frozen=True, eq=False)
class EventLog:
    """All logged events once, sorted by (user, time, order in the file).

    Attributes:
        user: int64 [E], internal ids 1..n_users-1 (0 is RecBole's padding).
        item: int64 [E], internal ids 1..n_items-1.
        time: int64 [E], seconds since 1970 (UTC), or any order.
        feedback: int8 [E], NEGATIVE, EXPOSURE or POSITIVE.
        n_users, n_items: numbers of ids, padding included.
        start: int64 [n_users + 1]; the events of user u are the rows start[u]:start[u + 1].
    """

    user: np.ndarray
    item: np.ndarray
    time: np.ndarray
    feedback: np.ndarray
    n_users: int
    n_items: int
    start: np.ndarray

    @classmethod
    def from_arrays(cls, user, item, time, feedback, n_users: int, n_items: int) -> "EventLog":
        """Sort events given in file order (four arrays [E]); events that tie keep that order."""
        user, time = np.asarray(user, dtype=np.int64), np.asarray(time, dtype=np.int64)
        in_time = np.arange(len(time)) if (time[1:] >= time[:-1]).all() else np.argsort(time, kind="stable")
        order = in_time[group_order(user[in_time], n_users)]
        start = np.concatenate([[0], np.cumsum(np.bincount(user, minlength=n_users))]).astype(np.int64)
        return cls(
            user=user[order],
            item=np.asarray(item, dtype=np.int64)[order],
            time=time[order],
            feedback=np.asarray(feedback, dtype=np.int8)[order],
            n_users=n_users,
            n_items=n_items,
            start=start,
        )

    def __len__(self) -> int:
        return len(self.user)

    @cached_property
    def negatives(self) -> "FeedbackStream":
        """The negative events; found once."""
        return FeedbackStream(self, (NEGATIVE,))

    def first_at_or_after(self, users: np.ndarray, times: np.ndarray) -> np.ndarray:
        """The row of each user's first event with time >= `times` (start[user + 1] if there is none): int64 [N]."""
        low, high = self.start[users], self.start[np.asarray(users) + 1]
        longest = int((high - low).max(initial=0))
        for _ in range(longest.bit_length()):  # a binary search of all users at once
            middle = (low + high) // 2
            earlier = (low < high) & (self.time[np.minimum(middle, len(self) - 1)] < times)
            low, high = np.where(earlier, middle + 1, low), np.where(earlier, high, middle)
        return low


class Window(Options):
    """A stretch of a user's time: forward for F, GTS and FPS, backward for the context of a training stage."""

    unit: Literal["days", "seconds", "events"]
    """What the length counts; events are the user's, of any feedback."""
    length: Positive | None
    """How long the window is, whole for events; null: no limit."""

    @model_validator(mode="after")
    def _can_be_counted(self) -> Self:
        if self.length is None:
            return self
        if self.unit == "events" and isinstance(self.length, float) and not self.length.is_integer():
            raise UserError(f"window: {self.length!r} events; expected a whole number of events, or null for no limit")
        if self.length > _LONGEST / (SECONDS_A_DAY if self.unit == "days" else 1):
            raise UserError(f"window: {self.length!r} {self.unit} is longer than any log; give null for no limit")
        return self

    @property
    def _seconds(self) -> int:
        return int((self.length or 0) * (SECONDS_A_DAY if self.unit == "days" else 1))

    def end(self, log: EventLog, users: np.ndarray, t0: np.ndarray, begin: np.ndarray) -> np.ndarray:
        """Where the forward windows of N instances end: int64 [N]; the rows begin:end of the log are in the window.

        Days and seconds include the moment t0 + length. A window of events holds `length` events and all events that
        tie with the last of them, so the order of ties in the file does not matter.

        Args:
            users, t0, begin: int64 [N]; begin is the user's first row at or after t0.
        """
        if self.length is None:
            return log.start[users + 1]
        if self.unit != "events":
            return log.first_at_or_after(users, t0 + self._seconds + 1)
        end = np.minimum(begin + int(self.length), log.start[users + 1])
        last = np.maximum(end - 1, 0)
        return np.where(end > begin, log.first_at_or_after(users, log.time[last] + 1), begin)

    def begin(self, log: EventLog, users: np.ndarray, t0: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Where the backward windows of N instances begin: int64 [N]; the rows begin:end of the log are in the window.

        They are the events with t0 - length <= time < t0, or the last `length` events before row `end`.

        Args:
            users, t0, end: int64 [N]; end is the user's first row at or after t0.
        """
        if self.length is None:
            return log.start[users]
        if self.unit != "events":
            return log.first_at_or_after(users, t0 - self._seconds)
        return np.maximum(end - int(self.length), log.start[users])


@dataclass(frozen=True, eq=False)
class Instances:
    """Evaluation and training instances (user, t0, item), one per negative event; all fields int64 [N].

    `row` is the negative event in the log and `time` its t0; the history, strictly before t0, is the rows begin:end.
    """

    row: np.ndarray
    user: np.ndarray
    item: np.ndarray
    time: np.ndarray
    begin: np.ndarray
    end: np.ndarray

    @classmethod
    def of_rows(cls, log: EventLog, row: np.ndarray) -> "Instances":
        """The instances of these log rows [N]."""
        user, time = log.user[row], log.time[row]
        return cls(row, user, log.item[row], time, log.start[user], log.first_at_or_after(user, time))

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, index) -> "Instances":
        """A part of them, by a slice, an index array or a mask."""
        return Instances(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


class RowStream:
    """Some of the log's rows, in order. The rows of the stream within any part of the log are slices, never copies."""

    def __init__(self, mask: np.ndarray):
        """mask: bool [E], the rows that belong to the stream."""
        small = np.int32 if len(mask) < 2**31 else np.int64  # kept as long as the data: half the memory
        self.rows = np.flatnonzero(mask).astype(small)
        self._before = np.zeros(len(mask) + 1, dtype=small)  # stream rows before log row r
        np.cumsum(mask, out=self._before[1:])

    def count(self, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
        """The number of stream rows in each begin:end: int64 [N]."""
        return np.maximum(self._before[end] - self._before[begin], 0).astype(np.int64)

    def last(self, begin: np.ndarray, end: np.ndarray, max_len: int) -> tuple[np.ndarray, np.ndarray]:
        """The last `max_len` stream rows in each begin:end, oldest first.

        Returns (rows int64 [N, max_len], left-aligned and padded with -1, lengths int64 [N]).
        """
        lengths = np.minimum(self.count(begin, end), max_len)
        column = np.arange(max_len)
        valid = column < lengths[:, None]
        at = np.where(valid, (self._before[end] - lengths)[:, None] + column, 0)
        rows = self.rows[at] if len(self.rows) else np.zeros_like(at)
        return np.where(valid, rows, -1).astype(np.int64), lengths

    def csr(self, begin: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All stream rows in each begin:end. Returns (ptr int64 [N + 1], rows int64 [ptr[-1]])."""
        ptr, at = ragged(self._before[begin].astype(np.int64), self._before[end].astype(np.int64))
        return ptr, self.rows[at].astype(np.int64)


class FeedbackStream(RowStream):
    """The log's events of one or several kinds of feedback."""

    def __init__(self, log: EventLog, kinds: tuple[int, ...]):
        super().__init__(np.isin(log.feedback, kinds))
