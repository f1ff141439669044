"""Training events as prediction targets, for models that learn from more than next dislikes."""

import numpy as np
import torch

from recbole_conrec.data.events import EventLog, FeedbackStream, Instances


class Histories:
    """What a user did before a moment, as RecBole's sequential models take it.

    kinds: the feedback that counts, such as (NEGATIVE, POSITIVE); length: the number of events kept, the latest.
    """

    def __init__(self, log: EventLog, kinds: tuple[int, ...], length: int):
        self.log, self.length, self.stream = log, length, FeedbackStream(log, kinds)

    def before(self, begin, end, device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The histories begin:end (rows of the log, int64 [B] each).

        Returns (items [B, length], oldest first and 0-padded on the right, feedback [B, length], 0 for padding,
        lengths [B], at least 1 as in the data set), int64 on ``device``.
        """
        rows, lengths = self.stream.last(begin, end, self.length)
        shown = rows >= 0
        items, feedback = (np.where(shown, values[rows], 0) for values in (self.log.item, self.log.feedback))
        columns = (items.astype(np.int64), feedback.astype(np.int64), np.maximum(lengths, 1))
        item, kind, length = (torch.from_numpy(column).to(device) for column in columns)
        return item, kind, length


class Targets:
    """The training events of some kinds as targets: strictly before their user's validation, and each with the
    history strictly before its own time.
    """

    def __init__(self, dataset, kinds: tuple[int, ...]):
        """dataset: a NegativeFeedbackDataset. Raises ValueError if it has no such training event."""
        rows = np.flatnonzero(dataset.train_mask & np.isin(dataset.log.feedback, kinds))
        if not len(rows):
            raise ValueError(
                "the training events hold no feedback of the kind that this model learns from; see "
                "`feedback` and `split`"
            )
        self.instances = Instances.of_rows(dataset.log, rows)

    def __len__(self) -> int:
        return len(self.instances)

    def draw(self, n: int) -> Instances:
        """N of them, uniformly and with replacement, by torch's global generator (which checkpoints keep)."""
        return self.instances[torch.randint(len(self), (n,)).numpy()]
