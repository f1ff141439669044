"""What is disliked these days as a prior of every list: the option ``present``.

    score(u, i, t0) = s(u, i) + w log(n_i(t0 - d, t0) + e)

s is the method's own score (of a generative method the log-likelihood, so that the lists are those of the product of
the two distributions; beams are searched by it), n_i how many dislikes item i got in the d days before t0, as far as
``as_of`` lets it be known. d and w are chosen on the validation instances, w = 0 included, and are in the record. The
lists of all methods but the references are made so, on equal terms; scores of candidates are not.
"""

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field

from recbole_conrec.data.events import NEGATIVE
from recbole_conrec.evaluation.collector import outcomes
from recbole_conrec.evaluation.metrics.frecall import FRecall
from recbole_conrec.evaluation.ranking import dense_scores, recommend, takes_prior
from recbole_conrec.options.schema import Count, NonNegative, Options, Positive, Several

FLOOR = 0.1  # e: an item without recent dislikes counts as a tenth of one


class PresentOptions(Options):
    """The option `present`."""

    use: Literal["auto", "always", "never"] = "auto"
    """Whether lists are made with the prior; auto: under `as_of: t0`, where it holds what a live system knows."""
    days: Annotated[Several[Positive], Field(min_length=1)] = (3, 7, 30)
    """The lengths of the window before t0 that are tried."""
    weights: Annotated[Several[NonNegative], Field(min_length=1)] = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
    """The weights that are tried; of a method with dense scores in units of their spread over the items."""
    sample: Count | None = 2000
    """Validation instances by which they are chosen, a fixed random choice; null: all."""


@dataclass(frozen=True)
class Present:
    """A chosen prior: ``days`` before t0, and its weight in the units of the method's scores."""

    days: float
    weight: float

    def of(self, data: Any, interaction) -> torch.Tensor | None:
        """Float [B, n_items] for a batch of instances; None for weight 0."""
        return None if not self.weight else self.weight * log_recent(data, interaction, self.days)


def log_recent(data: Any, interaction, days: float) -> torch.Tensor:
    """log(n_i + e), float [B, n_items] on the device of the batch."""
    recent = data.side.recent((NEGATIVE,), interaction["t0"].cpu().numpy(), days=days)
    return torch.from_numpy(np.log(recent + FLOOR).astype(np.float32)).to(interaction["t0"].device)


def wanted(model: Any, options: PresentOptions, as_of: str) -> bool:
    """Whether the lists of this model are made with the prior; those of models that only count never are."""
    asked = options.use == "always" or (options.use == "auto" and as_of == "t0")
    return asked and takes_prior(model) and getattr(model, "takes_present", True)


@torch.no_grad()
def chosen(model: Any, data: Any, options: PresentOptions, k: int, batch_size: int, seed: int, device) -> Present:
    """The window and weight with the best FRecall of lists of k items; of equally good ones the first.

    The window is chosen at weight 1, then the weight.

    Args:
        data: a NegativeFeedbackDataset that serves the validation part.
        seed: of the sample.
    """
    size = min(options.sample or len(data), len(data))
    ids = np.sort(np.random.default_rng(seed).permutation(len(data))[:size])
    batches = [ids[start : start + batch_size] for start in range(0, size, batch_size)]
    truth, metric = data.truth(), FRecall()
    unit = _unit(model, data, batches[0], device)

    @cache
    def value(present: Present) -> float:
        lists = np.zeros((len(truth.next), k), dtype=np.int64)
        for batch in batches:
            interaction = data[batch].to(device)
            found = recommend(model, interaction, k, data, prior=present.of(data, interaction))
            lists[batch] = 0 if found is None else found.cpu().numpy()
        (values,) = outcomes(truth, lists, None, [k], [metric]).values()
        return float(np.nanmean(values[ids]))

    windows = [Present(days, unit) for days in options.days]
    days = max(windows, key=value).days if len(windows) > 1 else windows[0].days
    return max((Present(days, weight * unit) for weight in options.weights), key=value)


def _unit(model: Any, data: Any, batch: np.ndarray, device) -> float:
    """1 for log-likelihoods; of dense scores their spread over the items relative to that of the log counts."""
    if hasattr(model, "recommend"):
        return 1.0
    interaction = data[batch].to(device)
    scores = dense_scores(model, interaction, data)
    if scores is None:
        return 1.0
    spread = log_recent(data, interaction, 30).std(dim=1).median()
    return float(scores[:, 1:].float().std(dim=1).median() / spread.clamp(min=1e-6))
