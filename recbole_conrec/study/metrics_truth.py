"""What the study of the metrics knows: the simulator's truth, and references that see it under noise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from recbole_conrec.data.dataset import NegativeFeedbackDataset
from recbole_conrec.data.simulation.oracle import Oracle
from recbole_conrec.data.truth import Truth
from recbole_conrec.evaluation.ranking import excluded_pairs
from recbole_conrec.evaluation.topk import dense_topk
from recbole_conrec.utils.arrays import mix, uniform

SIGMAS = (1.0, 4.0, 16.0)  # of the truth under noise
BATCH = 256  # instances at a time


class TrueDislikes:
    """The oracle of a data set, for its internal ids."""

    def __init__(self, data: NegativeFeedbackDataset):
        self.oracle = Oracle.load(Path(data.dataset_path))
        self.users, self.items = (
            np.concatenate([[0], self.oracle.rows(kind, data.field2id_token[field][1:])])
            for kind, field in (("user", data.uid_field), ("item", data.iid_field))
        )

    def dislike(self, users: np.ndarray, times: np.ndarray, items: np.ndarray) -> np.ndarray:
        """P(dislike): float64 [B, L], for users [B] at times [B] (seconds) and items [B, L]; 0 for the padding item."""
        found = self.oracle.dislike_probability(self.users[users], self.items[items], times)
        return np.where(items > 0, found, 0.0)


@dataclass(frozen=True, eq=False)
class Reference:
    """A method without training: score = logit P(dislike) + sigma * logistic noise; noise alone where sigma is None.

    Attributes:
        seed: of the noise, which is a hash of it, the instance and the item.
    """

    oracle: TrueDislikes
    sigma: float | None
    seed: int

    def scores(self, part: NegativeFeedbackDataset, batch: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Scores of items [B, L] for instances [B] of a part of the data: float64 [B, L]."""
        seed = self.seed + (part.split != "test")  # validation has noise of its own
        hashes = uniform(mix(seed, batch[:, None], items))
        noise = np.log(hashes + 1e-12) - np.log1p(-hashes)  # logistic
        if self.sigma is None:
            return noise
        user, time = part.instances.user[batch], part.instances.time[batch]
        p = self.oracle.dislike(user, time, items).clip(1e-6, 1 - 1e-6)
        return np.log(p) - np.log1p(-p) + self.sigma * noise

    def answers(self, part: NegativeFeedbackDataset, truth: Truth, k: int) -> tuple[np.ndarray, ...]:
        """Its top K, int64 [N, k], and its scores of the candidates and of the pairs, float64 [N, C] and [N, 3]."""
        items = np.broadcast_to(np.arange(part.item_num), (BATCH, part.item_num))
        lists, scores, paired = [], [], []
        for batch in batches(part):
            dense = self.scores(part, batch, items[: len(batch)])
            forbidden = excluded_pairs(part[batch], part.exclusion)
            lists.append(dense_topk(torch.from_numpy(dense), k, forbidden).numpy())
            scores.append(np.take_along_axis(dense, truth.candidates[batch], axis=1))
            paired.append(np.take_along_axis(dense, truth.paired[batch], axis=1))
        return np.concatenate(lists), np.concatenate(scores), np.concatenate(paired)


def references(oracle: TrueDislikes, seed: int) -> dict[str, Reference]:
    """Name -> reference: random scores, and the truth under three strengths of noise."""
    strengths = {"random": None, **{f"truth, noise {sigma:g}": sigma for sigma in SIGMAS}}
    return {name: Reference(oracle, sigma, seed) for name, sigma in strengths.items()}


def best_quality(part: NegativeFeedbackDataset, oracle: TrueDislikes, k: int) -> float:
    """The true quality of the lists that hold the items most likely disliked."""
    total = 0.0
    for batch in batches(part):
        items = np.broadcast_to(np.arange(part.item_num), (len(batch), part.item_num))
        user, time = part.instances.user[batch], part.instances.time[batch]
        p = torch.from_numpy(oracle.dislike(user, time, items))
        best = dense_topk(p, k, excluded_pairs(part[batch], part.exclusion)).numpy()
        total += oracle.dislike(user, time, best).sum()
    return total / (len(part) * k)


def batches(part: NegativeFeedbackDataset):
    """The instances of a part of the data, BATCH at a time: int64 arrays."""
    return (np.arange(low, min(low + BATCH, len(part))) for low in range(0, len(part), BATCH))
