"""Which negative event trains, validates or tests: cut times per user, and the instances on either side of them."""

from dataclasses import dataclass
from datetime import date, datetime, timezone

import numpy as np

from recbole_conrec.data.events import NEGATIVE, NEVER, EventLog, Instances
from recbole_conrec.utils.errors import UserError

TRAIN, VALID, TEST = 0, 1, 2
PARTS = ("train", "valid", "test")


@dataclass(frozen=True, eq=False)
class Cuts:
    """When evaluation begins for each user: int64 [n_users] times, NEVER where a user is not evaluated.

    An event belongs to the last part whose cut it has reached, by its time alone: events that tie never
    straddle a cut (the whole group goes to the later part).
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
    """Rows (ascending) of the negative events that become instances: each user's first dislike of each item.

    A later dislike of the same item can never be predicted, because items already disliked are excluded; of several
    at the same moment the first in the file stands for all.
    """
    rows = np.flatnonzero(log.feedback == NEGATIVE)
    _, first = np.unique(log.user[rows] * log.n_items + log.item[rows], return_index=True)
    return rows[np.sort(first)]


def cuts_by_user(log: EventLog, rows: np.ndarray, ratio: tuple[float, float, float]) -> Cuts:
    """Cut each user's own instances (`rows`, as first_dislikes gives them) by ratio.

    Of n instances the last max(1, round(ratio[2] * n)) test and the round(ratio[1] * n) before them validate
    (halves round up; none validate if that is 0); n < 2 only trains. Where the first of a part ties with earlier
    ones, these join it.
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
    """Two cut times for everybody: the times of the events at ranks ratio[0] * E and (ratio[0] + ratio[1]) * E
    (rounded down) among all E events in time order, whatever their feedback."""
    ranks = _floor(np.array([ratio[0], ratio[0] + ratio[1]]) * len(log))
    return fixed_cuts(log, *np.partition(log.time, ranks)[ranks])


def _floor(values: np.ndarray) -> np.ndarray:
    """Rounded down, but 0.7 + 0.1 of 40 is 32, not 31.999."""
    return np.floor(values + 1e-9).astype(np.int64)


def fixed_cuts(log: EventLog, valid: int, test: int) -> Cuts:
    """The same two given times (int seconds) for everybody."""
    return Cuts(np.full(log.n_users, valid, dtype=np.int64), np.full(log.n_users, test, dtype=np.int64))


def parse_time(value: int | float | str | date) -> int:
    """Seconds since 1970 of a number, an ISO date or date-time (UTC unless it says otherwise), or YAML's date."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return int(value)
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise UserError(f"split: cut '{value}' is not a time; give seconds or an ISO date such as 2003-01-31") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp())  # noqa: UP017 (3.11 on)


@dataclass(frozen=True)
class SplitRule:
    """The `split` option: `by` 'user' or 'time' with `ratio` (train, valid, test), or `by` 'time' with two `cuts`,
    which take the ratio's place."""

    by: str
    ratio: tuple[float, float, float] = (0.7, 0.1, 0.2)
    cuts: tuple | None = None

    def __post_init__(self):
        if self.by not in ("user", "time"):
            raise UserError(f"split: by '{self.by}' is unknown; give user or time")
        if self.cuts is not None:
            if self.by == "user":
                raise UserError("split: cuts need `by: time`; with `by: user` give `ratio: [train, valid, test]`")
            if not isinstance(self.cuts, list | tuple) or len(self.cuts) != 2:
                raise UserError(f"split: cuts {self.cuts!r} must be two times, [valid, test]")
            if parse_time(self.cuts[0]) >= parse_time(self.cuts[1]):
                raise UserError(f"split: cuts {self.cuts!r}: validation must begin before the test")
        ratio = self.ratio
        numbers = isinstance(ratio, list | tuple) and all(isinstance(share, int | float) for share in ratio)
        if not numbers or len(ratio) != 3 or min(ratio) <= 0 or abs(sum(ratio) - 1) > 1e-6:
            raise UserError(f"split: ratio {ratio!r} must be three positive shares that sum to 1, [train, valid, test]")

    def of(self, log: EventLog, rows: np.ndarray) -> Cuts:
        """The cuts of this log; `rows` are its instances."""
        if self.by == "user":
            return cuts_by_user(log, rows, self.ratio)
        if self.cuts is None:
            return cuts_by_time(log, self.ratio)
        return fixed_cuts(log, *map(parse_time, self.cuts))


def split_instances(log: EventLog, rows: np.ndarray, cuts: Cuts) -> dict[str, Instances]:
    """Deal the instances of log `rows` into 'train', 'valid' and 'test'. UserError if a part stays empty."""
    instances = Instances.of_rows(log, rows)
    part = cuts.part(instances.user, instances.time)
    splits = {name: instances[part == number] for number, name in enumerate(PARTS)}
    for name, those in splits.items():
        if len(those) == 0:
            raise UserError(
                f"split: no negative event is left for {name}; this log has {len(rows)} of them, "
                f"its times run from {log.time.min()} to {log.time.max()}: change the ratio or the cuts"
            )
    return splits
