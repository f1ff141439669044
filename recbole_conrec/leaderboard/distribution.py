"""How a metric is spread over users: histograms of the users' own means, which one mean over instances hides."""

from typing import Any

import numpy as np

from recbole_conrec.leaderboard.estimates import sums_by_user
from recbole_conrec.leaderboard.section import Section

BINS = 20


def distributions(section: Section) -> dict[str, dict[str, Any]]:
    """{metric: {"edges": the BINS + 1 edges of the bins, "methods": {method: its histogram}}}.

    A histogram is {"users": how many count, "zero": those whose mean is 0, "mean": over users, "counts": int [BINS]}.
    The value of a user is their mean over instances and seeds; the last bin holds its right edge. A metric of all lists
    together has no values of users and is left out.
    """
    found: dict[str, dict[str, Any]] = {}
    for column in section.columns:
        means = {
            line.method.name: _of_users(line.outcomes[column], section.user)
            for line in section.lines
            if section.user is not None and column in line.outcomes
        }
        means = {name: values for name, values in means.items() if len(values)}
        if not means:
            continue
        every = np.concatenate(list(means.values()))
        low, high = min(float(every.min()), 0.0), max(float(every.max()), 0.0)
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
        found[column] = {
            "edges": edges.tolist(),
            "methods": {name: _histogram(values, edges) for name, values in means.items()},
        }
    return found


def _of_users(outcomes: np.ndarray, user: np.ndarray) -> np.ndarray:
    """float64 [U]: each user's mean over instances and seeds."""
    sums, counts = sums_by_user(outcomes, user)
    return sums.mean(axis=0) / counts


def _histogram(values: np.ndarray, edges: np.ndarray) -> dict[str, Any]:
    return {
        "users": len(values),
        "zero": int((values == 0).sum()),
        "mean": float(values.mean()),
        "counts": np.histogram(values, edges)[0].tolist(),
    }
