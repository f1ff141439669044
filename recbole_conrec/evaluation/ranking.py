"""What a model is asked for: its K most likely dislikes, and its scores of given candidates.

A model may define ``recommend(interaction, k)`` and ``score_candidates(interaction, items)``. For any other RecBole
model both come from one ``full_sort_predict``. ``interaction`` is always a batch of B instances of ``dataset``, a
NegativeFeedbackDataset, on the model's device; the model is in eval mode. A malformed answer is a ValueError that names
the model.
"""

import inspect

import torch
from recbole.model.abstract_recommender import AbstractRecommender

from recbole_conrec.data.exclusion import Exclusion
from recbole_conrec.evaluation.answers import Answers
from recbole_conrec.evaluation.topk import dense_topk

Pairs = tuple[torch.Tensor, torch.Tensor]  # (instances, items), int64 [M] each


@torch.no_grad()
def rank(
    model, interaction, candidates: torch.Tensor, k: int, dataset, prior: torch.Tensor | None = None
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Both answers, see :func:`recommend` and :func:`score_candidates`, from at most one ``full_sort_predict``.

    A model that says ``prior_alone`` scores candidates by the prior, as it has nothing else to score them by.
    """
    if prior is not None and getattr(model, "prior_alone", False):
        scores = prior.gather(1, candidates).masked_fill(candidates == 0, -torch.inf)
        return recommend(model, interaction, k, dataset, prior=prior), scores
    both = hasattr(model, "recommend") and hasattr(model, "score_candidates")
    dense = None if both else dense_scores(model, interaction, dataset)
    return (
        recommend(model, interaction, k, dataset, dense=dense, prior=prior),
        score_candidates(model, interaction, candidates, dataset, dense=dense),
    )


@torch.no_grad()
def answer(
    model,
    interaction,
    candidates: torch.Tensor,
    k: int,
    dataset,
    pairs: torch.Tensor | None = None,
    prior: torch.Tensor | None = None,
) -> Answers:
    """All answers of a model: :func:`rank`, or its own ``answer(interaction, candidates, k, pairs)``.

    Args:
        pairs: int64 [B, P] items that are scored beside the candidates, 0 = none: no candidate's score depends on them.
        prior: as in :func:`recommend`.
    """
    if hasattr(model, "answer"):
        given = {} if prior is None else {"prior": prior}
        found = model.answer(interaction, candidates, k, pairs, **given)
        check(model, interaction, candidates, k, found, dataset, pairs)
        return found
    if pairs is None:
        return Answers(*rank(model, interaction, candidates, k, dataset, prior))
    if hasattr(model, "score_candidates"):  # which may depend on the list
        items, scores = rank(model, interaction, candidates, k, dataset, prior)
        return Answers(items, scores, pairs=score_candidates(model, interaction, pairs, dataset))
    items, scores = rank(model, interaction, torch.cat([candidates, pairs], dim=1), k, dataset, prior)
    size = candidates.shape[1]
    return Answers(items, None) if scores is None else Answers(items, scores[:, :size], pairs=scores[:, size:])


@torch.no_grad()
def check(
    model, interaction, candidates: torch.Tensor, k: int, answers: Answers, dataset, pairs: torch.Tensor | None = None
) -> None:
    """Raise ValueError unless a model's own answers are what :func:`recommend` and :func:`score_candidates` promise."""
    name = type(model).__name__
    if answers.items is not None:
        left_out = excluded_pairs(interaction, dataset.exclusion)
        _check_items(answers.items, (len(interaction), k), dataset.log.n_items, left_out, name)
    if answers.scores is not None:
        _check_scores(answers.scores, candidates, name)
    if answers.pairs is not None and pairs is not None:
        _check_scores(answers.pairs, pairs, name)


@torch.no_grad()
def recommend(
    model, interaction, k: int, dataset, *, dense: torch.Tensor | None = None, prior: torch.Tensor | None = None
) -> torch.Tensor | None:
    """The model's top K.

    Args:
        model: a RecBole model.
        interaction: B instances.
        k: places of each list.
        dataset: the NegativeFeedbackDataset of the instances.
        dense: float [B, n_items] from :func:`dense_scores`, to spare another forward pass.
        prior: float [B, n_items], added to the scores of the items (runs/present.py); only for models that
            :func:`takes_prior`.

    Returns:
        int64 [B, k] item ids, best first, 0 = a missing place; items that are to be left out never appear.
        None for a model that only scores candidates.
    """
    name = type(model).__name__
    left_out = excluded_pairs(interaction, dataset.exclusion)
    if hasattr(model, "recommend"):
        items = model.recommend(interaction, k) if prior is None else model.recommend(interaction, k, prior)
        _check_items(items, (len(interaction), k), dataset.log.n_items, left_out, name)
        return items
    dense = dense_scores(model, interaction, dataset) if dense is None else dense
    if dense is None:
        return None
    return dense_topk(dense if prior is None else dense + prior, k, left_out, name=name)


def takes_prior(model) -> bool:
    """Whether a model's lists can be made with a prior: those from dense scores, or from a ``recommend`` of three."""
    if not hasattr(model, "recommend"):
        return type(model).full_sort_predict is not AbstractRecommender.full_sort_predict
    return "prior" in inspect.signature(model.recommend).parameters


@torch.no_grad()
def score_candidates(
    model, interaction, candidates: torch.Tensor, dataset, *, dense: torch.Tensor | None = None
) -> torch.Tensor | None:
    """The model's scores of candidates.

    Args:
        model: a RecBole model.
        interaction: B instances.
        candidates: int64 [B, C] item ids, 0 = no candidate.
        dataset: the NegativeFeedbackDataset of the instances.
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
    """Scores of all items, float [B, n_items], from ``full_sort_predict``; None for a model without one.

    (RecBole allows the model to return them flat.)
    """
    if type(model).full_sort_predict is AbstractRecommender.full_sort_predict:
        return None
    scores, shape = model.full_sort_predict(interaction), (len(interaction), dataset.log.n_items)
    if scores.numel() != shape[0] * shape[1]:
        raise ValueError(f"{type(model).__name__}.full_sort_predict gave shape {tuple(scores.shape)}, expected {shape}")
    return scores.reshape(shape)


def excluded_pairs(interaction, exclusion: Exclusion) -> Pairs:
    """The items that each instance's list leaves out."""
    begin, end = (interaction[field].cpu().numpy() for field in ("history_begin", "history_end"))
    device = interaction["history_end"].device
    rows, items = exclusion.pairs(begin, end)
    return torch.from_numpy(rows).to(device), torch.from_numpy(items).to(device)


def _check_items(items: torch.Tensor, shape: tuple[int, int], n_items: int, left_out: Pairs, name: str) -> None:
    if items.shape != shape:
        raise ValueError(f"{name}.recommend gave shape {tuple(items.shape)}, expected {shape}")
    if items.numel() and (items.min() < 0 or items.max() >= n_items):
        raise ValueError(f"{name}.recommend gave an item outside 0..{n_items - 1}: {items.min()}..{items.max()}")
    ordered = items.sort(dim=1).values
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] > 0)).any():
        raise ValueError(f"{name}.recommend gave an item twice in one list")
    rows = torch.arange(len(items), device=items.device)[:, None]
    if torch.isin(rows * n_items + items, left_out[0] * n_items + left_out[1]).any():
        raise ValueError(f"{name}.recommend gave an item that the list must leave out (option exclude)")


def _check_scores(scores: torch.Tensor, candidates: torch.Tensor, name: str) -> None:
    if scores.shape != candidates.shape:
        raise ValueError(
            f"{name}.score_candidates gave shape {tuple(scores.shape)}, expected {tuple(candidates.shape)}"
        )
    if torch.isnan(scores[candidates > 0]).any():
        raise ValueError(f"{name} gave NaN scores")
