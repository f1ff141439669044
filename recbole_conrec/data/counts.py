"""How often each item was disliked in training: popularity among negatives, the long tail, the fallback of Swing."""

from typing import Protocol

import numpy as np

from recbole_conrec.data.events import NEGATIVE, EventLog


class TrainingEvents(Protocol):
    """What is counted; :class:`~recbole_conrec.data.dataset.NegativeFeedbackDataset` has both."""

    log: EventLog
    train_mask: np.ndarray
    """bool [E], the training events."""


def training_dislikes(dataset: TrainingEvents) -> np.ndarray:
    """Negative training events of each item: int64 [n_items]."""
    log = dataset.log
    return np.bincount(log.item[dataset.train_mask & (log.feedback == NEGATIVE)], minlength=log.n_items)
