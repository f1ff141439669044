"""IDs that must not come out, and the prefixes that have nothing else below them."""

import torch


class Forbidden:
    """Which states of the trie lead to forbidden leaves only.

    Leaves are in lexicographic order, so the leaves below a state are a range, and two look-ups in a sorted list of
    forbidden leaves give how many of them are in it.

    Args:
        trie: `Trie`.
        forbidden: int64 [B, M], leaves in any order; -1 is padding.
    """

    def __init__(self, trie, forbidden: torch.Tensor):
        # below[l]: first leaf below each state of level l, and the number of leaves at the end
        self.below = [torch.arange(trie.n_leaves + 1, device=forbidden.device)]
        for ptr in reversed(trie.ptr):
            self.below.insert(0, self.below[0][ptr])
        listed = forbidden.masked_fill(forbidden < 0, trie.n_leaves).sort(1).values
        repeated = torch.zeros_like(listed, dtype=torch.bool)
        repeated[:, 1:] = listed[:, 1:] == listed[:, :-1]
        self.listed = listed.masked_fill(repeated, trie.n_leaves).sort(1).values.contiguous()

    def covers(self, level: int, states: torch.Tensor) -> torch.Tensor:
        """True [B, n] where every leaf below these states [B, n] of `level` is forbidden."""
        first, end = self.below[level][states], self.below[level][states + 1]
        inside = torch.searchsorted(self.listed, end) - torch.searchsorted(self.listed, first)
        return inside == end - first

    def bonus(self, level: int, states: torch.Tensor) -> torch.Tensor:
        """-inf [B, n] where these states [B, n] of `level` are covered, else 0: see `prior.Prior`."""
        return torch.zeros(states.shape, device=states.device).masked_fill(self.covers(level, states), -torch.inf)
