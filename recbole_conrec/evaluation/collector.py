"""From what a model predicts, batch by batch, to what RecBole's Evaluator reads."""

from collections.abc import Sequence

import numpy as np
import torch
from recbole.evaluator import Collector
from recbole.evaluator.collector import DataStruct

from recbole_conrec.data.truth import Truth
from recbole_conrec.evaluation.beyond import beyond
from recbole_conrec.evaluation.metrics.base import Metric, Predictions
from recbole_conrec.evaluation.registry import find_metric, measured
from recbole_conrec.options.schema import Options, Positive, Several
from recbole_conrec.utils.errors import UserError

# Needs of RecBole's metrics that only a [N, n_items] score matrix can meet; generative models never build one.
_DENSE_ONLY = ("rec.meanrank", "rec.score", "data.label")


class CollectorOptions(Options):
    """What is measured."""

    metrics: Several[str]
    """The names of the option ``metrics``."""
    tail_ratio: Positive | None = 0.1
    """What TailPercentage counts as the tail; null: RecBole's default."""


class NegativeFeedbackCollector(Collector):
    """Collects top-K items and candidate scores of instances in any order, then joins them with their truth.

    Call ``add`` once per batch, then ``finish`` once: it returns the DataStruct of one evaluation and drops the
    batches, so that evaluations can follow each other. The struct holds

    - ``nf.outcomes``: dict of float64 [N], the value of every metric for every instance (see :func:`outcomes`): all of
      our metrics, and the user's that the option ``metrics`` names;
    - ``nf.beyond``: dict of the figures of all lists together, see :mod:`.beyond`;
    - ``rec.items`` int64 [N, K] and ``rec.topk`` int32 [N, K + 1], for RecBole's own Recall, MRR, NDCG ...: the hits of
      ``next`` in each place and, last, the number of relevant items, which is 1;
    - ``data.*``: what RecBole's ``data_collect`` counts in the training data.

    Attributes:
        outcomes: ``nf.outcomes`` of the last evaluation, in the order of instance ids.
        metrics: the metrics that are computed: all; named: those that the option ``metrics`` names.
        figures: ``nf.beyond`` of the last evaluation.

    Raises UserError for a metric in the config that does not exist or needs the scores of all items.
    """

    def __init__(self, config):
        super().__init__(config)
        self.options = CollectorOptions.of(config)
        for need in _DENSE_ONLY:
            if self.register.need(need):
                raise UserError(
                    f"metrics: one of {', '.join(self.options.metrics)} needs the scores of all items for "
                    "every instance (RecBole's GAUC and value metrics do); use metrics of a top-K list"
                )
        self.metrics = measured(self.options.metrics)
        found = [find_metric(name) for name in self.options.metrics]
        self.named = [metric() for metric in found if metric is not None]
        self.outcomes: dict[str, np.ndarray] = {}
        self.figures: dict[str, float] = {}
        self._ids: list[np.ndarray] = []
        self._items: list[np.ndarray] = []
        self._scores: list[np.ndarray] = []
        self._pairs: list[np.ndarray] = []

    def add(
        self,
        instance_id: torch.Tensor,
        items: torch.Tensor | None,
        scores: torch.Tensor | None,
        pairs: torch.Tensor | None = None,
    ) -> None:
        """Add one batch.

        Args:
            instance_id: int64 [B], positions in the truth that ``finish`` will get.
            items: int64 [B, K], K = max(config['topk']), best first, 0 = a missing place; None for a model that
                only scores candidates.
            scores: float [B, C] of the candidates; None for a model that only recommends.
            pairs: float [B, 3] of the item of the instance and of the truth's ``further.pairs``; None likewise, or
                where no metric needs it.

        Raises ValueError for items of another shape.
        """
        self._ids.append(_numpy(instance_id))
        if items is not None:
            expected = (len(instance_id), max(self.topk))
            if items.shape != expected:
                raise ValueError(f"expected items of shape {expected}, found {tuple(items.shape)}")
            self._items.append(_numpy(items))
        if scores is not None:
            self._scores.append(_numpy(scores.float()))
        if pairs is not None:
            self._pairs.append(_numpy(pairs.float()))

    def finish(
        self, truth: Truth, metrics: Sequence[Metric] | None = None, popularity: np.ndarray | None = None
    ) -> DataStruct:
        """Join everything added since the last call with its truth.

        Args:
            metrics: those to compute; default: all.
            popularity: int64 [n_items], training dislikes, for the figures of :mod:`.beyond`; None: no such figures.

        Raises ValueError unless each of the truth's instances was added exactly once.
        """
        added = self._ids, self._items, self._scores, self._pairs
        ids, items, scores, pairs = (np.concatenate(p) if p else None for p in added)
        self._ids, self._items, self._scores, self._pairs = [], [], [], []
        order = _check_ids(np.zeros(0, dtype=np.int64) if ids is None else ids, len(truth.next))
        items, scores, pairs = (None if part is None else part[order] for part in (items, scores, pairs))
        metrics = self.metrics if metrics is None else metrics
        self.outcomes = outcomes(truth, items, scores, self.topk, metrics, pairs)
        self.figures = {}
        if items is not None and popularity is not None:
            self.figures = beyond(items, self.topk, popularity, self.options.tail_ratio)

        struct = DataStruct()
        for key in ("data.num_items", "data.num_users", "data.count_items", "data.count_users"):
            if key in self.data_struct:
                struct.set(key, self.data_struct.get(key))
        if items is not None:
            hits = (items == truth.next[:, None]) & (items > 0)
            struct.set("rec.items", torch.from_numpy(items))
            struct.set("rec.topk", torch.from_numpy(np.pad(hits, ((0, 0), (0, 1)), constant_values=1).astype(np.int32)))
        struct.set("nf.outcomes", self.outcomes)
        struct.set("nf.beyond", self.figures)
        return struct


def outcomes(
    truth: Truth,
    items: np.ndarray | None,
    scores: np.ndarray | None,
    topk: Sequence[int],
    metrics: Sequence[Metric] | None = None,
    pairs: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """The values of metrics for every instance.

    Args:
        truth: of the N instances.
        items: int64 [N, max(topk)], or None from a model that only scores candidates.
        scores: float [N, C] of ``truth.candidates``, or None from a model that only recommends.
        topk: the values of K; the list of a smaller K is the head of that of a larger one.
        metrics: default all of our own.
        pairs: float [N, 3] of ``truth.next`` and ``truth.further.pairs``, or None likewise.

    Returns:
        dict: float64 [N] each: for every K those with a value per K ('HR@K'), then the others ('CandAcc'). NaN where an
        instance does not count, and everywhere if the model does not give what the metric needs.

    Raises UserError for values of another shape, or infinite ones.
    """
    metrics = measured(()) if metrics is None else metrics
    parts = {"items": items, "scores": scores, "pairs": pairs, "further": truth.further}
    given = {name for name, part in parts.items() if part is not None}
    nothing = np.zeros((len(truth.next), 0))
    listed = nothing.astype(np.int64) if items is None else items
    scored, paired = (nothing if part is None else part for part in (scores, pairs))
    asked = [(metric, k) for k in topk for metric in metrics if metric.per_k]
    asked += [(metric, listed.shape[1]) for metric in metrics if not metric.per_k]
    values = {}
    for metric, k in asked:
        (name,) = metric.columns([k])
        missing = set(metric.needs) - given
        predictions = Predictions(listed[:, :k], scored, paired)
        values[name] = np.full(len(nothing), np.nan) if missing else _values(metric, predictions, truth, k)
    return values


def variants(
    truth: Truth, scores: dict[str, np.ndarray], metrics: Sequence[Metric] | None = None
) -> dict[str, np.ndarray]:
    """The values of metrics of candidates by further scorings of them.

    Args:
        truth: of the N instances.
        scores: float [N, C] of ``truth.candidates``, by the name of the scoring.
        metrics: default all of our own; those that read lists are left out.

    Returns:
        dict: float64 [N] each: {'CandAcc.beam': ..., 'CandAcc.similarity': ...}.
    """
    chosen = [metric for metric in (measured(()) if metrics is None else metrics) if metric.needs == ("scores",)]
    return {
        f"{name}.{scoring}": values
        for scoring, given in scores.items()
        for name, values in outcomes(truth, None, given, (), chosen).items()
    }


def _values(metric: Metric, predictions: Predictions, truth: Truth, k: int) -> np.ndarray:
    name, shape = type(metric).__name__, truth.next.shape
    values = np.asarray(metric.values(predictions, truth, k), dtype=np.float64)
    if values.shape != shape:
        raise UserError(f"metric {name}: its values have shape {values.shape}; expected {shape}, one for each instance")
    if np.isinf(values).any():
        raise UserError(f"metric {name}: infinite values; expected numbers, and NaN where an instance does not count")
    return values


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
