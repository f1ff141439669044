"""The log of all events, kept once, and what is cut out of it: windows, instances, histories as slices."""

from dataclasses import dataclass

import numpy as np

from recbole_conrec.utils.arrays import group_order, ragged
from recbole_conrec.utils.errors import UserError

NEGATIVE, EXPOSURE, POSITIVE = -1, 0, 1
SECONDS_A_DAY = 86_400
NEVER = np.iinfo(np.int64).max  # a time after every event


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

    def first_at_or_after(self, users: np.ndarray, times: np.ndarray) -> np.ndarray:
        """The row of each user's first event with time >= `times` (start[user + 1] if there is none): int64 [N]."""
        low, high = self.start[users], self.start[np.asarray(users) + 1]
        longest = int((high - low).max(initial=0))
        for _ in range(longest.bit_length()):  # a binary search of all users at once
            middle = (low + high) // 2
            earlier = (low < high) & (self.time[np.minimum(middle, len(self) - 1)] < times)
            low, high = np.where(earlier, middle + 1, low), np.where(earlier, high, middle)
        return low


@dataclass(frozen=True)
class Window:
    """A stretch of a user's time: forward for F, GTS and FPS, backward for the context of a training stage.

    Attributes:
        unit: 'days', 'seconds' or 'events' (the user's events of any feedback).
        length: a positive number (whole for events); None means unbounded.
    """

    unit: str
    length: float | None

    def __post_init__(self):
        if self.unit not in ("days", "seconds", "events"):
            raise UserError(f"window: unit '{self.unit}' is unknown; give days, seconds or events")
        number = isinstance(self.length, int | float) and not isinstance(self.length, bool) and self.length > 0
        whole = number and (self.unit != "events" or float(self.length).is_integer())
        if self.length is not None and not whole:
            kind = "a positive whole number" if self.unit == "events" else "a positive number"
            raise UserError(f"window: length is {self.length!r}; give {kind} of {self.unit}, or null for no limit")

    @property
    def _seconds(self) -> int:
        return int(self.length * (SECONDS_A_DAY if self.unit == "days" else 1))

    def end(self, log: EventLog, users: np.ndarray, t0: np.ndarray, begin: np.ndarray) -> np.ndarray:
        """Forward: rows begin..end (exclusive) are the window that opens at t0; begin is the first row at t0.

        Days and seconds include the moment t0 + length. A window of events holds `length` events, and all events
        that tie with its last one: which of those the file names first must not matter. Returns int64 [N].
        """
        if self.length is None:
            return log.start[users + 1]
        if self.unit != "events":
            return log.first_at_or_after(users, t0 + self._seconds + 1)
        end = np.minimum(begin + int(self.length), log.start[users + 1])
        last = np.maximum(end - 1, 0)
        return np.where(end > begin, log.first_at_or_after(users, log.time[last] + 1), begin)

    def begin(self, log: EventLog, users: np.ndarray, t0: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Backward: rows begin..end are the events with t0 - length <= time < t0, or the last `length` events
        before row `end` (the first row at t0). int64 [N]."""
        if self.length is None:
            return log.start[users]
        if self.unit != "events":
            return log.first_at_or_after(users, t0 - self._seconds)
        return np.maximum(end - int(self.length), log.start[users])


@dataclass(frozen=True, eq=False)
class Instances:
    """Prediction instances (user, t0, item), one per negative event; all fields int64 [N].

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
    """Some of the log's rows, in order: any stretch of the log gives its part of them as slices, never as copies."""

    def __init__(self, mask: np.ndarray):
        """mask: bool [E], the rows that belong to the stream."""
        small = np.int32 if len(mask) < 2**31 else np.int64  # kept as long as the data: half the memory
        self.rows = np.flatnonzero(mask).astype(small)
        self._before = np.zeros(len(mask) + 1, dtype=small)  # stream rows before log row r
        np.cumsum(mask, out=self._before[1:])

    def count(self, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
        """How many stream rows lie in begin:end. int64 [N]."""
        return np.maximum(self._before[end] - self._before[begin], 0).astype(np.int64)

    def last(self, begin: np.ndarray, end: np.ndarray, max_len: int) -> tuple[np.ndarray, np.ndarray]:
        """The last `max_len` stream rows in begin:end, oldest first.

        Returns (rows int64 [N, max_len], left-aligned and padded with -1, lengths int64 [N]).
        """
        lengths = np.minimum(self.count(begin, end), max_len)
        column = np.arange(max_len)
        valid = column < lengths[:, None]
        at = np.where(valid, (self._before[end] - lengths)[:, None] + column, 0)
        rows = self.rows[at] if len(self.rows) else np.zeros_like(at)
        return np.where(valid, rows, -1).astype(np.int64), lengths

    def csr(self, begin: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All stream rows in begin:end. Returns (ptr int64 [N + 1], rows int64 [ptr[-1]])."""
        ptr, at = ragged(self._before[begin].astype(np.int64), self._before[end].astype(np.int64))
        return ptr, self.rows[at].astype(np.int64)


class FeedbackStream(RowStream):
    """The log's events of one or several kinds of feedback."""

    def __init__(self, log: EventLog, kinds: tuple[int, ...]):
        super().__init__(np.isin(log.feedback, kinds))
