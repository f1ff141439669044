"""Which training rows an epoch shows, and in which order: multi-task mixtures in length-bucketed batches."""

import numpy as np
from torch.utils.data import Sampler

from recbole_conrec.utils.errors import UserError

BUCKET = 50  # batches whose rows are sorted by length together; more saves padding, fewer shuffles better


class MixtureSampler(Sampler):
    """Row numbers of one epoch. The order is a function of (seed, epoch) alone, so that a resumed run repeats it.

    Args:
        lengths: int [N], tokens per row.
        task: int [N], the task of each row.
        weights: float [n_tasks], how often an epoch shows each row of a task: 1 every row once, 0.5 a random half of
            them (another half each epoch), 2.5 every row twice and a random half a third time.
        batch_size: rows of like length that stay together (all processes and accumulation steps counted).
        seed: of the order.
    """

    def __init__(self, lengths, task, weights, batch_size: int, seed: int):
        self.lengths, self.task = np.asarray(lengths), np.asarray(task)
        self.weights, self.batch_size, self.seed = weights, batch_size, seed
        self.epoch = 0
        self.rows = [np.flatnonzero(self.task == t) for t in range(len(weights))]
        self.draws = [round(w * len(rows)) for w, rows in zip(weights, self.rows, strict=True)]
        if sum(self.draws) == 0:
            raise UserError("mixture: the weights leave no training rows; give at least one task a larger weight")

    def __len__(self) -> int:
        return sum(self.draws)

    def __iter__(self):
        rng = np.random.default_rng((self.seed, self.epoch))
        order = np.concatenate([_draw(rng, rows, n) for rows, n in zip(self.rows, self.draws, strict=True)])
        rng.shuffle(order)
        size = self.batch_size * BUCKET
        for start in range(0, len(order), size):
            block = order[start : start + size]
            order[start : start + size] = block[np.argsort(self.lengths[block], kind="stable")]
        whole = len(order) // self.batch_size * self.batch_size
        batches = order[:whole].reshape(-1, self.batch_size)
        rng.shuffle(batches)  # in place, whole batches
        return iter(order.tolist())


def _draw(rng, rows: np.ndarray, n: int) -> np.ndarray:
    """`n` of `rows`: all of them as often as they go into n, and a random part once more."""
    times, rest = divmod(n, max(len(rows), 1))
    return np.concatenate([np.tile(rows, times), rng.permutation(rows)[:rest]])
