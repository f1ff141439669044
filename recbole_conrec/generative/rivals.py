"""Lists that a prompt names: the item that is judged, among rivals that were known before t0.

Each candidate is judged in a prompt of its own. A prompt that named all candidates would show the model what the user
met after t0 (``candidates.pool: day``), and which items the evaluation compares.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch

from recbole_conrec.data.candidates import CandidateLists, CandidateSources
from recbole_conrec.data.events import Instances
from recbole_conrec.generative.prompts import Prompts

PROMPTS = 256  # at a time
Columns: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Of N instances: where the history begins and ends, t0, the user; int64 [N] each."""


class NeutralRivals:
    """Items that users were exposed to before t0 without reacting, then popular ones (the pool ``neutral``).

    Args:
        size: rivals of each instance.
    """

    def __init__(self, sources: CandidateSources, size: int, seed: int):
        self.sources, self.size, self.seed = sources, size, seed

    def __call__(self, begin: np.ndarray, end: np.ndarray, time: np.ndarray, user: np.ndarray) -> np.ndarray:
        """int64 [N, size + 1], 0-padded at the end: one more than needed, as the item that is judged may be among them.

        The draw knows neither that item nor F.
        """
        nothing = np.zeros(len(user), dtype=np.int64)
        instances = Instances(nothing, user, nothing, time, begin, end)
        f_ptr, f_items = np.zeros(len(user) + 1, dtype=np.int64), np.zeros(0, dtype=np.int64)
        lists = CandidateLists(self.sources, instances, f_ptr, f_items, size=self.size + 2, seed=self.seed)
        return lists[:][:, : self.size + 1]


def beside(items: np.ndarray, rivals: np.ndarray, size: int) -> np.ndarray:
    """Lists of items [N] and the first others of their rivals [N, R]: int64 [N, size], the item first, 0-padded."""
    others = np.where(rivals == items[:, None], 0, rivals)
    others = np.take_along_axis(others, np.argsort(others == 0, axis=1, kind="stable"), axis=1)[:, : size - 1]
    return np.concatenate([items[:, None], others], axis=1)


def repeat(columns: Columns, many: int, part: slice = slice(None)) -> Columns:
    """Each instance of a part ``many`` times."""
    begin, end, time, user = (np.repeat(column[part], many) for column in columns)
    return begin, end, time, user


def judge(
    columns: Columns,
    items: torch.Tensor,
    rivals: np.ndarray,
    size: int,
    score: Callable[[Columns, np.ndarray], tuple[Prompts, torch.Tensor]],
) -> tuple[np.ndarray, torch.Tensor]:
    """Scores of items, each from a prompt of its own.

    Args:
        columns: of B instances. items: int64 [B, C], 0: none. rivals: int64 [B, R].
        size: of the list in a prompt.
        score: (columns, lists [N, size], the judged item first) -> (prompts, float [N]).

    Returns (bool [B], whether a prompt lost events; float [B, C], -inf for item 0).
    """
    known, many = items.cpu().numpy(), items.shape[1]
    step = max(1, PROMPTS // many)
    shortened, scores = [], []
    for low in range(0, len(known), step):
        part = slice(low, low + step)
        repeated = repeat(columns, many, part)
        lists = beside(known[part].reshape(-1), np.repeat(rivals[part], many, axis=0), size)
        prompts, found = score(repeated, lists)
        shortened.append(prompts.shortened.reshape(-1, many).any(axis=1))
        scores.append(found.reshape(-1, many))
    return np.concatenate(shortened), torch.cat(scores).masked_fill(items == 0, -torch.inf)
