"""Which training examples an epoch shows, and in which order: multi-task mixtures in length-bucketed batches."""

from collections.abc import Iterator, Sequence

import numpy as np

from recbole_conrec.llm.training import EpochSampler
from recbole_conrec.utils.errors import UserError

BUCKET = 50  # batches whose examples are sorted by length together: more save padding, fewer shuffle better


class MixtureSampler(EpochSampler):
    """Numbers of the examples of one epoch.

    Args:
        lengths: int [N], tokens per example.
        task: int [N], the task of each example.
        weights: float [n_tasks], how often an epoch shows each example of a task: 1 every example once, 0.5 a random
            half of them (another half each epoch), 2.5 every example twice and a random half a third time.
        batch_size: examples of like length that stay together (all processes and accumulation steps counted).
        seed: of the order.

    Raises UserError if the weights leave no examples.
    """

    def __init__(self, lengths: Sequence[int], task: np.ndarray, weights: Sequence[float], batch_size: int, seed: int):
        self.lengths = np.asarray(lengths)
        self.batch_size, self.seed = batch_size, seed
        self.examples = [np.flatnonzero(task == t) for t in range(len(weights))]  # of each task
        self.draws = [round(w * len(mine)) for w, mine in zip(weights, self.examples, strict=True)]
        if sum(self.draws) == 0:
            raise UserError("mixture: the weights leave no training examples; give at least one task a larger weight")

    def __len__(self) -> int:
        return sum(self.draws)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng((self.seed, self.epoch))
        order = np.concatenate([_draw(rng, mine, n) for mine, n in zip(self.examples, self.draws, strict=True)])
        rng.shuffle(order)
        size = self.batch_size * BUCKET
        for start in range(0, len(order), size):
            block = order[start : start + size]
            order[start : start + size] = block[np.argsort(self.lengths[block], kind="stable")]
        whole = len(order) // self.batch_size * self.batch_size
        batches = order[:whole].reshape(-1, self.batch_size)
        rng.shuffle(batches)  # in place, whole batches
        return iter(order.tolist())


def _draw(rng: np.random.Generator, examples: np.ndarray, n: int) -> np.ndarray:
    """`n` of `examples`: all of them as often as they fit into n, and a random part once more."""
    times, remaining = divmod(n, max(len(examples), 1))
    return np.concatenate([np.tile(examples, times), rng.permutation(examples)[:remaining]])
