"""Do the metrics order methods as the truth does? Only a simulator knows: there the dislike of any item is known.

    true quality of a method = mean over test instances of the mean over its top K of P(u dislikes item at t0)

with the probabilities of the simulator's :class:`Oracle`, for shown and hidden items alike. HR asks for the one item
that the simulated recommender showed next, FHR for any that it showed within the window; both only approximate this.

The methods are those of a board, and references without training: *random* scores, and the truth under noise,
score = logit P + sigma * logistic noise. For each metric, Kendall's tau (a) between its order of the methods and the
true order measures how many pairs of methods it orders correctly: a share of (1 + tau) / 2. For the intervals users are
drawn with replacement; the true order stays that of all users.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from recbole_conrec.data.dataset import NegativeFeedbackDataset
from recbole_conrec.data.simulation.oracle import Oracle
from recbole_conrec.data.truth import Truth
from recbole_conrec.evaluation.beyond import BEYOND
from recbole_conrec.evaluation.collector import outcomes
from recbole_conrec.evaluation.ranking import answer, excluded_pairs
from recbole_conrec.evaluation.registry import measured
from recbole_conrec.evaluation.topk import dense_topk
from recbole_conrec.leaderboard.board import Board
from recbole_conrec.leaderboard.statistics import by_user
from recbole_conrec.options.schema import Options, Text
from recbole_conrec.runs.options import PlaceOptions
from recbole_conrec.runs.restore import load_run
from recbole_conrec.runs.runner import run
from recbole_conrec.utils.arrays import mix, uniform
from recbole_conrec.utils.errors import UserError

SIGMAS = (1.0, 4.0, 16.0)  # of the truth under noise
BATCH = 256  # instances at a time
ALL, TRAINED = "all methods", "trained methods"


class MetricsOptions(Options):
    """Options of ``recbole-conrec study metrics``; it takes those of a leaderboard as well."""

    leaderboard: Text = "metrics"
    """Name of a leaderboard, or the path of its YAML file."""
    out: Text = "saved"
    """Folder for the picture and the figures."""


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


class TrueDislikes:
    """The oracle of a data set, for its internal ids."""

    def __init__(self, data: NegativeFeedbackDataset):
        self.oracle = Oracle.load(Path(data.dataset_path))
        self.users, self.items = (
            np.concatenate([[0], self.oracle.rows(kind, data.field2id_token[field][1:])])
            for kind, field in (("user", data.uid_field), ("item", data.iid_field))
        )

    def dislike(self, users: np.ndarray, times: np.ndarray, items: np.ndarray) -> np.ndarray:
        """P(dislike): float64 [B, L], for users [B] at times [B] (seconds) and items [B, L]; 0 for the padding item."""
        found = self.oracle.dislike_probability(self.users[users], self.items[items], times)
        return np.where(items > 0, found, 0.0)


def study_metrics(board: Board, draws: int = 2000, seed: int = 2026) -> tuple[Fidelity, NegativeFeedbackDataset]:
    """Train the methods of a board that have no record yet on its one simulated data set, and judge its metrics.

    Args:
        draws: of the users, for the intervals. seed: of these draws and of the noise.

    Returns (result, data set). Raises UserError for a data set without truth, or a board of several data sets or seeds.
    """
    if len(board.datasets) != 1 or len(board.seeds) != 1:
        raise UserError("study metrics: give one --dataset and one seed")
    if not board.columns[0].startswith("HR@") or not any(name.startswith("FHR@") for name in board.columns):
        raise UserError(
            f"metrics: {', '.join(board.columns)}; expected HR first, with which the others are compared, and FHR"
        )
    if single := [name for name in board.columns if name.split("@")[0] in BEYOND]:
        raise UserError(f"metrics: {', '.join(single)} are of all lists together; give metrics of instances")
    if unavailable := next((planned.unavailable for planned in board.runs if planned.unavailable), ""):
        raise UserError(unavailable)
    Oracle.load(PlaceOptions.of(board.runs[0].config).data_path)  # before training: data without truth are an error
    where = {key: board.strongest[key] for key in ("data_path", "use_gpu", "gpu_id") if key in board.strongest}
    lists: dict[str, np.ndarray] = {}
    found: dict[str, dict[str, np.ndarray]] = {}
    data: NegativeFeedbackDataset | None = None
    k, metrics = max(board.topk), measured(board.metrics)
    for planned in (bar := tqdm(board.runs, desc="methods", unit="method")):
        name = planned.method.name
        bar.set_postfix_str(name)
        options = {**planned.options, "show_progress": False}
        done = load_run(run(planned.method.model, planned.dataset, options=options).run_dir, where)
        data, truth = data or done.data, done.data.truth("test")
        lists[name], *scores = _answers(done.model, done.data.build()[2], truth, k)
        found[name] = outcomes(truth, lists[name], scores[0], board.topk, metrics, scores[1])
    if data is None:
        raise UserError("study metrics: the board has no methods")
    oracle, truth = TrueDislikes(data), data.truth("test")
    for name, sigma in [("random", None), *((f"truth, noise {sigma:g}", sigma) for sigma in SIGMAS)]:
        lists[name], *scores = _reference(oracle, data, truth, k, sigma, seed)
        found[name] = outcomes(truth, lists[name], scores[0], board.topk, metrics, scores[1])
    trained = [method.name for method in board.methods]
    return judge(data, oracle, lists, found, board.columns, trained, draws, seed), data


def judge(
    data: NegativeFeedbackDataset,
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
        lists: method -> int64 [N, K], its top K of each test instance.
        found: method -> its outcomes by metric, float64 [N].
        names: the metrics, HR first.
        trained: the methods that are no references.
    """
    test, methods = data.splits["test"], list(lists)
    quality = np.array([oracle.dislike(test.user, test.time, lists[method]).mean() for method in methods])
    by_method = [np.stack([found[method][name] for name in names], axis=1) for method in methods]
    values = np.stack(by_method, axis=1)  # [N, R, M]
    sums, counts = by_user(values.reshape(len(test), -1), test.user)
    rng, users = np.random.default_rng(seed), len(sums)
    times = rng.multinomial(users, np.full(users, 1 / users), draws).astype(np.float64)
    n = times @ counts
    means = np.divide(times @ sums, n, out=np.full(n.shape, np.nan), where=n > 0)
    means = np.concatenate([np.nanmean(values, axis=0)[None], means.reshape(draws, len(methods), len(names))])
    is_trained = np.isin(methods, trained)
    tau, gain = {}, {}
    for label, chosen in ((ALL, np.full(len(methods), True)), (TRAINED, is_trained)):
        taus = kendall(means[:, chosen], quality[chosen])  # [1 + draws, M]
        gains = taus - taus[:, :1]
        tau[label], gain[label] = (
            np.stack([v[0], *np.nanpercentile(v[1:], (2.5, 97.5), axis=0)]) for v in (taus, gains)
        )
    best = _best_quality(data, oracle, lists[methods[0]].shape[1])
    return Fidelity(methods, is_trained, quality, best, means[0], names, tau, gain, len(test), users)


def kendall(values: np.ndarray, quality: np.ndarray) -> np.ndarray:
    """Kendall's tau-a of values [D, R, M] with quality [R]: float64 [D, M]. A tie counts as neither right nor wrong.

    (scipy.stats.kendalltau has only tau-b and tau-c, which leave ties out of the denominator.)
    """
    first, second = np.triu_indices(len(quality), 1)
    right = np.sign(quality[first] - quality[second])[:, None]
    return (np.sign(values[:, first] - values[:, second]) * right).mean(axis=1)


def _batches(data):
    return (np.arange(low, min(low + BATCH, len(data))) for low in range(0, len(data), BATCH))


def _answers(model, data: NegativeFeedbackDataset, truth: Truth, k: int) -> tuple[np.ndarray, ...]:
    """The model's top K, int64 [N, k], and its scores of the candidates and of the pairs, float32 [N, C] and [N, 3]."""
    device = next(model.parameters()).device
    answers = []
    for batch in _batches(data):
        candidates, pairs = (torch.from_numpy(ids).to(device) for ids in (truth.candidates[batch], truth.paired[batch]))
        found = answer(model, data[batch].to(device), candidates, k, data, pairs)
        answers.append((found.items, found.scores, found.pairs))
    items, scores, pairs = (torch.cat(parts).cpu() for parts in zip(*answers, strict=True))
    return items.numpy(), scores.float().numpy(), pairs.float().numpy()


def _reference(
    oracle: TrueDislikes, data: NegativeFeedbackDataset, truth: Truth, k: int, sigma: float | None, seed: int
) -> tuple[np.ndarray, ...]:
    """As :func:`_answers` of the truth under noise; of noise alone where sigma is None."""
    test, data = data.splits["test"], data.build()[2]
    items = np.broadcast_to(np.arange(data.item_num), (BATCH, data.item_num))
    lists, scores, paired = [], [], []
    for batch in _batches(data):
        hashes = uniform(mix(seed, batch[:, None], items[: len(batch)]))
        noise = np.log(hashes + 1e-12) - np.log1p(-hashes)  # logistic
        dense = noise
        if sigma is not None:
            p = oracle.dislike(test.user[batch], test.time[batch], items[: len(batch)]).clip(1e-6, 1 - 1e-6)
            dense = np.log(p) - np.log1p(-p) + sigma * noise
        forbidden = excluded_pairs(data[batch], data.exclusion)
        lists.append(dense_topk(torch.from_numpy(dense), k, forbidden).numpy())
        scores.append(np.take_along_axis(dense, truth.candidates[batch], axis=1))
        paired.append(np.take_along_axis(dense, truth.paired[batch], axis=1))
    return np.concatenate(lists), np.concatenate(scores), np.concatenate(paired)


def _best_quality(data: NegativeFeedbackDataset, oracle: TrueDislikes, k: int) -> float:
    """The true quality of the lists that hold the items most likely disliked."""
    test, data = data.splits["test"], data.build()[2]
    total = 0.0
    for batch in _batches(data):
        items = np.broadcast_to(np.arange(data.item_num), (len(batch), data.item_num))
        p = torch.from_numpy(oracle.dislike(test.user[batch], test.time[batch], items))
        best = dense_topk(p, k, excluded_pairs(data[batch], data.exclusion)).numpy()
        total += oracle.dislike(test.user[batch], test.time[batch], best).sum()
    return total / (len(test) * k)
