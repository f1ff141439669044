"""What every tokenizer is given and returns, and how many codes a catalogue needs."""

import math
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse

from recbole_conrec.tokenizer.inputs import Kind
from recbole_conrec.utils.errors import UserError


@dataclass(frozen=True)
class FitInput:
    """What a tokenizer is fitted to. Rows are items, without the padding item.

    Attributes:
        vectors: X, float32 [n, dim].
        content: bool [n], items of which something is known; the others (all zero) should not shape codebooks.
        sizes: codes per level.
        seed: fixes the result.
        interactions: training events, kind -> CSR [n_users, n].
    """

    vectors: np.ndarray
    content: np.ndarray
    sizes: list[int]
    seed: int
    interactions: dict[Kind, scipy.sparse.csr_matrix] = field(default_factory=dict)

    def known(self) -> np.ndarray:
        """The vectors of items with content. Raises UserError if a level has more codes than there are."""
        vectors = self.vectors[self.content]
        if len(vectors) < max(self.sizes):
            raise UserError(
                f"tokenizer.sizes: {max(self.sizes)} codes for {len(vectors)} items with content; "
                f"use at most {len(vectors)}"
            )
        return vectors


@dataclass(frozen=True)
class Fit:
    """A fitted tokenizer.

    Attributes:
        codebooks: float32 [size, dim] per level.
        layers: the network from X to the codebooks' space, [(weight, bias), ...]; empty for X itself.
        codes: int64 [n, depth]; None if they are the nearest codes, level by level.
        latent: the codebooks' space is not that of X but a latent one, so X^ is compared with the layers' output.
        unique: every item already has an ID of its own; the last level counts items and its vectors are zero.
        info: figures worth keeping, plain JSON.
    """

    codebooks: list[np.ndarray]
    layers: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    codes: np.ndarray | None = None
    latent: bool = False
    unique: bool = False
    info: dict = field(default_factory=dict)


def default_sizes(n_items: int, depth: int) -> list[int]:
    """Codes per level for ``n_items``: the power of two at or above sqrt(n_items), at most 256; more only if there
    would be fewer than 4 IDs per item.

    With 10^3..10^6 items there are then tens to thousands of items per code, so that all codes are used and a model
    sees each often enough to learn it (docs/tokenizer.md).
    """
    size = min(256, 2 ** math.ceil(math.log2(max(n_items, 2)) / 2))
    while size**depth < 4 * n_items:
        size *= 2
    return [min(size, max(n_items, 1))] * depth
