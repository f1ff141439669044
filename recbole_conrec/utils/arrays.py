"""Small array helpers: ragged rows, sorted sets of pairs, unit vectors, hashes."""

import numpy as np
from scipy import sparse

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def ragged(lo: np.ndarray, hi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ranges lo[n]:hi[n] as one flat index.

    Returns (ptr int64 [N + 1], index int64 [ptr[-1]]): range n is index[ptr[n]:ptr[n + 1]].
    """
    lengths = np.maximum(hi - lo, 0)
    ptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return ptr, np.repeat(lo - ptr[:-1], lengths) + np.arange(ptr[-1])


def unique_rows(ptr: np.ndarray, items: np.ndarray, n_items: int) -> tuple[np.ndarray, np.ndarray]:
    """Sort each CSR row by item id and drop its repetitions. Returns (ptr, items)."""
    n = len(ptr) - 1
    keys = np.unique(np.repeat(np.arange(n), np.diff(ptr)) * n_items + items)
    counts = np.bincount(keys // n_items, minlength=n)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), keys % n_items


def pad_rows(rows, width: int) -> np.ndarray:
    """N one-dimensional arrays -> [N, width], left-aligned, padded with 0; longer ones are cut."""
    lengths = np.minimum([len(row) for row in rows], width)
    values = np.concatenate([row[:width] for row in rows])
    out = np.zeros((len(rows), width), dtype=values.dtype)
    out[np.arange(width) < lengths[:, None]] = values
    return out


def group_order(group: np.ndarray, n_groups: int) -> np.ndarray:
    """The stable order that sorts groups [N] (0..n_groups-1), by counting, in linear time: integers [N]."""
    places = np.arange(len(group))
    table = sparse.coo_matrix((np.empty(len(group), dtype=np.int8), (group, places)), shape=(n_groups, len(group)))
    table.has_canonical_format = True  # places are distinct: nothing to add up
    return table.tocsr().indices


def rank_in_group(group: np.ndarray) -> np.ndarray:
    """The place of each element [N] among those of its group, in order of appearance: int64 [N]."""
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    ranks = np.empty(len(group), dtype=np.int64)
    ranks[order] = np.arange(len(group)) - np.searchsorted(ordered, ordered)
    return ranks


def contains(sorted_keys: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Which `keys` (any shape) occur in `sorted_keys` [M]. Returns bool of keys' shape."""
    if len(sorted_keys) == 0:
        return np.zeros(keys.shape, dtype=bool)
    at = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    return sorted_keys[at] == keys


def mix(*parts: np.ndarray | int) -> np.ndarray:
    """A counter-based hash (splitmix64's finaliser, chained): integers of broadcastable shapes -> uint64, at least 1-d.

    A pure function of its arguments: no state, so no draw depends on what was drawn before.
    """
    state = np.zeros(1, dtype=np.uint64)
    for part in parts:
        state = (state ^ np.atleast_1d(np.asarray(part)).astype(np.uint64)) + _GOLDEN
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return state


def uniform(hashes: np.ndarray) -> np.ndarray:
    """uint64 hashes -> float64 in [0, 1)."""
    return (hashes >> np.uint64(11)) * 2.0**-53


def token_keys(tokens: np.ndarray) -> np.ndarray:
    """A 64-bit key of each string [N] (FNV-1a over its UTF-8 bytes), so that hashes do not depend on internal ids."""
    raw = np.char.encode(np.asarray(tokens, dtype=str), "utf-8")
    columns = np.frombuffer(raw.tobytes(), dtype=np.uint8).reshape(len(raw), raw.dtype.itemsize).T
    keys = np.full(len(raw), 0xCBF29CE484222325, dtype=np.uint64)
    for column in columns:  # one step per byte of the longest token
        keys = np.where(column > 0, (keys ^ column.astype(np.uint64)) * np.uint64(0x100000001B3), keys)
    return keys


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Rows [n, dim] scaled to length 1, in their own dtype; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12).astype(vectors.dtype)
