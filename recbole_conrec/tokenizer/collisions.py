"""What to do about items that quantise to the same ID.

``nearest_free``  move items to unused IDs at least cost, ||x - x^||^2 (exact within a prefix);
``sinkhorn``      the same, but by an entropic plan that balances the last level (LC-Rec: eps 0.003, 50 iterations);
``extra_code``    one more level that counts the items of an ID (TIGER);
``shared``        keep them; decoding expands an ID to its items.
The first three give every item an ID of its own.
"""

import math

import numpy as np
from scipy.optimize import linear_sum_assignment
from tqdm import tqdm

from recbole_conrec.tokenizer.quantise import encode
from recbole_conrec.utils.errors import UserError

STRATEGIES = ("nearest_free", "sinkhorn", "extra_code", "shared")
EPSILON, ITERATIONS = 0.003, 50  # LC-Rec's Sinkhorn


def resolve(strategy: str, vectors: np.ndarray, codes: np.ndarray, codebooks: list[np.ndarray]):
    """IDs after collisions are dealt with.

    Args:
        vectors: float32 [n, dim], in the codebooks' space.
        codes: int64 [n, depth], as quantised.
        codebooks: one [size, dim] per level.

    Returns (codes, codebooks): the same depth, or one level more for ``extra_code`` (its vectors are zero).
    Raises UserError where the codes are too few for the items.
    """
    if strategy == "shared":
        return codes, codebooks
    if strategy == "extra_code":
        rank = rank_within(group_rows(codes))
        extra = np.zeros((int(rank.max(initial=0)) + 1, codebooks[0].shape[1]), dtype=np.float32)
        return np.column_stack([codes, rank]), [*codebooks, extra]
    fixed = np.zeros(len(codes), dtype=bool)
    return place(vectors, codes, codebooks, fixed, sinkhorn=strategy == "sinkhorn"), codebooks


def place(vectors, codes, codebooks, fixed, *, sinkhorn=False) -> np.ndarray:
    """Give every row an ID of its own; rows where ``fixed`` (bool [n]) is True keep theirs.

    Level by level from the root. A prefix holds as many items as it has IDs below it: where more quantise to it, the
    nearest stay and the others go to their next nearest prefix with room. On the last level each prefix's items and
    free codes are matched at least total cost. An item that has moved is quantised anew below its new prefix.
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
            cost = _squared_distances(residual[rows], codebook)
            if room > 1:
                chosen = fill(cost, codes[rows, level], free)
            else:
                chosen = _match(cost, free > 0, sinkhorn)
            moved = rows[chosen != codes[rows, level]]
            codes[rows, level] = chosen
            codes[moved, level + 1 :] = encode(residual[moved] - codebook[codes[moved, level]], codebooks[level + 1 :])
        residual -= codebook[codes[:, level]]
        group = np.unique(group * sizes[level] + codes[:, level], return_inverse=True)[1]
    return codes


def group_rows(codes: np.ndarray) -> np.ndarray:
    """The number of each row's ID among the distinct IDs, int64 [n]; any depth and sizes."""
    group = np.zeros(len(codes), dtype=np.int64)
    for column in codes.T:
        group = np.unique(group * (int(column.max(initial=0)) + 1) + column, return_inverse=True)[1]
    return group


def rank_within(group: np.ndarray) -> np.ndarray:
    """0, 1, 2, ... among the rows of equal ``group``, in the order of the rows."""
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(group) else np.zeros(0, dtype=np.int64)
    rank = np.empty(len(group), dtype=np.int64)
    rank[order] = np.arange(len(group)) - np.repeat(starts, np.diff(np.append(starts, len(group))))
    return rank


def _overflowing(child: np.ndarray, room: int) -> np.ndarray:
    """bool [n]: rows whose child prefix holds more than ``room`` rows."""
    _, inverse, counts = np.unique(child, return_inverse=True, return_counts=True)
    return counts[inverse] > room


def _rows_by_group(group: np.ndarray, wanted: np.ndarray) -> list[np.ndarray]:
    rows = np.flatnonzero(np.isin(group, wanted))
    rows = rows[np.argsort(group[rows], kind="stable")]
    return np.split(rows, np.flatnonzero(np.diff(group[rows])) + 1) if len(rows) else []


def _squared_distances(vectors: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    cost = (vectors**2).sum(axis=1)[:, None] - 2 * vectors @ codebook.T + (codebook**2).sum(axis=1)
    return np.maximum(cost, 0).astype(np.float64)


def fill(cost: np.ndarray, wish: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Codes of the rows of ``cost`` [m, k] such that code j is used at most ``free[j]`` times.

    In rounds: each row asks for the nearest code with room (first its ``wish``), and each code takes the nearest rows
    that it has room for. A round places all that ask or closes a code, so there are at most k + 1.
    """
    free, chosen = free.copy(), np.full(len(cost), -1)
    waiting, asked = np.arange(len(cost)), wish
    while len(waiting):
        order = np.lexsort((cost[waiting, asked], asked))
        taken = rank_within(asked[order]) < free[asked[order]]
        chosen[waiting[order[taken]]] = asked[order[taken]]
        free -= np.bincount(asked[order[taken]], minlength=len(free))
        waiting = np.sort(waiting[order[~taken]])
        asked = np.where(free > 0, cost[waiting], np.inf).argmin(axis=1)
    return chosen


def _match(cost: np.ndarray, open_codes: np.ndarray, sinkhorn: bool) -> np.ndarray:
    """One open code for each row of ``cost`` [m, k]: at least total cost, or by the Sinkhorn plan, rounded."""
    columns = np.flatnonzero(open_codes)
    cost = cost[:, columns]
    if sinkhorn:
        cost = _balanced(cost)
    return columns[linear_sum_assignment(cost)[1]]


def _balanced(cost: np.ndarray) -> np.ndarray:
    """-log of the entropic plan with equal mass on every code (a factor on the columns is of no consequence to it).

    Distances are scaled to [-1, 1] as LC-Rec does, so float64 holds exp(distance / eps) without overflow.
    """
    middle, half = (cost.max() + cost.min()) / 2, (cost.max() - cost.min()) / 2
    plan = np.exp((middle - cost) / max(half, 1e-12) / EPSILON)
    for _ in range(ITERATIONS):
        plan /= plan.sum(axis=0)
        plan /= plan.sum(axis=1, keepdims=True)
    return -np.log(np.maximum(plan, 1e-300))
