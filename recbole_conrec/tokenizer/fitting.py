"""What every tokenizer returns, and how many codes a catalogue needs."""

import math
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Fit:
    """A fitted tokenizer.

    Attributes:
        codebooks: float32 [size, dim] per level.
        layers: what takes X to the codebooks' space, [(weight, bias), ...]; empty for X itself.
        codes: int64 [n, depth] of the fitted vectors, where they are not simply the nearest ones.
        unique: the codes are already one per item.
        info: figures worth keeping, plain JSON.
    """

    codebooks: list[np.ndarray]
    layers: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    codes: np.ndarray | None = None
    unique: bool = False
    info: dict = field(default_factory=dict)


def default_sizes(n_items: int, depth: int) -> list[int]:
    """Codes per level for ``n_items``: the power of two at or above sqrt(N), at most 256; at least enough IDs.

    At 10^3..10^6 items every code then stands for tens to thousands of items, so all stay in use and a model sees each
    often enough to learn it (docs/tokenizer.md).
    """
    size = min(256, 2 ** math.ceil(math.log2(max(n_items, 2)) / 2))
    while size**depth < 4 * n_items:
        size *= 2
    return [min(size, max(n_items, 1))] * depth
