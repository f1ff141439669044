"""All valid semantic IDs as tensors, so that a decoder walks them by index."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Trie:
    """Prefix tree of the IDs of a catalogue, in CSR form, one table per level.

    The states of level ``l`` are the distinct prefixes of length ``l`` in lexicographic order; level 0 is the root
    (one state), level ``depth`` the leaves (one per distinct ID). All tensors are int64 and on one device.

    Attributes:
        depth: codes in an ID.
        ptr: ``ptr[l]`` [n_states_l + 1]; the children of state s of level l are the states
            ``ptr[l][s]:ptr[l][s + 1]`` of level l + 1.
        code: ``code[l]`` [n_states_{l+1}]; the code that each state of level l + 1 adds.
        width: ``width[l]``, the most children that a state of level l has.
        leaf_ptr, leaf_items: CSR leaf -> items, ascending; one item each unless collisions are ``shared``.
        item_leaf: [n_items], -1 for an item without an ID (padding).
        leaf_codes: [n_leaves, depth].
    """

    depth: int
    ptr: list[torch.Tensor]
    code: list[torch.Tensor]
    width: list[int]
    leaf_ptr: torch.Tensor
    leaf_items: torch.Tensor
    item_leaf: torch.Tensor
    leaf_codes: torch.Tensor

    @classmethod
    def from_codes(cls, codes: ArrayLike) -> Trie:
        """The trie of ``codes`` [n_items, depth] (int64); a row with a -1 has no ID and is skipped.

        Time is that of one lexicographic sort; the peak is about 15 int64 per item at depth 3.
        """
        table = np.asarray(codes, dtype=np.int64)
        n_items, depth = table.shape
        items = np.flatnonzero((table >= 0).all(axis=1))
        columns = [table[items, level] for level in range(depth)]
        order = np.lexsort(columns[::-1])  # stable: items that share an ID stay in ascending order
        items = items[order]

        opens = np.zeros(len(items), dtype=bool)  # rows of the sorted list at which a new prefix begins
        opens[:1] = True
        firsts = np.zeros(min(len(items), 1), dtype=np.int64)  # the row at which each state of this level begins
        ptr, code = [], []
        for column in columns:
            column = column[order]
            opens[1:] |= column[1:] != column[:-1]
            children = np.flatnonzero(opens)
            bounds = np.append(firsts, len(items)) if len(firsts) else np.zeros(2, dtype=np.int64)
            ptr.append(np.searchsorted(children, bounds))
            code.append(column[children])
            firsts = children
        leaf = np.cumsum(opens) - 1
        item_leaf = np.full(n_items, -1, dtype=np.int64)
        item_leaf[items] = leaf
        return cls(
            depth=depth,
            ptr=[torch.from_numpy(p) for p in ptr],
            code=[torch.from_numpy(c) for c in code],
            width=[int(np.diff(p).max(initial=0)) for p in ptr],
            leaf_ptr=torch.from_numpy(np.append(firsts, len(items))),
            leaf_items=torch.from_numpy(items),
            item_leaf=torch.from_numpy(item_leaf),
            leaf_codes=torch.from_numpy(table[items[firsts]]),
        )

    @property
    def n_leaves(self) -> int:
        """Distinct IDs."""
        return len(self.leaf_codes)

    def children(self, level: int, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The children of ``states`` (any shape, of level ``level``; -1 is a dead beam and has none).

        Returns (codes, child_states, valid), each [*states.shape, width[level]]; where ``valid`` is False the other
        two hold some code and state of that level, safe to index with.
        """
        ptr, alive = self.ptr[level], states >= 0
        start = ptr[states.clamp(min=0)]
        count = torch.where(alive, ptr[states.clamp(min=0) + 1] - start, 0)
        offset = torch.arange(self.width[level], device=states.device)
        valid = offset < count.unsqueeze(-1)
        child = torch.where(valid, start.unsqueeze(-1) + offset, 0)
        return self.code[level][child], child, valid

    def find(self, codes: torch.Tensor) -> torch.Tensor:
        """The states of level ``length`` that prefixes ``codes`` [..., length <= depth] reach; -1 if there is none.

        With whole IDs the states are leaves. A binary search among each state's children needs no table of n x codes.
        """
        codes = torch.as_tensor(codes, device=self.leaf_codes.device)
        state = torch.zeros(codes.shape[:-1], dtype=torch.int64, device=codes.device)
        for level in range(codes.shape[-1]):
            wanted, table = codes[..., level], self.code[level]
            if not len(table):
                return torch.full_like(state, -1)
            low = self.ptr[level][state.clamp(min=0)]
            end = self.ptr[level][state.clamp(min=0) + 1]
            high = end
            for _ in range(self.width[level].bit_length()):
                middle = (low + high) // 2
                right = (low < high) & (table[middle.clamp(max=len(table) - 1)] < wanted)
                low, high = torch.where(right, middle + 1, low), torch.where(right, high, middle)
            found = (state >= 0) & (low < end) & (table[low.clamp(max=len(table) - 1)] == wanted)
            state = torch.where(found, low, -1)
        return state

    def to(self, device: torch.device | str) -> Trie:
        """The same trie with its tables on ``device``."""

        def move(value):
            if isinstance(value, list):
                return [move(v) for v in value]
            return value.to(device) if isinstance(value, torch.Tensor) else value

        return Trie(**{f.name: move(getattr(self, f.name)) for f in fields(self)})
