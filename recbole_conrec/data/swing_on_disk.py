"""Swing over a log in partitions: the same neighbours, bit by bit, as of the log in memory.

The users of each item and the items of each user, after the caps, become two files of numbers that are mapped into
memory; :mod:`data.swing` then works on these. The cap of a user is taken in the user's partition; what is left is
brought together by items, and the cap of an item is taken there.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from recbole_conrec.data.partitions import Keep, Partitions, negatives
from recbole_conrec.data.swing import Neighbours, SwingOptions, swing_of_lists
from recbole_conrec.utils.arrays import rank_in_group


class Rows(NamedTuple):
    """Rows of sorted numbers, the numbers mapped into memory; see :class:`data.swing.Lists`."""

    indptr: np.ndarray
    indices: np.ndarray
    shape: tuple[int, int]


def swing_of_partitions(
    partitions: Partitions, options: SwingOptions, keep: Keep | None = None, folder: Path | None = None
) -> Neighbours:
    """Swing neighbours of each item over the negative events.

    Args:
        keep: of which events, such as those of the training.
        folder: for temporary files of about 60 bytes a negative event; default: the system's.
    """
    with TemporaryDirectory(dir=folder, prefix="swing-") as made:
        work = Path(made)
        shape = partitions.n_items, partitions.n_users
        by_item = _Buckets(work / "items", partitions.parts)
        for log in partitions:
            by_item.add(*_of_users(log, negatives(log, keep), options.max_user_items))
        kept = _Buckets(work / "kept", partitions.parts)
        by_user = _Buckets(work / "users", partitions.parts)
        number, length = np.zeros(shape[0], dtype=np.int64), np.zeros(shape[1], dtype=np.int64)
        for pairs in by_item:
            item, user, time = pairs.T
            order = np.lexsort((-user, -time))  # the latest first; of one time the user with the highest number
            chosen = order[rank_in_group(item[order]) < options.max_item_users]
            item, user = item[chosen], user[chosen]
            kept.add(item, user)
            by_user.add(user, item)
            number += np.bincount(item, minlength=len(number))
            length += np.bincount(user, minlength=len(length))
        disliked_by = _rows(work / "disliked_by", kept, number, shape)
        lists = _rows(work / "lists", by_user, length, shape[::-1])
        return swing_of_lists(disliked_by, lists, options)


def _of_users(log, chosen: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Items, users and times of the latest event of each pair, the ``most`` latest of each user."""
    rows = np.flatnonzero(chosen)[::-1]  # a log is sorted by user and time
    rows = rows[np.unique(log.user[rows] * np.int64(log.n_items) + log.item[rows], return_index=True)[1]]
    rows = np.sort(rows)[::-1] if len(rows) else rows
    rows = rows[rank_in_group(log.user[rows]) < most]
    return log.item[rows], log.user[rows], log.time[rows]


class _Buckets:
    """Rows of int64 in files, by the first number modulo the number of files."""

    def __init__(self, folder: Path, files: int):
        folder.mkdir()
        self._files = [folder / f"{number}.bin" for number in range(files)]
        self._width = 0

    def add(self, *columns: np.ndarray) -> None:
        rows = np.stack(columns, axis=1).astype(np.int64)
        self._width = rows.shape[1]
        where = columns[0] % len(self._files)
        order = np.argsort(where, kind="stable")
        bounds = np.searchsorted(where[order], np.arange(len(self._files) + 1))
        for number in np.flatnonzero(np.diff(bounds)):
            with self._files[number].open("ab") as file:
                rows[order[bounds[number] : bounds[number + 1]]].tofile(file)

    def __iter__(self):
        """The rows of one file after the other, int64 [N, width]."""
        for file in self._files:
            if file.exists():
                yield np.fromfile(file, dtype=np.int64).reshape(-1, self._width)
                file.unlink()


def _rows(file: Path, pairs: _Buckets, number: np.ndarray, shape: tuple[int, int]) -> Rows:
    """Pairs (row, value) as rows; number: int64 [rows], the values of each."""
    indptr = np.concatenate([[0], np.cumsum(number)])
    if not indptr[-1]:
        return Rows(indptr, np.empty(0, dtype=np.int32), shape)
    indices = np.memmap(file, dtype=np.int32, mode="w+", shape=(int(indptr[-1]),))
    for part in pairs:
        row, value = part[np.lexsort((part[:, 1], part[:, 0]))].T
        indices[indptr[row] + rank_in_group(row)] = value
    indices.flush()
    return Rows(indptr, indices.view(np.ndarray), shape)
