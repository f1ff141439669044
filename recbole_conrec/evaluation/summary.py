"""From the values of instances to the figure of a metric."""

import numpy as np


def mean(values: np.ndarray) -> dict:
    """The average over the instances that count.

    Args:
        values: float [N], NaN where an instance does not count.

    Returns:
        dict: ``value``, ``n`` (instances that count), ``low`` and ``high``: a 95 % interval. For values in [0, 1] it is
        Wilson's, which stays inside [0, 1] and keeps a width at 0 hits; for others the normal approximation. Both take
        instances as independent; those of one user are not, so the uncertainty is at least that. All but ``n`` are None
        if no instance counts.
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    n = len(values)
    if not n:
        return {"value": None, "n": 0, "low": None, "high": None}
    p, z = float(values.mean()), 1.96
    if values.min() < 0 or values.max() > 1:
        half = z * values.std() / np.sqrt(n)
        return {"value": p, "n": n, "low": float(p - half), "high": float(p + half)}
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return {"value": p, "n": n, "low": float(max(0.0, centre - half)), "high": float(min(1.0, centre + half))}


def single(value: float, n: int) -> dict:
    """A figure of N instances together, which has no values of instances and so no interval; None for NaN."""
    known = bool(np.isfinite(value))
    return {"value": float(value) if known else None, "n": n if known else 0, "low": None, "high": None}


def summarise(outcomes: dict[str, np.ndarray]) -> dict[str, dict]:
    """:func:`mean` of every metric: {'HR@20': {'value': 0.1, 'n': 850, 'low': ..., 'high': ...}, ...}."""
    return {name: mean(values) for name, values in outcomes.items()}
