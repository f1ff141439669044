"""What a list of recommendations leaves out: the single definition, used by every method and by the evaluation.

It is a rule of the data set (the option ``exclude``; the paper does not say). What the user disliked before t0 never
comes again. Where nobody gives feedback twice on an item, what they liked or were shown before cannot be disliked
later either, and every place that it takes in a list is lost: ``inspect`` counts how often the data contradict a rule.
"""

from typing import Literal

import numpy as np

from recbole_conrec.data.events import EXPOSURE, NEGATIVE, POSITIVE, EventLog, FeedbackStream

ExclusionRule = Literal["disliked", "reacted", "exposed"]
LEFT_OUT: dict[ExclusionRule, tuple[int, ...]] = {
    "disliked": (NEGATIVE,),
    "reacted": (NEGATIVE, POSITIVE),
    "exposed": (NEGATIVE, EXPOSURE, POSITIVE),
}
"""Rule -> the kinds of earlier feedback that take an item out of a user's lists; each rule holds the one before it."""
CONTRADICTED = 0.001  # share of dislikes that a rule may rule out and still be recommended


def contradicted(log: EventLog) -> dict[ExclusionRule, float]:
    """Rule -> the share of all negative events that are on an item which the rule would have left out of every list:
    one with such feedback of the same user at an earlier time.
    """
    key = log.user * log.n_items + log.item
    rows = np.flatnonzero(log.feedback == NEGATIVE)
    shares: dict[ExclusionRule, float] = {}
    for rule, kinds in LEFT_OUT.items():
        earlier = np.flatnonzero(np.isin(log.feedback, kinds))  # by user and time: the first of a pair is its earliest
        pairs, first = np.unique(key[earlier], return_index=True)
        at = np.searchsorted(pairs, key[rows])  # every negative event is itself among them
        shares[rule] = float((log.time[earlier[first[at]]] < log.time[rows]).mean())
    return shares


def recommended(shares: dict[ExclusionRule, float]) -> ExclusionRule:
    """The strictest rule that at most CONTRADICTED of the negative events contradict, by :func:`contradicted`."""
    return max(
        (rule for rule, share in shares.items() if share <= CONTRADICTED), key=list(LEFT_OUT).index, default="disliked"
    )


class Exclusion:
    """The items that the lists of one data set leave out.

    Args:
        log: all events.
        rule: a key of LEFT_OUT.
    """

    def __init__(self, log: EventLog, rule: ExclusionRule = "disliked"):
        self.log, self.rule = log, rule
        self.stream = log.negatives if rule == "disliked" else FeedbackStream(log, LEFT_OUT[rule])

    def pairs(self, begin: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The items to leave out of the lists of N instances.

        Args:
            begin, end: int64 [N], the history of each instance, as in ``Instances``: the rows begin:end of the log.

        Returns:
            (instances int64 [M], items int64 [M]): the pairs to leave out, ordered by instance, then by time; an item
            with two such events comes twice.
        """
        ptr, rows = self.stream.csr(begin, end)
        return np.repeat(np.arange(len(begin)), np.diff(ptr)), self.log.item[rows]

    def padded(self, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
        """The items of :meth:`pairs` as int64 [N, M], padded with 0 (M at least 1)."""
        owner, items = self.pairs(begin, end)
        counts = np.bincount(owner, minlength=len(begin))
        out = np.zeros((len(begin), max(int(counts.max(initial=1)), 1)), dtype=np.int64)
        out[np.arange(out.shape[1]) < counts[:, None]] = items
        return out
