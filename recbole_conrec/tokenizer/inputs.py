"""What is known of the items that get IDs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse

KINDS = {"negative": -1, "exposure": 0, "positive": 1}


@dataclass(frozen=True)
class Items:
    """Items as a tokenizer sees them. In a catalogue, row = internal item id and row 0 is the padding item.

    Attributes:
        texts: one string per item; '' where nothing is written.
        ids: the items' own ids as in the data files, for vectors that come from a file.
        interactions: training events only: kind ('negative', 'exposure', 'positive') -> CSR [n_users, n_items] of
            event counts. Empty for items outside the catalogue.
    """

    texts: list[str]
    ids: list[str] = field(default_factory=list)
    interactions: dict[str, scipy.sparse.csr_matrix] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.texts)

    def fingerprint(self) -> str:
        """sha256 hex of everything above."""
        digest = hashlib.sha256()
        for part in ("\x1e".join(self.texts), "\x1e".join(self.ids)):
            digest.update(hashlib.sha256(part.encode()).digest())
        for kind, matrix in sorted(self.interactions.items()):
            digest.update(f"{kind} {matrix.shape}".encode())
            for array in (matrix.indptr, matrix.indices, matrix.data):
                digest.update(np.ascontiguousarray(array, dtype=np.int64).tobytes())
        return digest.hexdigest()


def from_dataset(dataset, fields=None, *, texts: bool = True) -> Items:
    """The catalogue of a NegativeFeedbackDataset: texts of ``fields`` (None: its own choice) and training events.

    Without ``texts`` no item file is needed.
    """
    log, train = dataset.log, dataset.train_mask
    interactions = {}
    for kind, value in KINDS.items():
        rows = train & (log.feedback == value)
        matrix = scipy.sparse.csr_matrix(
            (np.ones(int(rows.sum()), dtype=np.int64), (log.user[rows], log.item[rows])), (log.n_users, log.n_items)
        )
        matrix.sum_duplicates()
        interactions[kind] = matrix
    ids = [str(t) for t in dataset.id2token(dataset.iid_field, np.arange(dataset.item_num))]
    words = dataset.item_text(fields) if texts else [""] * dataset.item_num
    return Items(texts=words, ids=ids, interactions=interactions)
