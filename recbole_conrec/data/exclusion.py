"""What a list of recommendations leaves out: the single definition, used by every method and by the evaluation.

An item is left out of a user's list if the user disliked it before t0. Nothing else is excluded: items that the user
liked or was only shown can still be disliked later.
"""

import numpy as np

from recbole_conrec.data.events import EventLog


def excluded(log: EventLog, begin: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The items to leave out of the lists of N instances.

    Args:
        begin, end: int64 [N], the history of each instance, as in ``Instances``: the rows begin:end of the log.

    Returns:
        (instances int64 [M], items int64 [M]): the pairs to leave out, ordered by instance, then by time; an item that
        the user disliked twice comes twice.
    """
    ptr, rows = log.negatives.csr(begin, end)
    return np.repeat(np.arange(len(begin)), np.diff(ptr)), log.item[rows]
