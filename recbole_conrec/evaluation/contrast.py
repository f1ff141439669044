"""Scores of candidates freed of what is said about an item whoever the user is.

    contrast(u, i) = s(u, i) - a log p(i | u likes) - b log(1 + n_i) + c log((d_i + 1) / (n_i + 2))

s is a method's own score, n_i the number of events on i and d_i of dislikes (by ``as_of``).
A likelihood of the next dislike is high for whatever is often met. Candidates were all met, and what remains to be
judged is which of them is disliked: the paper's reward, dislikes less likes, at inference. The first term is there for
methods that also learned to predict likes.

The weights a, b, c are chosen on the validation instances, never on the test, in units of the scores' spread within a
list, and are in the record.
"""

from collections.abc import Mapping

import numpy as np

from recbole_conrec.data.events import NEGATIVE
from recbole_conrec.data.side import ALL, SideInformation

CONTRAST = "contrast"  # as a scoring: CandAcc.contrast
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)  # the choice for each term
ROUNDS = 2  # in which each term is chosen once, given the others


def item_terms(side: SideInformation, t0: np.ndarray, candidates: np.ndarray) -> dict[str, np.ndarray]:
    """The terms that know no user: {'popularity', 'share'}, float64 [B, C] each.

    Args:
        t0: int64 [B]. candidates: int64 [B, C], 0 = none.
    """
    events, dislikes = (
        np.take_along_axis(side.counts(kinds, t0), candidates, axis=1).astype(np.float64)
        for kinds in (ALL, (NEGATIVE,))
    )
    return {"popularity": -np.log1p(events), "share": np.log((dislikes + 1) / (events + 2))}


def choose(scores: np.ndarray, terms: Mapping[str, np.ndarray], answer: np.ndarray) -> dict[str, float]:
    """The weights of the terms with the highest candidate accuracy; of equally good ones the smallest.

    Args:
        scores: float [N, C], a method's own; -inf where there is no candidate.
        terms: float [N, C] each. answer: int64 [N], the column of the true item.

    Returns:
        {term: weight}, in the units of the scores.
    """
    scale = _spread(scores)
    units = {
        name: scale / max(_spread(np.where(np.isfinite(scores), term, np.nan)), 1e-12) for name, term in terms.items()
    }
    weights = dict.fromkeys(terms, 0.0)
    for _ in range(ROUNDS):
        for name in terms:
            found = {w: accuracy(combine(scores, terms, {**weights, name: w * units[name]}), answer) for w in WEIGHTS}
            best = max(found.values())
            weights[name] = min(w for w, value in found.items() if value == best) * units[name]
    return weights


def combine(scores: np.ndarray, terms: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> np.ndarray:
    """Scores + the weighted terms, float64 [N, C]."""
    total = scores.astype(np.float64)
    for name, weight in weights.items():
        if weight:
            total = total + weight * terms[name]
    return total


def accuracy(scores: np.ndarray, answer: np.ndarray) -> float:
    """The share of lists whose true item is above all others; a tie is a miss."""
    own = np.take_along_axis(scores, answer[:, None], axis=1)
    return float(((scores >= own).sum(axis=1) == 1).mean())


def _spread(values: np.ndarray) -> float:
    """The median over lists of the standard deviation within them."""
    finite = np.where(np.isfinite(values), values, np.nan)
    found = np.nanstd(finite, axis=1)
    return float(np.nanmedian(found)) if np.isfinite(found).any() else 0.0
