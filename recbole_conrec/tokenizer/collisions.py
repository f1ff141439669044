"""What to do about items that quantise to the same ID.

``nearest_free``  moves items to unused IDs at least cost, ||x - x^||^2 (exact within a prefix);
``sinkhorn``      does the same by an entropic plan that balances the last level (LC-Rec: eps 0.003, 50 iterations);
``extra_code``    adds one more level that counts the items of an ID (TIGER);
``shared``        keeps them; decoding expands an ID to its items.
The first three give every item an ID of its own.
"""

import math
from typing import Literal

import numpy as np
from scipy.optimize import linear_sum_assignment
from tqdm import tqdm

from recbole_conrec.tokenizer import exact
from recbole_conrec.tokenizer.quantise import encode
from recbole_conrec.utils.arrays import rank_in_group
from recbole_conrec.utils.errors import UserError

Strategy = Literal["nearest_free", "sinkhorn", "extra_code", "shared"]
EPSILON, ITERATIONS = 0.003, 50  # LC-Rec's Sinkhorn


def resolve(
    strategy: Strategy, vectors: np.ndarray, codes: np.ndarray, codebooks: list[np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """IDs after collisions are resolved.

    Args:
        strategy: see above.
        vectors: float32 [n, dim], in the codebooks' space.
        codes: int64 [n, depth], as quantised.
        codebooks: one [size, dim] per level.

    Returns (codes, codebooks): of the same depth, or one level more for ``extra_code`` (its vectors are zero).
    Raises UserError if there are fewer IDs than items.
    """
    if strategy == "shared":
        return codes, codebooks
    if strategy == "extra_code":
        rank = rank_in_group(group_rows(codes))
        extra = np.zeros((int(rank.max(initial=0)) + 1, codebooks[0].shape[1]), dtype=np.float32)
        return np.column_stack([codes, rank]), [*codebooks, extra]
    fixed = np.zeros(len(codes), dtype=bool)
    return place(vectors, codes, codebooks, fixed, sinkhorn=strategy == "sinkhorn"), codebooks


def place(
    vectors: np.ndarray,
    codes: np.ndarray,
    codebooks: list[np.ndarray],
    fixed: np.ndarray,
    *,
    sinkhorn: bool = False,
) -> np.ndarray:
    """Codes int64 [n, depth] that give every item an ID of its own.

    Level by level from the root. A prefix holds as many items as it has IDs below it: where more quantise to it, the
    nearest stay and the others go to their next nearest prefix with room. On the last level each prefix's items and
    free codes are matched at least total cost. An item that has moved is quantised again below its new prefix.

    Args:
        vectors: float32 [n, dim], in the codebooks' space.
        codes: int64 [n, depth], as quantised.
        codebooks: one [size, dim] per level.
        fixed: bool [n]; items that keep their ID.
        sinkhorn: match the last level by a balanced entropic plan instead of at least cost.

    Raises UserError if there are fewer IDs than items.
    """
    sizes = [len(c) for c in codebooks]
    if len(codes) > math.prod(sizes):
        raise UserError(
            f"tokenizer.sizes: {' x '.join(map(str, sizes))} codes give {math.prod(sizes):,} IDs for "
            f"{len(codes):,} items; use more codes or collisions: shared"
        )
    codes, residual = codes.copy(), vectors.astype(np.float32, copy=True)
    group = np.zeros(len(codes), dtype=np.int64)  # the row's prefix, numbered
    for level, codebook in enumerate(codebooks):
        room = math.prod(sizes[level + 1 :])
        child = group * sizes[level] + codes[:, level]
        overflow = _overflowing(child, room)
        stays = fixed if room == 1 else fixed | ~overflow  # the last level is matched as a whole
        rows_of = _rows_by_group(group, np.unique(group[overflow]))
        for rows in tqdm(rows_of, desc=f"level {level + 1}: prefixes with collisions", leave=False, disable=None):
            free = np.full(sizes[level], room) - np.bincount(codes[rows[stays[rows]], level], minlength=sizes[level])
            rows = rows[~stays[rows]]
            cost = squared_distances(residual[rows], codebook)
            chosen = fill(cost, codes[rows, level], free) if room > 1 else _match(cost, free > 0, sinkhorn)
            moved = rows[chosen != codes[rows, level]]
            codes[rows, level] = chosen
            codes[moved, level + 1 :] = encode(residual[moved] - codebook[codes[moved, level]], codebooks[level + 1 :])
        residual -= codebook[codes[:, level]]
        group = np.unique(group * sizes[level] + codes[:, level], return_inverse=True)[1]
    return codes


def group_rows(codes: np.ndarray) -> np.ndarray:
    """int64 [n]: the number of each row of ``codes`` [n, depth] among the distinct rows, in lexicographic order."""
    group = np.zeros(len(codes), dtype=np.int64)
    for column in codes.T:
        group = np.unique(group * (int(column.max(initial=0)) + 1) + column, return_inverse=True)[1]
    return group


def _overflowing(child: np.ndarray, room: int) -> np.ndarray:
    """Which rows [n] have a child prefix that more than ``room`` rows have."""
    _, inverse, counts = np.unique(child, return_inverse=True, return_counts=True)
    return counts[inverse] > room


def _rows_by_group(group: np.ndarray, wanted: np.ndarray) -> list[np.ndarray]:
    """The rows of each wanted group, ascending."""
    rows = np.flatnonzero(np.isin(group, wanted))
    rows = rows[np.argsort(group[rows], kind="stable")]
    return np.split(rows, np.flatnonzero(np.diff(group[rows])) + 1) if len(rows) else []


def squared_distances(vectors: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """float64 [n, k]: of each of ``vectors`` [n, dim] to each row of ``codebook`` [k, dim]; see :mod:`.exact`."""
    rows, columns = exact.rounded_rows(vectors), exact.rounded_columns(codebook.T)
    cost = (rows * rows).sum(axis=1)[:, None] - 2 * (rows @ columns) + (columns * columns).sum(axis=0)
    return np.maximum(cost, 0)


def fill(cost: np.ndarray, wish: np.ndarray, free: np.ndarray) -> np.ndarray:
    """A code for each row of ``cost`` [m, k], int64 [m], such that code j is used at most ``free[j]`` times.

    In rounds: each row asks for the nearest code with room (first for its ``wish``), and each code takes the nearest
    rows that it has room for. A round places all rows that ask or fills a code, so there are at most k + 1 rounds.
    """
    free, chosen = free.copy(), np.full(len(cost), -1)
    waiting, asked = np.arange(len(cost)), wish
    while len(waiting):
        order = np.lexsort((cost[waiting, asked], asked))
        taken = rank_in_group(asked[order]) < free[asked[order]]
        chosen[waiting[order[taken]]] = asked[order[taken]]
        free -= np.bincount(asked[order[taken]], minlength=len(free))
        waiting = np.sort(waiting[order[~taken]])
        asked = np.where(free > 0, cost[waiting], np.inf).argmin(axis=1)
    return chosen


def _match(cost: np.ndarray, open_codes: np.ndarray, sinkhorn: bool) -> np.ndarray:
    """One open code for each row of ``cost`` [m, k]: at least total cost, or by the rounded Sinkhorn plan."""
    columns = np.flatnonzero(open_codes)
    cost = cost[:, columns]
    if sinkhorn:
        cost = _balanced(cost)
    return columns[linear_sum_assignment(cost)[1]]


def _balanced(cost: np.ndarray) -> np.ndarray:
    """-log of the entropic plan [m, k] with equal mass on every code (a factor on a column does not change it).

    Distances are scaled to [-1, 1] as LC-Rec does, so that exp(distance / eps) does not overflow in float64.
    """
    middle, half = (cost.max() + cost.min()) / 2, (cost.max() - cost.min()) / 2
    plan = np.exp((middle - cost) / max(half, 1e-12) / EPSILON)
    for _ in range(ITERATIONS):
        plan /= plan.sum(axis=0)
        plan /= plan.sum(axis=1, keepdims=True)
    return np.round(-np.log(np.maximum(plan, 1e-300)), 6)  # exp and log differ in last bits between machines
