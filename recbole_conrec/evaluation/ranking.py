"""What a model is asked for: its K most likely dislikes, and its scores of given candidates.

A model may answer itself with ``recommend(interaction, k)`` and ``score_candidates(interaction, items)``. For any
other RecBole model both come out of one ``full_sort_predict``. ``interaction`` is always a batch of B instances of
``dataset``, a NegativeFeedbackDataset, on the model's device; the model is in eval mode. A malformed answer is a
ValueError that names the model.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from recbole.model.abstract_recommender import AbstractRecommender

from recbole_conrec.data.events import NEGATIVE, FeedbackStream
from recbole_conrec.evaluation.topk import dense_topk


@torch.no_grad()
def rank(
    model, interaction, candidates: torch.Tensor, k: int, dataset
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Both answers, see :func:`recommend` and :func:`score_candidates`, from at most one ``full_sort_predict``."""
    both = hasattr(model, "recommend") and hasattr(model, "score_candidates")
    dense = None if both else dense_scores(model, interaction, dataset)
    return (
        recommend(model, interaction, k, dataset, dense=dense),
        score_candidates(model, interaction, candidates, dataset, dense=dense),
    )


@torch.no_grad()
def check(
    model, interaction, candidates: torch.Tensor, k: int, items: torch.Tensor, scores: torch.Tensor, dataset
) -> None:
    """Raise ValueError unless a model's own answers are what :func:`recommend` and :func:`score_candidates` promise."""
    name = type(model).__name__
    _check_items(items, (len(interaction), k), dataset.log.n_items, disliked_before(interaction, dataset.log), name)
    _check_scores(scores, candidates, name)


@torch.no_grad()
def recommend(model, interaction, k: int, dataset, *, dense: torch.Tensor | None = None) -> torch.Tensor | None:
    """The model's top K.

    Args:
        dense: float [B, n_items], what :func:`dense_scores` gave, if it is at hand.

    Returns:
        int64 [B, k] item ids, best first, 0 = a missing place; items that the user disliked before t0 never appear.
        None for a model that only scores candidates.
    """
    name = type(model).__name__
    disliked = disliked_before(interaction, dataset.log)
    if hasattr(model, "recommend"):
        items = model.recommend(interaction, k)
        _check_items(items, (len(interaction), k), dataset.log.n_items, disliked, name)
        return items
    dense = dense_scores(model, interaction, dataset) if dense is None else dense
    return None if dense is None else dense_topk(dense, k, disliked, name=name)


@torch.no_grad()
def score_candidates(
    model, interaction, candidates: torch.Tensor, dataset, *, dense: torch.Tensor | None = None
) -> torch.Tensor | None:
    """The model's scores of candidates.

    Args:
        candidates: int64 [B, C] item ids, 0 = no candidate.
        dense: as in :func:`recommend`.

    Returns:
        float [B, C], higher = more likely disliked. None for a model that only recommends.
    """
    name = type(model).__name__
    if hasattr(model, "score_candidates"):
        scores = model.score_candidates(interaction, candidates)
    else:
        dense = dense_scores(model, interaction, dataset) if dense is None else dense
        if dense is None:
            return None
        scores = dense.gather(1, candidates)
    _check_scores(scores, candidates, name)
    return scores


@torch.no_grad()
def dense_scores(model, interaction, dataset) -> torch.Tensor | None:
    """float [B, n_items] of ``full_sort_predict``, which RecBole allows to be flat; None for a model without one."""
    if type(model).full_sort_predict is AbstractRecommender.full_sort_predict:
        return None
    scores, shape = model.full_sort_predict(interaction), (len(interaction), dataset.log.n_items)
    if scores.numel() != shape[0] * shape[1]:
        raise ValueError(f"{type(model).__name__}.full_sort_predict gave shape {tuple(scores.shape)}, expected {shape}")
    return scores.reshape(shape)


def disliked_before(interaction, log) -> tuple[torch.Tensor, torch.Tensor]:
    """(rows, items) int64 [M] each: the items that each user disliked in the instance's history."""
    begin, end = (interaction[field].cpu().numpy() for field in ("history_begin", "history_end"))
    ptr, events = _negatives(log).csr(begin, end)
    device = interaction["history_end"].device
    rows = np.repeat(np.arange(len(begin)), np.diff(ptr))
    return torch.from_numpy(rows).to(device), torch.from_numpy(log.item[events]).to(device)


@lru_cache(maxsize=2)
def _negatives(log) -> FeedbackStream:
    return FeedbackStream(log, (NEGATIVE,))


def _check_items(items: torch.Tensor, shape: tuple[int, int], n_items: int, disliked, name: str) -> None:
    if items.shape != shape:
        raise ValueError(f"{name}.recommend gave shape {tuple(items.shape)}, expected {shape}")
    if items.numel() and (items.min() < 0 or items.max() >= n_items):
        raise ValueError(f"{name}.recommend gave an item outside 0..{n_items - 1}: {items.min()}..{items.max()}")
    ordered = items.sort(dim=1).values
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] > 0)).any():
        raise ValueError(f"{name}.recommend gave an item twice in one list")
    rows = torch.arange(len(items), device=items.device)[:, None]
    if torch.isin(rows * n_items + items, disliked[0] * n_items + disliked[1]).any():
        raise ValueError(f"{name}.recommend gave an item that the user disliked before")


def _check_scores(scores: torch.Tensor, candidates: torch.Tensor, name: str) -> None:
    if scores.shape != candidates.shape:
        raise ValueError(
            f"{name}.score_candidates gave shape {tuple(scores.shape)}, expected {tuple(candidates.shape)}"
        )
    if torch.isnan(scores[candidates > 0]).any():
        raise ValueError(f"{name} gave NaN scores")
