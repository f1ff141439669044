"""CandAcc."""

import numpy as np

from recbole_conrec.evaluation.metrics.base import Metric


class CandAcc(Metric):
    """Candidate accuracy: 1 where the item of the instance scores above every other candidate; a tie is no hit.

    No window. NaN where every other candidate is padding: without a rival there is no choice.
    """

    per_k = False
    needs = ("scores",)

    def values(self, predictions, truth, k):
        """Raises ValueError for a NaN score of a candidate."""
        real = truth.candidates[:] > 0
        scores = np.where(real, predictions.scores, -np.inf)  # a padding candidate never wins
        if np.isnan(scores).any():
            raise ValueError(f"NaN among the candidates' scores of {int(np.isnan(scores).any(axis=1).sum())} instances")
        row = np.arange(len(scores))
        own = scores[row, truth.answer]
        scores[row, truth.answer] = -np.inf
        correct = (own > scores.max(axis=1, initial=-np.inf)).astype(np.float64)
        return np.where(real.sum(axis=1) > 1, correct, np.nan)
