"""How often each item had an event before any moment: one index over the log instead of a recount per instance."""

import numpy as np

from recbole_conrec.utils.arrays import ragged

_MARKS = 2**24  # counts that are kept, 64 MB; more of them make look-ups faster
_STRIDE = 256  # events between two kept counts, at least


class RollingCounts:
    """Counts of events by item, strictly before given moments.

    The counts are kept at every ``stride``-th event in time order; those at a moment are the last ones kept before it
    plus the few events since.

    Args:
        items, times: int64 [E], the events in any order.
        n_items: number of item ids, padding included.
    """

    def __init__(self, items: np.ndarray, times: np.ndarray, n_items: int):
        order = np.argsort(times, kind="stable")
        self.items, self.times, self.n_items = items[order], times[order], n_items
        self.stride = max(_STRIDE, -(-len(items) // max(_MARKS // max(n_items, 1), 1)))
        blocks = -(-len(items) // self.stride) + 1
        kept = np.bincount(
            (np.arange(len(items)) // self.stride + 1) * n_items + self.items, minlength=blocks * n_items
        )
        self.kept = np.cumsum(kept.reshape(-1, n_items), axis=0, dtype=np.int32)

    def before(self, moments: np.ndarray) -> np.ndarray:
        """The number of events strictly before each moment: int64 [N]."""
        return np.searchsorted(self.times, moments, side="left")

    def first(self, events: np.ndarray) -> np.ndarray:
        """The counts of each item among the first so many events: int32 [N, n_items]."""
        places, back = np.unique(events, return_inverse=True)
        mark = places // self.stride
        ptr, at = ragged(mark * self.stride, places)
        cells = np.repeat(np.arange(len(places)), np.diff(ptr)) * self.n_items + self.items[at]
        since = np.bincount(cells, minlength=len(places) * self.n_items).reshape(len(places), self.n_items)
        return (self.kept[mark] + since.astype(np.int32))[back]

    def at(self, moments: np.ndarray) -> np.ndarray:
        """The counts of each item strictly before each moment: int32 [N, n_items]."""
        return self.first(self.before(moments))

    def within(self, moments: np.ndarray, seconds: int) -> np.ndarray:
        """The counts of each item in moment - seconds <= time < moment: int32 [N, n_items]."""
        return self.at(moments) - self.at(np.asarray(moments) - seconds)

    def latest(self, moments: np.ndarray, events: int) -> np.ndarray:
        """The counts of each item among the last ``events`` events strictly before each moment: int32 [N, n_items]."""
        end = self.before(moments)
        return self.first(end) - self.first(np.maximum(end - events, 0))
