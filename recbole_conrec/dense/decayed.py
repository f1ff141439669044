"""A history as one sparse row: the later an event, the more it weighs."""

import numpy as np
from scipy import sparse

from recbole_conrec.data.events import POSITIVE, EventLog, FeedbackStream


class DecayedHistories:
    """Histories as rows of features: item j disliked is feature j, item j with other feedback n_items + j.

    Args:
        kinds: the feedback that counts. length: events kept, the latest. decay: the weight of an event against that of
            the one after it.
        columns: int64 [2 n_items], the column of each feature, -1 = left out.
    """

    def __init__(self, log: EventLog, kinds: tuple[int, ...], length: int, decay: float, columns: np.ndarray):
        self.log, self.length, self.decay, self.columns = log, length, decay, columns
        self.width = int(columns.max(initial=-1)) + 1
        self.stream = FeedbackStream(log, kinds)

    def before(self, begin: np.ndarray, end: np.ndarray) -> sparse.csr_matrix:
        """The histories begin:end, rows of the log: float32 [N, width]; an event weighs decay ** (events after it)."""
        rows, lengths = self.stream.last(begin, end, self.length)
        row, place = np.nonzero(rows >= 0)
        event = rows[row, place]
        column = self.columns[feature(self.log, event)]
        weight = self.decay ** (lengths[row] - 1 - place).astype(np.float32)
        kept = column >= 0
        shape = (len(rows), self.width)
        return sparse.csr_matrix((weight[kept], (row[kept], column[kept])), shape=shape, dtype=np.float32)


def feature(log: EventLog, rows: np.ndarray) -> np.ndarray:
    """The feature of each of these rows of the log: int64 [N]."""
    return log.item[rows] + log.n_items * (log.feedback[rows] == POSITIVE)
