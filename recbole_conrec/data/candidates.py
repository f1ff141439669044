"""The lists of CandAcc: the true item among distractors that the user was shown (our choice; the paper does not say).

For an instance (user u, item i, time t0) the distractors are taken in this order until there are enough, by the option
``candidates.pool``:

    neutral     1. items u was exposed to, without reacting, on the UTC day of t0 and before t0
                2. items u was exposed to without reacting, nearest in time before t0
                3. popular items, with probability proportional to their number of training events
    day         the paper's: as above, of all events of u, also liked ones and those after t0 (within the part)
    matched     items as popular as i: of those next to it in the order of popularity (half a decile to either side)

A sample is drawn where there are more. Never taken: items of F; an item twice; items that u reacted to before t0 (a
method that sees this feedback would rule them out from memory, without judging them), of which ``day`` leaves out the
disliked ones alone. Under ``neutral`` and ``matched`` only events before t0 are sources, so what comes later changes no
list, except that the items of F are left out. Sources 1 and 2 look over the nearest `look_back` events. A list is
shorter, padded with 0 at its end, only if all items with training events are used up.

Every draw is a hash of (seed, user, item, t0, what is drawn), so a list is a pure function of the data and the seed: it
does not depend on which other instances exist, nor, with keys made of the tokens, on internal ids.
"""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from recbole_conrec.data.events import EXPOSURE, NEGATIVE, POSITIVE, SECONDS_A_DAY, EventLog, FeedbackStream, Instances
from recbole_conrec.options.schema import Options
from recbole_conrec.utils.arrays import contains, mix, uniform

_LAST = np.uint64(2**64 - 1)
_DRAWS = 64  # popular items drawn for each instance; a list that is still short is completed exactly


class CandidateOptions(Options):
    """The option `candidates`; a number alone is its `size`."""

    size: Annotated[int, Field(ge=2)] = 20
    """Length of the candidate lists of CandAcc, the true item included."""
    pool: Literal["neutral", "day", "matched"] = "day"
    """Distractors: exposures before t0; all events of the day, as in the paper; or items as popular as the true one. By
    the study of docs/protocol.md, day orders methods best."""


def sized(given: Any) -> Any:
    """The option `candidates`, where a number alone is the size of the lists."""
    if not isinstance(given, int | float) or isinstance(given, bool):
        return given
    if not isinstance(given, int) or given < 2:
        raise ValueError(f"{given}; expected a whole number of at least 2, or a mapping of size and pool")
    return {"size": given}


class CandidateSources:
    """What the lists of all parts of the data are drawn from.

    Args:
        popularity: [n_items], training events per item.
        user_keys, item_keys: uint64 [n_users], [n_items], what is hashed instead of the ids (default: the ids).
    """

    def __init__(
        self,
        log: EventLog,
        popularity: np.ndarray,
        user_keys: np.ndarray | None = None,
        item_keys: np.ndarray | None = None,
    ):
        self.log, self.popularity = log, popularity
        self.user_keys = np.arange(log.n_users) if user_keys is None else user_keys
        self.item_keys = np.arange(log.n_items) if item_keys is None else item_keys
        self.by_key = np.argsort(self.item_keys, kind="stable")
        self.shares = np.cumsum(popularity[self.by_key]) / max(popularity.sum(), 1)
        self.exposures = FeedbackStream(log, (EXPOSURE,))
        self.reacted = _Reacted(log, (NEGATIVE, POSITIVE))
        order = np.lexsort((mix(self.item_keys), -np.asarray(popularity)))  # items of equal popularity in random order
        self.by_rank = order[order > 0]
        self.rank = np.zeros(log.n_items, dtype=np.int64)
        self.rank[self.by_rank] = np.arange(len(self.by_rank))


class CandidateLists:
    """The lists of N instances, read like an int64 array [N, size]; each is drawn when it is first read, with those of
    the ``chunk`` instances around it.

    Args:
        f_ptr, f_items: CSR of F, rows sorted.
        until: int64 [N], the row of the log at which the part of each instance ends; only ``day`` reads it.
        chunk: instances at a time; bounds memory at about chunk * (look_back + 64) * 60 bytes.
    """

    def __init__(
        self,
        sources: CandidateSources,
        instances: Instances,
        f_ptr: np.ndarray,
        f_items: np.ndarray,
        until: np.ndarray | None = None,
        *,
        size: int = 20,
        pool: str = "neutral",
        seed: int = 0,
        look_back: int = 200,
        chunk: int = 1024,
    ):
        self.sources, self.instances, self.f_ptr, self.f_items = sources, instances, f_ptr, f_items
        self.until, self.pool, self.seed, self.look_back, self.chunk = until, pool, seed, look_back, chunk
        self._barred = _Reacted(sources.log, (NEGATIVE,)) if pool == "day" else sources.reacted
        self.shape = (len(instances), size)
        self._lists = np.zeros(self.shape, dtype=np.int32)  # touched, and so in memory, only where something is drawn
        self._drawn = np.zeros(-(-len(instances) // chunk), dtype=bool)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index) -> np.ndarray:
        rows = np.arange(*index.indices(len(self))) if isinstance(index, slice) else np.arange(len(self))[index]
        for number in np.unique(rows // self.chunk):
            if not self._drawn[number]:
                low = number * self.chunk
                self._lists[low : low + self.chunk] = self._draw(low)
                self._drawn[number] = True
        return self._lists[index].astype(np.int64)

    def _draw(self, low: int) -> np.ndarray:
        """The lists of the chunk that begins with instance ``low``."""
        sources, size, reacted = self.sources, self.shape[1], self._barred
        log, item_keys = sources.log, sources.item_keys
        part = self.instances[low : low + self.chunk]
        bounds = self.f_ptr[low : low + len(part) + 1]
        future = np.repeat(np.arange(len(part)), np.diff(bounds)) * log.n_items + self.f_items[bounds[0] : bounds[-1]]
        key = mix(self.seed, sources.user_keys[part.user], item_keys[part.item], part.time)[:, None]

        rows = self._met(low, part)
        shown = np.where(rows >= 0, log.item[rows], 0)
        same_day = log.time[rows] // SECONDS_A_DAY == (part.time // SECONDS_A_DAY)[:, None]
        # Those of the day come first, in the order of their hashes; then the others, nearest first.
        order = np.uint64(2**63) + np.abs(log.time[rows] - part.time[:, None]).astype(np.uint64)
        row, column = np.nonzero(same_day)
        order[row, column] = mix(key[row, 0], item_keys[shown[row, column]]) >> np.uint64(1)
        shown = np.take_along_axis(shown, np.argsort(order, axis=1, kind="stable"), axis=1)

        # The head of the queue is enough for most instances; the others get more of it, followed by popular items.
        chosen = np.zeros((len(part), size - 1), dtype=np.int64)
        for exposed, n_drawn in ((2 * size, 0), (shown.shape[1], _DRAWS // 3), (shown.shape[1], _DRAWS)):
            short = np.flatnonzero((chosen == 0).any(axis=1))
            draws = uniform(mix(key[short], np.uint64(2**32) + np.arange(n_drawn, dtype=np.uint64)))
            queue = np.concatenate([shown[short, :exposed], self._items(draws, part.item[short])], axis=1)
            queue = np.where(_forbidden(queue, part, future, reacted, short), 0, queue)
            chosen[short] = _first_distinct(queue, size - 1)
        _complete(chosen, part, future, reacted, sources.popularity, key, item_keys)

        drawn = np.concatenate([chosen, part.item[:, None]], axis=1)
        order = np.where(drawn > 0, mix(key, 1, item_keys[drawn]), _LAST)  # the place of the true item is random, too
        return np.take_along_axis(drawn, np.argsort(order, axis=1, kind="stable"), axis=1)

    def _met(self, low: int, part: Instances) -> np.ndarray:
        """The events that the pool samples: rows of the log, int64 [n, M], the nearest first, -1 for none."""
        if self.pool == "matched":
            return np.full((len(part), 0), -1)
        if self.pool == "neutral":
            return self.sources.exposures.last(part.begin, part.end, self.look_back)[0][:, ::-1]
        step = np.arange(self.look_back)
        before, after = part.end[:, None] - 1 - step, part.end[:, None] + step
        until = self.sources.log.start[part.user + 1] if self.until is None else self.until[low : low + len(part)]
        before[before < part.begin[:, None]] = -1
        after[after >= until[:, None]] = -1
        return np.concatenate([before, after], axis=1)

    def _items(self, draws: np.ndarray, true: np.ndarray) -> np.ndarray:
        """What uniform draws [n, M] in [0, 1) select: popular items, or for ``matched`` those as popular as the true
        items [n]. int64 [n, M], 0 for none.
        """
        sources, last = self.sources, self.sources.log.n_items - 1
        if self.pool != "matched":
            at = np.searchsorted(sources.shares, draws, side="right")
            return np.where(at <= last, sources.by_key[np.minimum(at, last)], 0)
        width = min(2 * max(-(-last // 20), 2 * self.shape[1]) + 1, last)
        first = np.clip(sources.rank[true] - width // 2, 0, last - width)
        return sources.by_rank[first[:, None] + (draws * width).astype(np.int64)]


class _Reacted:
    """When each user first gave each item feedback of some kinds."""

    def __init__(self, log: EventLog, kinds: tuple[int, ...]):
        rows = np.flatnonzero(np.isin(log.feedback, kinds))
        self.n_items = log.n_items
        self.keys, first = np.unique(log.user[rows] * log.n_items + log.item[rows], return_index=True)
        self.times = log.time[rows[first]]

    def before(self, users: np.ndarray, items: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Whether `users` had reacted to `items` strictly before `times` (broadcast together): bool."""
        # Only the pairs of these users are searched: few enough to stay in the processor's cache.
        ends = [users.min() * self.n_items, (users.max() + 1) * self.n_items] if users.size else [0, 0]
        low, high = np.searchsorted(self.keys, ends)
        if low == high:
            return np.zeros(np.broadcast(users, items, times).shape, dtype=bool)
        keys = users * self.n_items + items
        at = np.minimum(np.searchsorted(self.keys[low:high], keys), high - low - 1)
        return (self.keys[low:high][at] == keys) & (self.times[low:high][at] < times)


def _forbidden(
    items: np.ndarray, part: Instances, future: np.ndarray, reacted: _Reacted, rows: np.ndarray
) -> np.ndarray:
    """Which items [n, M] may not be distractors of the instances `rows`: padding, F, items that the user reacted to."""
    in_future = contains(future, np.arange(len(part))[rows, None] * reacted.n_items + items)
    return (items == 0) | in_future | reacted.before(part.user[rows, None], items, part.time[rows, None])


def _first_distinct(queue: np.ndarray, size: int) -> np.ndarray:
    """The first `size` distinct items of each row [n, M] that are not 0, in order, padded with 0: int64 [n, size]."""
    order = np.argsort(queue, axis=1, kind="stable")  # equal items become neighbours, the earliest first
    ranked = np.take_along_axis(queue, order, axis=1)
    again = np.zeros(queue.shape, dtype=bool)
    np.put_along_axis(again, order[:, 1:], ranked[:, 1:] == ranked[:, :-1], axis=1)
    keep = (queue > 0) & ~again
    place = np.cumsum(keep, axis=1) - 1
    row, column = np.nonzero(keep & (place < size))
    out = np.zeros((len(queue), size), dtype=np.int64)
    out[row, place[row, column]] = queue[row, column]
    return out


def _complete(lists, part, future, reacted, popularity, key, item_keys) -> None:
    """Fill lists that the draws left short, in place, by ranking the whole catalogue for them.

    -log(uniform) / weight is the time of an exponential clock: the items whose clocks ring first are a draw without
    replacement in proportion to the weights.
    """
    short = np.flatnonzero((lists == 0).any(axis=1))
    stock = np.flatnonzero(popularity > 0)
    step = max(1, 2**22 // max(len(stock), 1))
    for low in range(0, len(short), step):
        rows = short[low : low + step]
        items = np.broadcast_to(stock, (len(rows), len(stock)))
        banned = _forbidden(items, part, future, reacted, rows)
        clocks = -np.log1p(-uniform(mix(key[rows], 2, item_keys[items]))) / popularity[items]
        ranked = np.argsort(np.where(banned, np.inf, clocks), axis=1, kind="stable")
        queue = np.take_along_axis(np.where(banned, 0, items), ranked, axis=1)
        lists[rows] = _first_distinct(np.concatenate([lists[rows], queue], axis=1), lists.shape[1])
