"""What counts as an interest: a category of the data set, or a prefix of the items' semantic IDs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy import sparse

from recbole_conrec.data.dataset import NegativeFeedbackDataset
from recbole_conrec.utils.errors import UserError

Kind = Literal["category", "sid-1", "sid-2", "sid-3"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, eq=False)
class Interests:
    """The interests to which each item belongs; C interests.

    Attributes:
        name: one of ``KINDS``.
        of_item: int32 CSR [n_items, C] of ones; an item of several categories has several. Row 0 (padding) is empty.
    """

    name: str
    of_item: sparse.csr_matrix

    @classmethod
    def from_codes(cls, name: str, codes: np.ndarray, size: int) -> Interests:
        """From a table.

        Args:
            codes: int64 [n_items, M], the interests of each item, -1 where there are fewer than M.
            size: C, the number of interests.
        """
        row, column = np.nonzero(codes >= 0)
        pairs = np.unique(row * size + codes[row, column])
        ones = np.ones(len(pairs), dtype=np.int32)
        return cls(name, sparse.csr_matrix((ones, (pairs // size, pairs % size)), shape=(len(codes), size)))


def interests(name: Kind, config, dataset: NegativeFeedbackDataset) -> Interests:
    """The interests of a data set, of one kind.

    ``sid-2`` is the first two codes of the IDs by the option ``tokenizer``, made or found in the cache.

    Raises UserError for ``category`` without the option ``item_category``, or for IDs with too few levels.
    """
    if name == "category":
        codes, names = dataset.item_category()
        return Interests.from_codes(name, codes - 1, len(names) - 1)
    from recbole_conrec.tokenizer import build

    ids, level = build(config, dataset), int(name.removeprefix("sid-"))
    if level > ids.depth:
        raise UserError(f"interests: '{name}' needs IDs with at least {level} levels; these have {ids.depth}")
    prefix = np.full((ids.n_items, 1), -1, dtype=np.int64)
    _, prefix[1:, 0] = np.unique(ids.codes[1:, :level], axis=0, return_inverse=True)
    return Interests.from_codes(name, prefix, int(prefix.max()) + 1)
