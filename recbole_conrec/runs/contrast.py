"""The scoring `contrast` of a model's candidates: its terms, and their weights by validation."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from recbole_conrec.evaluation.contrast import CONTRAST, choose, combine, item_terms
from recbole_conrec.evaluation.ranking import score_candidates
from recbole_conrec.utils.distributed import gather_by_id

__all__ = ["CONTRAST", "calibrated", "combine", "terms"]


def terms(model: Any, data: Any, interaction, candidates: torch.Tensor) -> dict[str, np.ndarray]:
    """The terms of :mod:`recbole_conrec.evaluation.contrast` for B instances, float64 [B, C] each.

    Those of all models, and `likes` of one that has ``like_scores(interaction, items)``, float [B, C] log-likelihoods
    of the next like, and says that it has learned them (``knows_likes``).
    """
    found = item_terms(data.side, interaction["t0"].cpu().numpy(), candidates.cpu().numpy())
    if getattr(model, "knows_likes", False):
        likes = -model.like_scores(interaction, candidates).double().cpu().numpy()
        found["likes"] = np.where(np.isfinite(likes), likes, 0)  # a missing candidate
    return found


def calibrated(model: Any, data: Any, batches: Iterable[range], device: torch.device) -> dict[str, float]:
    """The weights with the highest candidate accuracy on a part of the data; {} for a model that scores no candidates.

    Args:
        data: a NegativeFeedbackDataset that serves the part.
        batches: this process's instances.
    """
    truth = data.truth()
    columns: dict[str, list[torch.Tensor]] = {}
    ids: list[int] = []
    for batch in batches:
        interaction = data[np.arange(batch.start, batch.stop)].to(device)
        candidates = torch.from_numpy(truth.candidates[batch.start : batch.stop]).to(device)
        scores = score_candidates(model, interaction, candidates, data)
        if scores is None:
            return {}
        found = {"": scores.double().cpu().numpy(), **terms(model, data, interaction, candidates)}
        found[""][candidates.cpu().numpy() == 0] = -np.inf
        for name, values in found.items():
            columns.setdefault(name, []).append(torch.from_numpy(values))
        ids += list(batch)
    names = list(columns)
    _, *whole = gather_by_id(torch.tensor(ids, dtype=torch.int64), *(torch.cat(columns[name]) for name in names))
    gathered = {name: values.numpy() for name, values in zip(names, whole, strict=True)}
    return choose(gathered.pop(""), gathered, truth.answer)
