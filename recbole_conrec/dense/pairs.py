"""What counts say of a user and an item at one moment: the features of CountGBDT."""

import numpy as np
from scipy import sparse

from recbole_conrec.data.events import (
    EXPOSURE,
    NEGATIVE,
    NEVER,
    POSITIVE,
    SECONDS_A_DAY,
    EventLog,
    FeedbackStream,
    RowStream,
)
from recbole_conrec.data.side import SideInformation

KINDS = (NEGATIVE, POSITIVE, EXPOSURE)


class PairFeatures:
    """Features of pairs of an instance and an item, read from events strictly before its t0.

    Counts are those of the other users: the distractors of candidates are the user's own earlier exposures, and a count
    that holds these events would give them away.

    Args:
        log: all events; of it the user's own history is read.
        known: bool [E], the events that the counts of a side hold, where they lie before t0.
        days: length of the recent past.
        groups: int64 [n_items, M], the categories of each item, 0-padded, or None.
    """

    def __init__(self, log: EventLog, known: np.ndarray, days: float, groups: np.ndarray | None):
        self.log, self.days = log, days
        self.streams = {kind: FeedbackStream(log, (kind,)) for kind in KINDS}
        self.counted = {kind: RowStream(known & (log.feedback == kind)) for kind in KINDS}
        self.end = int(log.time[known].max(initial=-1)) + 1
        self.groups = None if groups is None else _membership(groups)

    def of_all(
        self, side: SideInformation, first: np.ndarray, begin: np.ndarray, end: np.ndarray, t0: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Feature -> float [N, n_items], or [N, 1] where it does not depend on the item.

        Args:
            side: what may be known of others. first: int64 [n_items], the time of each item's first event there.
            begin, end: int64 [N], the histories, as in ``Instances``. t0: int64 [N].
        """
        since = np.minimum(t0, self.end) - int(self.days * SECONDS_A_DAY)  # as the side has it
        user = self.log.user[np.minimum(begin, len(self.log) - 1)]
        later = np.maximum(self.log.first_at_or_after(user, since), begin)
        counts, lately = {}, {}
        for kind, stream in self.counted.items():
            counts[kind] = side.counts((kind,), t0) - self._past(stream, begin, end).toarray()
            lately[kind] = side.recent((kind,), t0, days=self.days) - self._past(stream, later, end).toarray()
        out: dict[str, np.ndarray] = {}
        for when, of in (("", counts), ("recent ", lately)):
            total = sum(of.values())
            out |= {f"{when}{name}": _log_share(of[kind]) for kind, name in zip(KINDS, ("-", "+", "0"), strict=True)}
            out[f"{when}share"] = (of[NEGATIVE] + 1) / (total + 2)
        past = {kind: self._past(stream, begin, end) for kind, stream in self.streams.items()}
        out["swing"] = self._swing(side, past[NEGATIVE], t0)
        age = (t0[:, None] - first) / SECONDS_A_DAY
        out["age"] = np.where(age > 0, age, np.nan)
        sizes = {kind: np.asarray(rows.sum(axis=1)) for kind, rows in past.items()}
        events = sum(sizes.values())
        out["user events"] = np.log1p(events)
        out["user dislikes"], out["user likes"] = ((sizes[kind] + 1) / (events + 3) for kind in (NEGATIVE, POSITIVE))
        if self.groups is not None:
            for kind, name in ((NEGATIVE, "-"), (POSITIVE, "+")):
                out[f"category {name}"] = (past[kind] @ self.groups @ self.groups.T).toarray() / (sizes[kind] + 1)
        return out

    def _past(self, stream: RowStream, begin: np.ndarray, end: np.ndarray) -> sparse.csr_matrix:
        """How many of the events of a stream in begin:end each item has: float [N, n_items]."""
        ptr, events = stream.csr(begin, end)
        shape = (len(begin), self.log.n_items)
        return sparse.csr_matrix((np.ones(len(events)), self.log.item[events], ptr), shape=shape)

    def _swing(self, side: SideInformation, disliked: sparse.csr_matrix, t0: np.ndarray) -> np.ndarray:
        """The sum of the Swing similarities of each item to what the user disliked: float [N, n_items]."""
        out = np.zeros(disliked.shape)
        for those, neighbours in side.swing(t0):
            out[those] = (disliked[those] @ neighbours.matrix()).toarray()
        return out


def first_times(log: EventLog, rows: np.ndarray) -> np.ndarray:
    """The time of each item's first event among these rows of the log: int64 [n_items]; NEVER without one."""
    first = np.full(log.n_items, NEVER)
    np.minimum.at(first, log.item[rows], log.time[rows])
    return first


def columns(features: dict[str, np.ndarray], row: np.ndarray, item: np.ndarray) -> np.ndarray:
    """The features of some pairs (row [M], item [M]) as float32 [M, features]."""
    parts = [value[row, item] if value.shape[1] > 1 else value[row, 0] for value in features.values()]
    return np.column_stack(parts).astype(np.float32)


def _log_share(counts: np.ndarray) -> np.ndarray:
    """The logarithm of each item's share of its row's events, add-one: comparable early and late in the log."""
    return np.log((counts + 1) / (counts.sum(axis=1, keepdims=True) + counts.shape[1]))


def _membership(groups: np.ndarray) -> sparse.csr_matrix:
    """Items x categories; each item's memberships have length 1."""
    item, place = np.nonzero(groups > 0)
    size = np.maximum((groups > 0).sum(axis=1), 1)
    shape = (len(groups), int(groups.max(initial=0)) + 1)
    return sparse.csr_matrix((size[item] ** -0.5, (item, groups[item, place])), shape=shape)
