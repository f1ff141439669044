"""Do the metrics order methods as the truth does? Only a simulator knows: there the dislike of any item is known.

    true quality of a method = mean over test instances of the mean over its top K of P(u dislikes item at t0)

with the probabilities of the simulator's :class:`Oracle`, for shown and hidden items alike. HR asks for the one item
that the simulated recommender showed next, FHR for any that it showed within the window; both only approximate this.

The methods are those of a board, and references without training: *random* scores, and the truth under noise,
score = logit P + sigma * logistic noise. For each metric, Kendall's tau (a) between its order of the methods and the
true order measures how many pairs of methods it orders correctly: a share of (1 + tau) / 2. For the intervals users are
drawn with replacement; the true order stays that of all users. For candidates, :mod:`.metrics_pools` asks the same of
each pool and scoring.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from tqdm import tqdm

from recbole_conrec.data.dataset import NegativeFeedbackDataset
from recbole_conrec.data.protocol import Protocol
from recbole_conrec.data.simulation.oracle import Oracle
from recbole_conrec.data.truth import Truth
from recbole_conrec.evaluation.beyond import BEYOND
from recbole_conrec.evaluation.collector import outcomes
from recbole_conrec.evaluation.ranking import answer
from recbole_conrec.evaluation.registry import measured
from recbole_conrec.leaderboard.board import Board, PlannedRun
from recbole_conrec.options.schema import Options, Several, Text
from recbole_conrec.runs.config import make_config
from recbole_conrec.runs.options import PlaceOptions
from recbole_conrec.runs.restore import load_run
from recbole_conrec.runs.runner import run
from recbole_conrec.study.metrics_order import ALL, TRAINED, kendall, resampled, with_interval
from recbole_conrec.study.metrics_pools import (
    Pools,
    PoolScores,
    PoolTruth,
    order_pools,
    pool_truth,
    scorer_of,
    scorer_of_reference,
)
from recbole_conrec.study.metrics_truth import TrueDislikes, batches, best_quality, references
from recbole_conrec.utils.errors import UserError

Pool = Literal["neutral", "day", "matched"]
POOLS: tuple[Pool, ...] = ("neutral", "day", "matched")


class MetricsOptions(Options):
    """Options of ``recbole-conrec study metrics``; it takes those of a leaderboard as well."""

    leaderboard: Text = "metrics"
    """Name of a leaderboard, or the path of its YAML file."""
    out: Text = "saved"
    """Folder for the picture and the figures."""
    pools: Several[Pool] = POOLS
    """Values of `candidates.pool` with which CandAcc is compared with the truth; [] for none."""


@dataclass(frozen=True)
class Fidelity:
    """How well M metrics order R methods.

    Attributes:
        methods: R names. trained: bool [R], False for the references.
        quality: float64 [R], the true quality. best: the highest that any list of K could have.
        values: float64 [R, M], the metrics over all instances. names: M names.
        tau: {ALL, TRAINED -> float64 [3, M]}: Kendall's tau, and its 95 % interval.
        gain: the same keys -> float64 [3, M]: tau minus that of the first metric, HR, and its interval.
        instances, users: numbers of those in the test part.
        pools: the same of CandAcc by pool and scoring; None where no pools were asked for.
    """

    methods: list[str]
    trained: np.ndarray
    quality: np.ndarray
    best: float
    values: np.ndarray
    names: list[str]
    tau: dict[str, np.ndarray]
    gain: dict[str, np.ndarray]
    instances: int
    users: int
    pools: Pools | None = None


def study_metrics(
    board: Board, pools: tuple[str, ...] = (), draws: int = 2000, seed: int = 2026
) -> tuple[Fidelity, NegativeFeedbackDataset]:
    """Train the methods of a board that have no record yet on its one simulated data set, and judge its metrics.

    Args:
        pools: values of ``candidates.pool`` to judge CandAcc with.
        draws: of the users, for the intervals. seed: of these draws and of the noise.

    Returns (result, data set). Raises UserError for a data set without truth, or a board of several data sets or seeds.
    """
    _check(board)
    Oracle.load(PlaceOptions.of(board.runs[0].config).data_path)  # before training: data without truth are an error
    data = NegativeFeedbackDataset(board.runs[0].config)
    oracle, truth, (_, valid, test) = TrueDislikes(data), data.truth("test"), data.build()
    k, metrics = max(board.topk), measured(board.metrics)
    answers = {name: reference.answers(test, truth, k) for name, reference in references(oracle, seed).items()}
    asked: PoolTruth | None = None
    if pools:
        by_pool = {pool: NegativeFeedbackDataset(_with_pool(board.runs[0], pool)) for pool in pools}
        asked = pool_truth(by_pool, oracle, test, answers["random"][0])

    where = {key: board.strongest[key] for key in ("data_path", "use_gpu", "gpu_id") if key in board.strongest}
    given: dict[str, tuple[np.ndarray, ...]] = {}
    scored: dict[str, PoolScores] = {}
    for planned in (bar := tqdm(board.runs, desc="methods", unit="method")):
        name = planned.method.name
        bar.set_postfix_str(name)
        options = {**planned.options, "show_progress": False}
        done = load_run(run(planned.method.model, planned.dataset, options=options).run_dir, where)
        _, own_valid, own_test = done.data.build()
        given[name] = _answers(done.model, own_test, truth, k, name)
        if asked:
            scored[name] = asked.measure(scorer_of(done.model), own_valid, own_test)
    trained = list(given)
    for name, reference in references(oracle, seed).items():
        given[name] = answers[name]
        if asked:
            scored[name] = asked.measure(scorer_of_reference(reference), valid, test)

    found = {
        name: outcomes(truth, items, scores, board.topk, metrics, pairs)
        for name, (items, scores, pairs) in given.items()
    }
    lists = {name: items for name, (items, *_) in given.items()}
    ordered = judge(test, oracle, lists, found, board.columns, trained, draws, seed)
    if not asked:
        return ordered, data
    return replace(ordered, pools=order_pools(asked, scored, ordered.quality, ordered.trained, test, draws, seed)), data


def judge(
    test: NegativeFeedbackDataset,
    oracle: TrueDislikes,
    lists: dict[str, np.ndarray],
    found: dict[str, dict[str, np.ndarray]],
    names: list[str],
    trained: list[str],
    draws: int,
    seed: int,
) -> Fidelity:
    """Compare metrics with the truth.

    Args:
        test: the data set, serving its test part.
        lists: method -> int64 [N, K], its top K of each test instance.
        found: method -> its outcomes by metric, float64 [N].
        names: the metrics, HR first.
        trained: the methods that are no references.
    """
    part, methods = test.instances, list(lists)
    quality = np.array([oracle.dislike(part.user, part.time, lists[method]).mean() for method in methods])
    by_method = [np.stack([found[method][name] for name in names], axis=1) for method in methods]
    values = np.stack(by_method, axis=1)  # [N, R, M]
    means = resampled(values.reshape(len(part), -1), part.user, draws, seed).reshape(-1, len(methods), len(names))
    is_trained = np.isin(methods, trained)
    tau, gain = {}, {}
    for label, chosen in ((ALL, np.full(len(methods), True)), (TRAINED, is_trained)):
        taus = kendall(means[:, chosen], quality[chosen])  # [1 + draws, M]
        tau[label], gain[label] = with_interval(taus), with_interval(taus - taus[:, :1])
    best = best_quality(test, oracle, lists[methods[0]].shape[1])
    users = len(np.unique(part.user))
    return Fidelity(methods, is_trained, quality, best, means[0], names, tau, gain, len(part), users)


def _check(board: Board) -> None:
    """Raise UserError for a board that this study cannot judge."""
    if len(board.datasets) != 1 or len(board.seeds) != 1:
        raise UserError("study metrics: give one --dataset and one seed")
    if not board.columns[0].startswith("HR@") or not any(name.startswith("FHR@") for name in board.columns):
        raise UserError(
            f"metrics: {', '.join(board.columns)}; expected HR first, with which the others are compared, and FHR"
        )
    if single := [name for name in board.columns if name.split("@")[0] in BEYOND]:
        raise UserError(f"metrics: {', '.join(single)} are of all lists together; give metrics of instances")
    if not board.runs:
        raise UserError("study metrics: the board has no methods")
    if unavailable := next((planned.unavailable for planned in board.runs if planned.unavailable), ""):
        raise UserError(unavailable)


def _with_pool(planned: PlannedRun, pool: str):
    """The Config of a run with candidates of another pool."""
    size = Protocol.of(planned.config).candidates.size
    options = {key: value for key, value in planned.options.items() if not key.startswith("candidates")}
    options["candidates"] = {"size": size, "pool": pool}
    return make_config(planned.method.model, planned.dataset, options=options)


def _answers(model, part: NegativeFeedbackDataset, truth: Truth, k: int, name: str) -> tuple[np.ndarray, ...]:
    """The model's top K, int64 [N, k], and its scores of the candidates and of the pairs, float32 [N, C] and [N, 3].

    Raises UserError for a method that only ranks candidates, or only recommends.
    """
    device = next(model.parameters()).device
    answers = []
    for batch in batches(part):
        candidates, pairs = (torch.from_numpy(ids).to(device) for ids in (truth.candidates[batch], truth.paired[batch]))
        found = answer(model, part[batch].to(device), candidates, k, part, pairs)
        if found.items is None or found.scores is None or found.pairs is None:
            raise UserError(f"method '{name}': it gives no lists, or no scores; leave it out by --methods=...")
        answers.append((found.items, found.scores, found.pairs))
    items, scores, pairs = (torch.cat(parts).cpu() for parts in zip(*answers, strict=True))
    return items.numpy(), scores.float().numpy(), pairs.float().numpy()
