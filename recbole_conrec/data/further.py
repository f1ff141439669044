"""Truth beside the dislikes: what the user likes in the window of an instance, and what a dislike is compared with."""

from collections.abc import Callable
from functools import cached_property

import numpy as np

from recbole_conrec.data.candidates import CandidateSources
from recbole_conrec.data.events import EXPOSURE, POSITIVE, Instances
from recbole_conrec.utils.arrays import contains, mix

Ragged = tuple[np.ndarray, np.ndarray]  # CSR: (ptr int64 [N + 1], items int64 [ptr[-1]])
Future = Callable[[Instances, tuple[int, ...]], Ragged]
_CHUNK = 4096  # instances whose exposures are held at a time


class FurtherTruth:
    """Of N instances; computed when it is first read. Only metrics read it, never a method.

    Args:
        future: the items that get feedback of given kinds in the windows of instances, such as
            :meth:`NegativeFeedbackDataset.future`.
        sources: the log, and the keys that draws are hashes of.
        f_ptr, f_items: CSR of F, rows sorted.
        seed: of the draws.
    """

    def __init__(
        self,
        future: Future,
        sources: CandidateSources,
        instances: Instances,
        f_ptr: np.ndarray,
        f_items: np.ndarray,
        seed: int = 0,
    ):
        self._future, self._sources, self._instances, self._seed = future, sources, instances, seed
        self._f_keys = self._keys((f_ptr, f_items))

    @cached_property
    def likes(self) -> Ragged:
        """CSR of the items that the user likes in the window that opens at t0, each row sorted.

        An item of F is none of them. The window ends with its part, as that of F does.
        """
        keys = self._keys(self._future(self._instances, (POSITIVE,)))
        return self._rows(keys[~contains(self._f_keys, keys)], len(self._instances))

    @cached_property
    def pairs(self) -> np.ndarray:
        """int64 [N, 2]: an item that the user likes in the window, and one that they meet in it without any reaction; 0
        where there is none.

        Drawn by a hash of the seed, the tokens, t0 and the item, so that a draw depends on no other instance. Items of
        F and those that the user reacted to before t0 are never drawn (a method that sees that feedback would rule
        them out from memory), and an item that is liked in the window is not met without reaction.
        """
        drawn = np.zeros((len(self._instances), 2), dtype=np.int64)
        ptr, items = self.likes
        for low in range(0, len(drawn), _CHUNK):
            part = self._instances[low : low + _CHUNK]
            there = ptr[low : low + len(part) + 1]
            liked = there - there[0], items[there[0] : there[-1]]
            met = self._keys(self._future(part, (EXPOSURE,)))
            size = self._sources.log.n_items
            ends = np.searchsorted(self._f_keys, [low * size, (low + len(part)) * size])
            ours = self._f_keys[ends[0] : ends[1]] - low * size
            neutral = met[~contains(ours, met) & ~contains(self._keys(liked), met)]
            for column, rows in enumerate((liked, self._rows(neutral, len(part)))):
                drawn[low : low + len(part), column] = self._draw(part, rows, column)
        return drawn

    def _draw(self, part: Instances, rows: Ragged, column: int) -> np.ndarray:
        """One item of each CSR row that the user had not reacted to before t0: int64 [n], 0 where there is none."""
        sources, (ptr, items) = self._sources, rows
        row = np.repeat(np.arange(len(part)), np.diff(ptr))
        new = ~sources.reacted.before(part.user[row], items, part.time[row])
        row, items = row[new], items[new]
        own = mix(self._seed, sources.user_keys[part.user], sources.item_keys[part.item], part.time, 3 + column)
        order = np.lexsort((mix(own[row], sources.item_keys[items]), row))
        chosen, first = np.unique(row[order], return_index=True)
        out = np.zeros(len(part), dtype=np.int64)
        out[chosen] = items[order[first]]
        return out

    def _keys(self, rows: Ragged) -> np.ndarray:
        """(row, item) of a CSR with sorted rows as one number each, ascending: int64."""
        ptr, items = rows
        return np.repeat(np.arange(len(ptr) - 1), np.diff(ptr)) * self._sources.log.n_items + items

    def _rows(self, keys: np.ndarray, n: int) -> Ragged:
        counts = np.bincount(keys // self._sources.log.n_items, minlength=n)
        ptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return ptr, keys % self._sources.log.n_items
