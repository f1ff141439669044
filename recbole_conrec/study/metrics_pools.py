"""Which candidates, and which scoring of them, order methods as the simulator's truth does?

CandAcc is computed for every pool of distractors (``candidates.pool``) by every scoring: a method's own score, and
``contrast``, freed of popularity (:mod:`recbole_conrec.evaluation.contrast`), with weights chosen on the validation
instances with candidates of the same pool. Each is compared with two truths:

    lists    the true quality of the method's top K, as everywhere in this study
    judging  how well the very scores that CandAcc is computed from order items that nobody chose to show: L items
             drawn uniformly from those that a list may hold; over all pairs of them, the share of the differences in
             P(dislike) that the scores order rightly. 0.5 is chance, a tie counts half
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from recbole_conrec.data.dataset import NegativeFeedbackDataset
from recbole_conrec.data.truth import Truth
from recbole_conrec.evaluation.collector import outcomes
from recbole_conrec.evaluation.contrast import CONTRAST, choose, combine, item_terms
from recbole_conrec.evaluation.metrics.candacc import CandAcc
from recbole_conrec.evaluation.ranking import score_candidates
from recbole_conrec.runs.contrast import terms
from recbole_conrec.study.metrics_order import ALL, TRAINED, kendall, resampled, with_interval
from recbole_conrec.study.metrics_truth import BATCH, Reference, TrueDislikes, batches
from recbole_conrec.utils.errors import UserError

SCORINGS = ("own", CONTRAST)
TRUTHS = ("lists", "judging")
CHANCE, LEAST_POPULAR, SHARE = "chance", "least popular", "share of dislikes"  # what knows no user

# (part of the data, instances [B], items [B, L], 0 = none) -> scores [B, L], terms of the contrast {name: [B, L]}
Scorer = Callable[[NegativeFeedbackDataset, np.ndarray, np.ndarray], tuple[np.ndarray, dict[str, np.ndarray]]]


@dataclass(frozen=True, eq=False)
class PoolScores:
    """What one method's scores are worth; P pools, S = 2 scorings.

    Attributes:
        hits: float64 [P, S, N], CandAcc of each test instance.
        judging: float64 [P, S], how well the scores order items by the truth.
        weights: pool -> those of the contrast, by term.
    """

    hits: np.ndarray
    judging: np.ndarray
    weights: dict[str, dict[str, float]]


@dataclass(frozen=True, eq=False)
class Pools:
    """How well CandAcc orders R methods, by pool (P) and scoring (S).

    Attributes:
        accuracy: float64 [P, S, R], CandAcc. judging: float64 [P, S, R], what these scores are worth by the truth.
        baselines: name -> float64 [P], CandAcc of what knows no user.
        weights: pool -> method -> the weights of its contrast, by term.
        tau: {ALL, TRAINED -> {'lists', 'judging' -> float64 [3, P, S]}}: Kendall's tau with this truth, and its 95 %
            interval.
        over_first: likewise, less the tau of the first pool's own scores.
    """

    pools: list[str]
    scorings: list[str]
    methods: list[str]
    accuracy: np.ndarray
    judging: np.ndarray
    baselines: dict[str, np.ndarray]
    weights: dict[str, dict[str, dict[str, float]]]
    tau: dict[str, dict[str, np.ndarray]]
    over_first: dict[str, dict[str, np.ndarray]]


@dataclass(frozen=True, eq=False)
class PoolTruth:
    """Candidates of validation and test by pool, and what methods are asked about beside them.

    Attributes:
        truths: pool -> (of validation, of test).
        probe: int64 [N, L], items that nobody chose to show, for each test instance.
        likely: float64 [N, L], P(dislike) of these; NaN where there is no item.
    """

    truths: Mapping[str, tuple[Truth, Truth]]
    probe: np.ndarray
    likely: np.ndarray

    def measure(self, scorer: Scorer, valid: NegativeFeedbackDataset, test: NegativeFeedbackDataset) -> PoolScores:
        """Score the candidates of all pools, and the probe, by a method's own score and by contrast."""
        probed, probed_terms = _scored(scorer, test, self.probe)
        hits, judging, weights = [], [], {}
        for pool, (of_valid, of_test) in self.truths.items():
            scores, extra = _scored(scorer, valid, of_valid.candidates[:])
            weights[pool] = choose(scores, extra, of_valid.answer)
            scores, extra = _scored(scorer, test, of_test.candidates[:])
            freed = combine(scores, extra, weights[pool])
            hits.append([_hits(of_test, scores), _hits(of_test, freed)])
            judged = (probed, combine(probed, probed_terms, weights[pool]))
            judging.append([agreement(each, self.likely) for each in judged])
        return PoolScores(np.array(hits), np.array(judging), weights)

    def baselines(self, test: NegativeFeedbackDataset) -> dict[str, np.ndarray]:
        """CandAcc of what knows no user, by name: float64 [P]."""
        found: dict[str, list[float]] = {CHANCE: [], LEAST_POPULAR: [], SHARE: []}
        for _, truth in self.truths.values():
            candidates = truth.candidates[:]
            found[CHANCE].append(float((1 / (candidates > 0).sum(axis=1)).mean()))
            known = item_terms(test.side, test.instances.time, candidates)
            for name, term in ((LEAST_POPULAR, "popularity"), (SHARE, "share")):
                found[name].append(float(np.nanmean(_hits(truth, known[term]))))
        return {name: np.array(values) for name, values in found.items()}


def pool_truth(
    by_pool: Mapping[str, NegativeFeedbackDataset],
    oracle: TrueDislikes,
    test: NegativeFeedbackDataset,
    probe: np.ndarray,
) -> PoolTruth:
    """The candidates of each pool.

    Args:
        by_pool: pool -> the data set with this pool; all else equal.
        probe: int64 [N, L], random lists of the test instances.
    """
    truths = {pool: (data.truth("valid"), data.truth("test")) for pool, data in by_pool.items()}
    likely = oracle.dislike(test.instances.user, test.instances.time, probe)
    return PoolTruth(truths, probe, np.where(probe > 0, likely, np.nan))


def order_pools(
    asked: PoolTruth,
    scored: Mapping[str, PoolScores],
    quality: np.ndarray,
    trained: np.ndarray,
    test: NegativeFeedbackDataset,
    draws: int,
    seed: int,
) -> Pools:
    """Compare CandAcc by pool and scoring with the truths.

    Args:
        scored: method -> what its scores are worth.
        quality: float64 [R], the true quality of the methods' lists. trained: bool [R].
        test: the data set, serving its test part.
        draws, seed: of users, for the intervals.
    """
    methods, pools = list(scored), list(asked.truths)
    hits = np.stack([one.hits for one in scored.values()])  # [R, P, S, N]
    shape = hits.shape[:3]
    means = resampled(hits.reshape(-1, hits.shape[-1]).T, test.instances.user, draws, seed).reshape(-1, *shape)
    judging = np.stack([one.judging for one in scored.values()])  # [R, P, S]
    truths = {"lists": np.broadcast_to(quality[:, None, None], shape), "judging": judging}
    tau: dict[str, dict[str, np.ndarray]] = {}
    over_first: dict[str, dict[str, np.ndarray]] = {}
    for label, chosen in ((ALL, np.full(len(methods), True)), (TRAINED, trained)):
        tau[label], over_first[label] = {}, {}
        for name, true in truths.items():
            flat = kendall(
                means[:, chosen].reshape(len(means), chosen.sum(), -1), true[chosen].reshape(chosen.sum(), -1)
            )
            taus = flat.reshape(-1, *shape[1:])  # [1 + draws, P, S]
            tau[label][name], over_first[label][name] = with_interval(taus), with_interval(taus - taus[:, :1, :1])
    return Pools(
        pools,
        list(SCORINGS),
        methods,
        np.moveaxis(means[0], 0, -1),
        np.moveaxis(judging, 0, -1),
        asked.baselines(test),
        {pool: {name: one.weights[pool] for name, one in scored.items()} for pool in pools},
        tau,
        over_first,
    )


def scorer_of(model) -> Scorer:
    """How a trained model scores. Raises UserError for one that scores no candidates."""
    device = next(model.parameters()).device

    @torch.no_grad()
    def score(part: NegativeFeedbackDataset, batch: np.ndarray, items: np.ndarray):
        interaction, given = part[batch].to(device), torch.from_numpy(items).to(device)
        scores = score_candidates(model, interaction, given, part)
        if scores is None:
            raise UserError(f"{type(model).__name__}: it scores no candidates; leave it out by --methods=...")
        return scores.double().cpu().numpy(), terms(model, part, interaction, given)

    return score


def scorer_of_reference(reference: Reference) -> Scorer:
    """How a reference scores."""

    def score(part: NegativeFeedbackDataset, batch: np.ndarray, items: np.ndarray):
        return reference.scores(part, batch, items), item_terms(part.side, part.instances.time[batch], items)

    return score


def agreement(scores: np.ndarray, likely: np.ndarray) -> float:
    """Over all pairs of items of each list, the share of the differences in ``likely`` that the scores order rightly.

    Args:
        scores, likely: float [N, L]; NaN in ``likely`` where there is no item.
    """
    right = whole = 0.0
    for low in range(0, len(scores), BATCH):
        s, p = scores[low : low + BATCH], likely[low : low + BATCH]
        gap = np.nan_to_num(p[:, :, None] - p[:, None, :])
        above = s[:, :, None] > s[:, None, :]  # no difference, as scores may be infinite
        right += float(((above.astype(np.int8) - above.transpose(0, 2, 1)) * gap).sum())
        whole += float(np.abs(gap).sum())
    return 0.5 + 0.5 * right / whole if whole else float("nan")


def _scored(scorer: Scorer, part: NegativeFeedbackDataset, items: np.ndarray):
    """Scores of items [N, L] of all instances of a part, -inf where there is no item, and the terms: float64 [N, L]."""
    found = [scorer(part, batch, items[batch]) for batch in batches(part)]
    scores = np.concatenate([one for one, _ in found]).astype(np.float64)
    extra = {name: np.concatenate([known[name] for _, known in found]) for name in found[0][1]}
    return np.where(items > 0, scores, -np.inf), extra


def _hits(truth: Truth, scores: np.ndarray) -> np.ndarray:
    (values,) = outcomes(truth, None, scores, (), [CandAcc()]).values()
    return values
