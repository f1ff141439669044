"""What happens these days as a prior of every list: the option ``present``.

    score(u, i, t0) = s(u, i) + a log r_i + b log e_i + c log q_i

s is the method's own score; of a generative method the log-likelihood, so that lists are those of the product of the
distributions, and beams are searched by it. r_i is how often item i was disliked lately, e_i how often it was met (any
feedback), q_i its share of dislikes, all before t0 and as far as ``as_of`` lets them be known. "Lately" weighs events
by about one over their age: the sum over several windows of count / length.

a, b, c are chosen on the validation instances, 0 included, and are in the record. All methods but the references are
offered it, on equal terms. Scores of candidates are not changed.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field

from recbole_conrec.data.events import NEGATIVE
from recbole_conrec.data.side import ALL
from recbole_conrec.evaluation.metrics.base import Predictions
from recbole_conrec.evaluation.metrics.frecall import FRecall
from recbole_conrec.evaluation.ranking import dense_scores, excluded_pairs, recommend, takes_prior
from recbole_conrec.options.schema import Count, Options, Positive, Several

TERMS = ("dislikes", "share", "events")  # in the order in which their weights are chosen
FLOOR = 0.01  # added to the recent counts, where one event of three months ago is 1/90
WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
ROUNDS = 2  # in which each weight is chosen once, given the others


class PresentOptions(Options):
    """The option `present`."""

    use: Literal["auto", "always", "never"] = "auto"
    """Whether lists are made with the prior; auto: under `as_of: t0`, where it holds what a live system knows."""
    days: Annotated[Several[Positive], Field(min_length=1)] = (1, 3, 7, 14, 30, 90)
    """The windows before t0 whose rates are added up."""
    sample: Count = 2000
    """Validation instances by which the weights are chosen, a fixed random choice."""
    pool: Count = 100
    """Items of each instance that are looked at while choosing: so many by the method and by each half of the prior."""


@dataclass(frozen=True)
class Present:
    """The prior: the windows, and the weights of its terms in the units of the method's scores.

    Attributes:
        valid: the figure by which they were chosen, of the lists with the prior, by the name of its metric.
    """

    days: tuple[float, ...]
    weights: dict[str, float]
    valid: dict[str, float] = field(default_factory=dict)

    def of(self, data: Any, interaction) -> torch.Tensor | None:
        """Float [B, n_items] for a batch of instances; None where all weights are 0."""
        if not any(self.weights.values()):
            return None
        terms = item_terms(data, interaction, self.days)
        return torch.stack([self.weights[name] * terms[name] for name in TERMS]).sum(0)


def item_terms(data: Any, interaction, days: tuple[float, ...]) -> dict[str, torch.Tensor]:
    """The terms log r, log q and log e: float [B, n_items] each, on the device of the batch."""
    t0, device = interaction["t0"].cpu().numpy(), interaction["t0"].device

    def of_late(kinds: tuple[int, ...]) -> np.ndarray:
        rate = np.zeros((len(t0), data.log.n_items), dtype=np.float32)
        for length in days:
            rate += data.side.recent(kinds, t0, days=length) / np.float32(length)
        return np.log(rate + np.float32(FLOOR))

    dislikes, events = (data.side.counts(kinds, t0).astype(np.float32) for kinds in ((NEGATIVE,), ALL))
    share = np.log((dislikes + 1) / (events + 5))
    found = {"dislikes": of_late((NEGATIVE,)), "share": share, "events": of_late(ALL)}
    return {name: torch.from_numpy(values).to(device) for name, values in found.items()}


def wanted(model: Any, options: PresentOptions, as_of: str) -> bool:
    """Whether the lists of this model are made with the prior; those of models that only count never are."""
    asked = options.use == "always" or (options.use == "auto" and as_of == "t0")
    return asked and takes_prior(model) and getattr(model, "takes_present", True)


@torch.no_grad()
def chosen(model: Any, data: Any, options: PresentOptions, k: int, batch_size: int, seed: int, device) -> Present:
    """The weights with the best FRecall of lists of k items on a part of the data; of equally good ones the smaller.

    Lists are looked for among the items that the method, or a half of the prior, ranks highest.

    Args:
        data: a NegativeFeedbackDataset that serves the part.
        seed: of the sample.
    """
    size = min(options.sample, len(data))
    ids = np.sort(np.random.default_rng(seed).permutation(len(data))[:size])
    batches = [ids[start : start + batch_size] for start in range(0, size, batch_size)]
    parts = [_pool(model, data, data[batch].to(device), options) for batch in batches]
    width = max(items.shape[1] for items, _ in parts)
    items = torch.cat([torch.nn.functional.pad(one, (0, width - one.shape[1])) for one, _ in parts])
    columns = torch.cat([torch.nn.functional.pad(values, (0, width - values.shape[2])) for _, values in parts], dim=1)
    scores, terms = columns[0].masked_fill(items == 0, -torch.inf), dict(zip(TERMS, columns[1:], strict=True))
    truth, metric = data.truth(), FRecall()
    scale = _spread(scores, items) or 1.0  # equal scores: the prior alone decides
    units = {name: scale / max(_spread(term, items), 1e-6) for name, term in terms.items()}

    def value(weights: dict[str, float]) -> float:
        total = scores + sum(weights[name] * units[name] * terms[name] for name in TERMS)
        best = total.topk(min(k, width), dim=1)
        lists = items.gather(1, best.indices).masked_fill(best.values == -torch.inf, 0).cpu().numpy()
        every = np.zeros((len(truth.next), k), dtype=np.int64)
        every[ids, : lists.shape[1]] = lists
        return float(np.nanmean(metric.values(Predictions(every, np.zeros((len(every), 0))), truth, k)[ids]))

    weights = dict.fromkeys(TERMS, 0.0)
    for _ in range(ROUNDS):
        for name in TERMS:
            found = {weight: value({**weights, name: weight}) for weight in WEIGHTS}
            best = max(found.values())
            weights[name] = min(weight for weight, reached in found.items() if reached == best)
    chosen_weights = {name: weight * units[name] for name, weight in weights.items()}
    return Present(options.days, chosen_weights, {f"FRecall@{k}": value(weights)})


def _pool(model: Any, data: Any, interaction, options: PresentOptions) -> tuple[torch.Tensor, torch.Tensor]:
    """Items of B instances, int64 [B, P], 0 = none, and their scores and terms, float [1 + terms, B, P]."""
    terms = item_terms(data, interaction, options.days)
    k = min(options.pool, data.log.n_items - 1)
    owner, left_out = excluded_pairs(interaction, data.exclusion)
    picked = []
    for prior in (terms["dislikes"], terms["events"] + terms["share"]):
        open_items = prior.clone()
        open_items[owner, left_out] = open_items[:, 0] = -torch.inf
        best = open_items.topk(k, dim=1)
        picked.append(best.indices.masked_fill(best.values == -torch.inf, 0))
    dense = None if hasattr(model, "recommend") else dense_scores(model, interaction, data)
    own = recommend(model, interaction, k, data, dense=dense)
    items = torch.cat([*picked, *([] if own is None else [own])], dim=1).sort(dim=1).values
    items[:, 1:] = items[:, 1:].masked_fill(items[:, 1:] == items[:, :-1], 0)  # each once
    scores = model.scores_by("likelihood", interaction, items) if dense is None else dense.gather(1, items)
    return items, torch.stack([scores.float(), *(terms[name].gather(1, items) for name in TERMS)])


def _spread(values: torch.Tensor, items: torch.Tensor) -> float:
    """The median over instances of the standard deviation over the items of their pool."""
    there = (items > 0) & torch.isfinite(values)
    count = there.sum(1).clamp(min=2)
    mean = values.masked_fill(~there, 0).sum(1) / count
    squares = (values - mean[:, None]).masked_fill(~there, 0).square().sum(1)
    return float((squares / (count - 1)).sqrt().median())
