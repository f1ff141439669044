"""The ids of the data files -> rows, by arrays that can be mapped into memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recbole_conrec.utils.arrays import mix
from recbole_conrec.utils.errors import UserError

FILES = ("tokens", "keys", "order")


class Ids:
    """Row r of n has the id ``tokens[r]``.

    An id is found by a binary search for its 64-bit key and then compared byte by byte, so that an unknown id is never
    taken for a known one.

    Attributes:
        tokens: bytes (UTF-8) [n], of one fixed width that is a multiple of 8.
        keys: uint64 [n], ascending: hashes of the tokens.
        order: int32 [n]; ``keys[i]`` is the key of row ``order[i]``.
    """

    def __init__(self, tokens: np.ndarray, keys: np.ndarray, order: np.ndarray):
        self.tokens, self.keys, self.order = tokens, keys, order

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    def of(cls, ids, what: str) -> Ids:
        """From ids [n], texts or whole numbers.

        Args:
            what: the kind of id, such as ``user``; named in errors.

        Raises UserError if an id occurs twice.
        """
        tokens = as_bytes(ids, what)
        width = -(-max(tokens.dtype.itemsize, 1) // 8) * 8
        tokens = tokens.astype(f"S{width}")
        keys = _keys(tokens)
        order = np.argsort(keys, kind="stable").astype(np.int32)
        keys = keys[order]
        twice = np.flatnonzero(keys[1:] == keys[:-1])
        if len(twice):
            first, second = (tokens[order[twice[0] + n]].decode() for n in (0, 1))
            raise UserError(
                f"{what} '{first}' occurs twice; keep one of them"
                if first == second
                else f"{what}: '{first}' and '{second}' have the same key; rename one of them"
            )
        return cls(tokens, keys, order)

    def rows(self, ids, what: str = "id") -> np.ndarray:
        """int64 of the ids' shape: their rows, -1 for an unknown one. UserError as for :func:`as_bytes`."""
        given = as_bytes(ids, what)
        wanted, shape = given.reshape(-1), given.shape
        if not len(self) or not len(wanted):
            return np.full(shape, -1, dtype=np.int64)
        width = self.tokens.dtype
        fits = wanted.dtype.itemsize <= width.itemsize or np.char.str_len(wanted) <= width.itemsize
        wanted = wanted.astype(width)
        keys = _keys(wanted)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self) - 1)
        rows = self.order[at].astype(np.int64)
        known = (self.keys[at] == keys) & (self.tokens[rows] == wanted) & fits
        return np.where(known, rows, -1).reshape(shape)

    def save(self, folder: Path, name: str) -> None:
        """Write ``name_tokens.npy``, ``name_keys.npy`` and ``name_order.npy`` into ``folder``."""
        for part in FILES:
            np.save(folder / f"{name}_{part}.npy", getattr(self, part))

    @classmethod
    def load(cls, folder: Path, name: str) -> Ids:
        """What :meth:`save` wrote, mapped into memory."""
        return cls(*(mapped(folder / f"{name}_{part}.npy") for part in FILES))


def mapped(file: Path) -> np.ndarray:
    """A .npy file mapped into memory, read only; as a plain array, because indexing NumPy's memmap class is slow."""
    return np.load(file, mmap_mode="r", allow_pickle=False).view(np.ndarray)


def as_bytes(ids, what: str) -> np.ndarray:
    """Ids of any shape as UTF-8 bytes; a whole number becomes its decimal digits.

    Raises UserError for other types, or nested lists of unequal length; ``what`` names the kind of id.
    """
    try:
        if isinstance(ids, list) and ids and isinstance(ids[0], str):  # the usual case, twice as fast as below
            return np.array([name.encode() for name in ids])
    except AttributeError:  # not only texts
        pass
    try:
        array = np.asarray(ids)
    except ValueError:  # lists of unequal length
        raise UserError(
            f"{what}s: lists of unequal length; give each user equally many ids, or one list a call"
        ) from None
    if array.dtype.kind == "O":
        array = array.astype(str)
    if array.size == 0:
        return np.zeros(array.shape, dtype="S1")
    if array.dtype.kind not in "SUiu":
        raise UserError(f"{what}s: expected texts or whole numbers, found {array.dtype}")
    try:
        return array.astype("S")
    except UnicodeEncodeError:
        return np.char.encode(array, "utf-8")


def _keys(tokens: np.ndarray) -> np.ndarray:
    words = np.ascontiguousarray(tokens).view("<u8").reshape(len(tokens), -1)
    return mix(*words.T)
