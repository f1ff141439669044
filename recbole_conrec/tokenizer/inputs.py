"""What is known of the items that get IDs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
import scipy.sparse
from pydantic import AfterValidator

from recbole_conrec.options.schema import Several

Kind = Literal["negative", "exposure", "positive"]
KINDS: dict[Kind, int] = {"negative": -1, "exposure": 0, "positive": 1}  # as in the log's column `feedback`


def _not_empty(feedback: Kind | tuple[Kind, ...]) -> Kind | tuple[Kind, ...]:
    if not feedback:
        raise ValueError(f"empty; name at least one of {', '.join(KINDS)}")
    return feedback


Feedback = Annotated[Kind | Several[Kind], AfterValidator(_not_empty)]
"""An option that takes one kind of feedback or a list of kinds."""


def kinds_of(feedback: Kind | tuple[Kind, ...]) -> tuple[Kind, ...]:
    """The kinds that an option of type ``Feedback`` names."""
    return (feedback,) if isinstance(feedback, str) else feedback


@dataclass(frozen=True)
class Items:
    """Items as a tokenizer sees them. In a catalogue, row = internal item id and row 0 is the padding item.

    Attributes:
        texts: one string per item; '' for an item without text.
        ids: the items' own ids as in the data files; needed for vectors that come from a file.
        interactions: training events only: kind ('negative', 'exposure', 'positive') -> CSR [n_users, n_items] of
            event counts. Empty for items outside the catalogue.
        sequences: (user, item) of the training events, int64 [E] each, of one user after the other, in time order.
            None for items outside the catalogue.
    """

    texts: list[str]
    ids: list[str] = field(default_factory=list)
    interactions: dict[Kind, scipy.sparse.csr_matrix] = field(default_factory=dict)
    sequences: tuple[np.ndarray, np.ndarray] | None = None

    def __len__(self) -> int:
        """The number of items, padding included."""
        return len(self.texts)

    def fingerprint(self) -> str:
        """sha256 (hex) of texts, ids, interactions and sequences."""
        digest = hashlib.sha256()
        for part in ("\x1e".join(self.texts), "\x1e".join(self.ids)):
            digest.update(hashlib.sha256(part.encode()).digest())
        for kind, matrix in sorted(self.interactions.items()):
            digest.update(f"{kind} {matrix.shape}".encode())
            for array in (matrix.indptr, matrix.indices, matrix.data):
                digest.update(np.ascontiguousarray(array, dtype=np.int64).tobytes())
        for array in self.sequences or ():
            digest.update(np.ascontiguousarray(array, dtype=np.int64).tobytes())
        return digest.hexdigest()


def from_dataset(dataset, fields: Sequence[str] | None = None, *, texts: bool = True) -> Items:
    """The catalogue of a NegativeFeedbackDataset: the items' texts and the training events.

    Args:
        dataset: the data set, after its split.
        fields: item fields whose text is used; None for the data set's option `item_text`.
        texts: False leaves the texts empty, so that no item file is needed.
    """
    log, train = dataset.log, dataset.train_mask
    interactions: dict[Kind, scipy.sparse.csr_matrix] = {}
    for kind, value in KINDS.items():
        rows = train & (log.feedback == value)
        matrix = scipy.sparse.csr_matrix(
            (np.ones(int(rows.sum()), dtype=np.int64), (log.user[rows], log.item[rows])), (log.n_users, log.n_items)
        )
        matrix.sum_duplicates()
        interactions[kind] = matrix
    ids = [str(t) for t in dataset.id2token(dataset.iid_field, np.arange(dataset.item_num))]
    words = dataset.item_text(fields) if texts else [""] * dataset.item_num
    return Items(texts=words, ids=ids, interactions=interactions, sequences=(log.user[train], log.item[train]))
