"""The figure that selects the weights of a method trained in stages, on its validation instances."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from recbole_conrec.data.truth import Truth
from recbole_conrec.evaluation.collector import outcomes
from recbole_conrec.evaluation.metrics.base import Metric
from recbole_conrec.evaluation.registry import measured
from recbole_conrec.runs.options import EvaluationOptions
from recbole_conrec.utils.errors import UserError


def selecting(model_class: type, evaluation: EvaluationOptions) -> dict[str, tuple[Metric, int]]:
    """What may be the `valid_metric` of a method: {'HR@20': (the metric, 20), ..., 'CandAcc': ...}.

    These are the metrics of instances, ours and the user's, that a method of this class fills: those of lists if it
    recommends, and those of candidates.
    """
    reads = {("scores",), *([("items",)] if hasattr(model_class, "recommend") else [])}
    metrics = [metric for metric in measured(evaluation.metrics) if metric.needs in reads and not metric.smaller]
    k_last = max(evaluation.topk)
    return {
        metric.columns([k])[0]: (metric, k)
        for metric in metrics
        for k in (evaluation.topk if metric.per_k else [k_last])
    }


def validation_score(
    model: Any, valid: Any, evaluation: EvaluationOptions, seed: int, sample: int | None
) -> Callable[[], float]:
    """A function: the `valid_metric` of the model as it is now.

    Args:
        model: a StagedRecommender.
        valid: the validation part of the data set.
        evaluation: what is measured. seed: of the sample.
        sample: how many of the instances are looked at, a fixed random choice; None: all.

    Raises UserError, when the function is called, if none of the instances counts.
    """
    known = {name.lower(): found for name, found in selecting(type(model), evaluation).items()}
    metric, k = known[evaluation.valid_metric.lower()]
    size = min(sample or len(valid), len(valid))
    chosen = np.random.default_rng(seed).permutation(len(valid))[:size]
    truth = valid.truth()

    def values(ids: np.ndarray) -> np.ndarray:
        interaction, part = valid[ids].to(model.device), _take(truth, ids)
        if metric.needs == ("items",):
            items, scores = model.recommend(interaction, k).cpu().numpy(), None
        else:
            candidates = torch.from_numpy(part.candidates).to(model.device)
            items, scores = None, model.score_candidates(interaction, candidates).float().cpu().numpy()
        (found,) = outcomes(part, items, scores, [k], [metric]).values()
        return found

    def score() -> float:
        model.eval()
        batch = evaluation.eval_batch_size
        found = np.concatenate([values(chosen[start : start + batch]) for start in range(0, size, batch)])
        if np.isnan(found).all():
            raise UserError(
                f"valid_metric: {evaluation.valid_metric} counts none of {size} validation instances; give another "
                "one, such as --valid_metric=HR@20, or change `split`"
            )
        return float(np.nanmean(found))

    return score


def _take(truth: Truth, ids: np.ndarray) -> Truth:
    """The truth of some instances, in this order, without what only pairs and likes are compared with."""
    start, size = truth.f_ptr[ids], np.diff(truth.f_ptr)[ids]
    ptr = np.concatenate(([0], np.cumsum(size)))
    place = np.arange(ptr[-1]) + np.repeat(start - ptr[:-1], size)
    return Truth(
        next=truth.next[ids],
        f_ptr=ptr,
        f_items=truth.f_items[place],
        low_activity=truth.low_activity[ids],
        long_tail=truth.long_tail,
        candidates=truth.candidates[ids],
    )
