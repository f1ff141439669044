"""From what a model predicts, batch by batch, to what RecBole's Evaluator reads."""

from __future__ import annotations

import numpy as np
import torch
from recbole.evaluator import Collector
from recbole.evaluator.collector import DataStruct

from recbole_conrec.evaluation import metrics
from recbole_conrec.utils.errors import UserError

# Needs of stock metrics that only a [N, n_items] score matrix can meet; generative models never build one.
_DENSE_ONLY = {"rec.meanrank", "rec.score", "data.label"}


class NegativeFeedbackCollector(Collector):
    """Collects top-K items and candidate scores of instances in any order, then joins them with their truth.

    ``add`` once per batch, then ``finish`` once: it returns the DataStruct of one evaluation and forgets the batches,
    so that evaluations can follow each other. The struct holds

    - ``nf.outcomes``: dict of float64 [N], the value of every metric of ours for every instance (see :func:`outcomes`);
    - ``rec.items`` int64 [N, K] and ``rec.topk`` int32 [N, K + 1], for RecBole's own Recall, MRR, NDCG ...: the hits of
      ``next`` in each place and, last, the number of relevant items, which is 1;
    - ``data.*``: what RecBole's ``data_collect`` counts in the training data.

    Attributes:
        outcomes: ``nf.outcomes`` of the last evaluation, in the order of instance ids.

    Raises UserError for a metric in the config that needs the scores of all items.
    """

    def __init__(self, config):
        super().__init__(config)
        for need in _DENSE_ONLY:
            if self.register.need(need):
                raise UserError(
                    f"metrics: one of {', '.join(config['metrics'])} needs the scores of all items for "
                    "every instance (RecBole's GAUC and value metrics do); use metrics of a top-K list"
                )
        self.outcomes: dict[str, np.ndarray] = {}
        self._ids: list[np.ndarray] = []
        self._items: list[np.ndarray] = []
        self._scores: list[np.ndarray] = []

    def add(self, instance_id: torch.Tensor, items: torch.Tensor | None, scores: torch.Tensor | None) -> None:
        """One batch.

        Args:
            instance_id: int64 [B], positions in the truth that ``finish`` will get.
            items: int64 [B, K], K = max(config['topk']), best first, 0 = a missing place; None for a model that
                only scores candidates.
            scores: float [B, C] of the candidates; None for a model that only recommends.
        """
        self._ids.append(_numpy(instance_id))
        if items is not None:
            if items.shape != (len(instance_id), max(self.topk)):
                raise ValueError(
                    f"expected items of shape {(len(instance_id), max(self.topk))}, found {tuple(items.shape)}"
                )
            self._items.append(_numpy(items))
        if scores is not None:
            self._scores.append(_numpy(scores.float()))

    def finish(self, truth) -> DataStruct:
        """Join everything added since the last call with its :class:`~recbole_conrec.data.truth.Truth`.

        Raises ValueError unless each of the truth's instances was added exactly once.
        """
        ids, items, scores = (np.concatenate(p) if p else None for p in (self._ids, self._items, self._scores))
        self._ids, self._items, self._scores = [], [], []
        order = _check_ids(np.zeros(0, dtype=np.int64) if ids is None else ids, len(truth.next))
        items, scores = (None if part is None else part[order] for part in (items, scores))
        self.outcomes = outcomes(truth, items, scores, self.topk)

        struct = DataStruct()
        for key in ("data.num_items", "data.num_users", "data.count_items", "data.count_users"):
            if key in self.data_struct:
                struct.set(key, self.data_struct.get(key))
        if items is not None:
            hits = (items == truth.next[:, None]) & (items > 0)
            struct.set("rec.items", torch.from_numpy(items))
            struct.set("rec.topk", torch.from_numpy(np.pad(hits, ((0, 0), (0, 1)), constant_values=1).astype(np.int32)))
        struct.set("nf.outcomes", self.outcomes)
        return struct


def outcomes(truth, items: np.ndarray | None, scores: np.ndarray | None, topk) -> dict[str, np.ndarray]:
    """Every metric of ours for every instance.

    Args:
        truth: the Truth of the N instances.
        items: int64 [N, max(topk)] or None; the top K of each smaller K is its head.
        scores: float [N, C] of ``truth.candidates`` or None; a padding candidate (item 0) never wins, and where all
            the others are padding the instance does not count.
        topk: the values of K.

    Returns:
        dict: float64 [N] each under 'HR@K', 'FHR@K', 'FRecall@K', 'LUF@K', 'LIF@K' for every K, and 'CandAcc'. NaN
        where an instance does not count, and everywhere if the model gave no items or no scores.
    """
    nothing = np.full(len(truth.next), np.nan)
    values = {}
    for k in topk:
        head = None if items is None else items[:, :k]
        for name, metric in RANKING.items():
            values[f"{name}@{k}"] = nothing if head is None else metric(head, truth)
    values["CandAcc"] = nothing
    if scores is not None:
        real = truth.candidates[:] > 0
        correct = metrics.candidate_accuracy(np.where(real, scores, -np.inf), truth.answer)
        values["CandAcc"] = np.where(real.sum(axis=1) > 1, correct, np.nan)  # without a rival there is no choice
    return values


RANKING = {
    "HR": lambda topk, truth: metrics.hit(topk, truth.next),
    "FHR": lambda topk, truth: metrics.future_hit(topk, truth.f_ptr, truth.f_items),
    "FRecall": lambda topk, truth: metrics.future_recall(topk, truth.f_ptr, truth.f_items),
    "LUF": lambda topk, truth: metrics.low_activity_hit(topk, truth.f_ptr, truth.f_items, truth.low_activity),
    "LIF": lambda topk, truth: metrics.long_tail_hit(topk, truth.f_ptr, truth.f_items, truth.long_tail),
}


def _check_ids(ids: np.ndarray, n: int) -> np.ndarray:
    """The order that sorts the ids, which must be 0..n-1, each once."""
    if len(ids) and (ids.min() < 0 or ids.max() >= n):
        raise ValueError(f"instance {ids.min() if ids.min() < 0 else ids.max()} is none of the {n} evaluated ones")
    times = np.bincount(ids, minlength=n)
    if (times != 1).any():
        first = int(np.flatnonzero(times != 1)[0])
        raise ValueError(
            f"each of {n} instances is evaluated exactly once, but {int((times == 0).sum())} are missing "
            f"and {int((times > 1).sum())} came more than once (instance {first}: {times[first]} times)"
        )
    return np.argsort(ids)


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
