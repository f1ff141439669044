"""The ground truth of each instance: the next item, F, low activity, the long tail and the candidates."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recbole_conrec.data.candidates import CandidateLists
from recbole_conrec.data.events import EventLog, Instances, RowStream, Window
from recbole_conrec.data.further import FurtherTruth
from recbole_conrec.data.splits import Cuts
from recbole_conrec.utils.arrays import unique_rows


@dataclass(frozen=True, eq=False)
class Truth:
    """Ground truth of N instances, in their order.

    Attributes:
        next: int64 [N], the disliked item itself.
        f_ptr, f_items: CSR of F, int64 [N + 1] and [f_ptr[-1]]; each row holds sorted distinct items, `next` included.
        low_activity: bool [N], fewer than `low_activity` negative events before t0.
        long_tail: bool [n_items], fewer than `long_tail` negative events in training (False for the padding item).
        candidates: int64 [N, candidates], the true item among distinct others, 0 where there is none: an array, or
            CandidateLists, which are drawn when they are read.
        further: what only some metrics compare with; None where nobody knows.
    """

    next: np.ndarray
    f_ptr: np.ndarray
    f_items: np.ndarray
    low_activity: np.ndarray
    long_tail: np.ndarray
    candidates: np.ndarray | CandidateLists
    further: FurtherTruth | None = None

    @cached_property
    def answer(self) -> np.ndarray:
        """int64 [N]: the column of the true item among the candidates."""
        return np.argmax(self.candidates[:] == self.next[:, None], axis=1)

    @cached_property
    def paired(self) -> np.ndarray:
        """int64 [N, 3]: the item itself and ``further.pairs``."""
        if self.further is None:
            return np.pad(self.next[:, None], ((0, 0), (0, 2)))
        return np.column_stack([self.next, self.further.pairs])


def future_items(
    log: EventLog, cuts: Cuts, window: Window, instances: Instances, stream: RowStream
) -> tuple[np.ndarray, np.ndarray]:
    """The distinct items of a stream in the window that opens at each t0, sorted: CSR (ptr int64 [N + 1], items int64).

    A window never reaches into the next part: that of a training instance ends before its user's validation begins,
    that of a validation instance before the test (ours: neither training nor model selection may see later labels).
    """
    end = window.end(log, instances.user, instances.time, instances.end)
    part_end = log.first_at_or_after(instances.user, cuts.part_end(instances.user, instances.time))
    ptr, rows = stream.csr(instances.end, np.minimum(end, part_end))
    return unique_rows(ptr, log.item[rows], log.n_items)


def is_low_activity(log: EventLog, instances: Instances, fewer_than: int) -> np.ndarray:
    """The instances whose user has fewer than this number of negative events before t0: bool [N]."""
    return log.negatives.count(instances.begin, instances.end) < fewer_than


def long_tail_items(dislikes: np.ndarray, fewer_than: int) -> np.ndarray:
    """The items with fewer than this number of dislikes, without the padding item: bool [n_items].

    Args:
        dislikes: int64 [n_items], see counts.training_dislikes.
    """
    tail = dislikes < fewer_than
    tail[0] = False
    return tail
