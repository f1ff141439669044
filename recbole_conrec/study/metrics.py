r"""Do the metrics order rows as the truth does? Only a simulator can tell: it knows every user's every dislike.

    true quality of a row = mean over test instances of the mean over its top K of P(u dislikes item at t0)

with the probabilities of the simulator's :class:`Oracle`, whether or not the recommender ever showed the item. HR asks
for the one item that it chose to show next, FHR for any that it chose within the window; both only approximate this.

Rows are those of a board, and references that nobody trains: *random* scores, and the truth itself under noise,
score = logit P + sigma * logistic noise. For each metric Kendall's tau (a) between its order of the
rows and the true one says how many pairs of rows it puts in the right order: (1 + tau) / 2. Users are drawn with
replacement for the intervals; the true order stays that of all users.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from recbole_conrec.data.simulation.oracle import Oracle
from recbole_conrec.evaluation.collector import outcomes
from recbole_conrec.evaluation.ranking import disliked_before, rank
from recbole_conrec.evaluation.topk import dense_topk
from recbole_conrec.leaderboard.board import Board
from recbole_conrec.leaderboard.statistics import by_user
from recbole_conrec.runs.restore import load_run
from recbole_conrec.runs.runner import run
from recbole_conrec.utils.arrays import mix, uniform
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import write_json

SIGMAS = (1.0, 4.0, 16.0)  # of the truth under noise
BATCH = 256


@dataclass(frozen=True)
class Fidelity:
    """R rows, M metrics.

    Attributes:
        rows: R names; trained: bool [R], False for the references.
        quality: float64 [R], the true one. best: the highest that any list of K could have.
        values: float64 [R, M], the metrics over all instances; names: M names.
        tau: {'all rows', 'trained rows' -> float64 [3, M]}: Kendall's tau, and its 95 % interval.
        gain: the same keys -> float64 [3, M]: tau minus that of HR, and its interval.
        instances, users: of the test.
    """

    rows: list[str]
    trained: np.ndarray
    quality: np.ndarray
    best: float
    values: np.ndarray
    names: list[str]
    tau: dict[str, np.ndarray]
    gain: dict[str, np.ndarray]
    instances: int
    users: int


class Truth:
    """The oracle of a data set, in its internal ids."""

    def __init__(self, data):
        folder = Path(data.dataset_path)
        self.oracle = Oracle.load(folder)
        self.users, self.items = (
            np.concatenate([[0], self.oracle.rows(kind, data.field2id_token[field][1:])])
            for kind, field in (("user", data.uid_field), ("item", data.iid_field))
        )

    def dislike(self, users: np.ndarray, times: np.ndarray, items: np.ndarray) -> np.ndarray:
        """P(dislike) float64 [B, L] of users [B] at times [B] and items [B, L]; 0 for the padding item."""
        found = self.oracle.dislike_probability(self.users[users], self.items[items], times)
        return np.where(items > 0, found, 0.0)


def study_metrics(board: Board, console: Console, out: Path, draws: int = 2000, seed: int = 2026) -> Fidelity:
    """Train the rows of a board (those that have no record yet) on its one simulated data set, and judge its metrics.

    Writes ``metrics-NAME.png`` and ``.json`` into ``out``. UserError for a data set without truth.
    """
    if len(board.datasets) != 1 or len(board.seeds) != 1:
        raise UserError("study metrics: give one --dataset and one seed")
    if not board.columns[0].startswith("HR@") or not any(name.startswith("FHR@") for name in board.columns):
        raise UserError(f"metrics: {', '.join(board.columns)}; the study compares with HR, so name HR first, and FHR")
    if unavailable := next((task.unavailable for task in board.tasks if task.unavailable), ""):
        raise UserError(unavailable)
    Oracle.load(board.tasks[0].config["data_path"])  # no training for data without truth
    where = {key: board.strongest[key] for key in ("data_path", "use_gpu", "gpu_id") if key in board.strongest}
    lists, found, data = {}, {}, None
    for task in (bar := tqdm(board.tasks, desc="rows", unit="row")):
        bar.set_postfix_str(task.row.name)
        options = {**task.options, "show_progress": False}
        done = load_run(run(task.row.model, task.dataset, options=options).run_dir, where)
        data, truth = data or done.data, done.data.truth("test")
        lists[task.row.name], scores = _answers(done.model, done.data.build()[2], truth, max(_topk(board)))
        found[task.row.name] = outcomes(truth, lists[task.row.name], scores, _topk(board))
    oracle, truth = Truth(data), data.truth("test")
    for name, sigma in [("random", None), *((f"truth, noise {sigma:g}", sigma) for sigma in SIGMAS)]:
        lists[name], scores = _reference(oracle, data, truth, max(_topk(board)), sigma, seed)
        found[name] = outcomes(truth, lists[name], scores, _topk(board))
    result = judge(data, oracle, lists, found, board.columns, [row.name for row in board.rows], draws, seed)
    console.print(render(result, data.dataset_name))
    out.mkdir(parents=True, exist_ok=True)
    content = {key: _plain(value) for key, value in vars(result).items()}
    write_json(out / f"metrics-{data.dataset_name}.json", {"data_fingerprint": data.fingerprint, **content})
    console.print(f"picture: {draw(result, data.dataset_name, out)}", soft_wrap=True, highlight=False)
    return result


def judge(
    data,
    oracle: Truth,
    lists: dict[str, np.ndarray],
    found: dict[str, dict[str, np.ndarray]],
    names: list[str],
    trained: list[str],
    draws: int,
    seed: int,
) -> Fidelity:
    """Compare metrics with the truth.

    Args:
        lists: row -> int64 [N, K], its top K of each test instance.
        found: row -> its outcomes by metric, float64 [N].
        names: the metrics, HR first.
        trained: the rows that are no references.
    """
    test, rows = data.splits["test"], list(lists)
    quality = np.array([oracle.dislike(test.user, test.time, lists[row]).mean() for row in rows])
    values = np.stack([np.stack([found[row][name] for name in names], axis=1) for row in rows], axis=1)  # [N, R, M]
    sums, counts = by_user(values.reshape(len(test), -1), test.user)
    rng, users = np.random.default_rng(seed), len(sums)
    times = rng.multinomial(users, np.full(users, 1 / users), draws).astype(np.float64)
    n = times @ counts
    means = np.divide(times @ sums, n, out=np.full(n.shape, np.nan), where=n > 0).reshape(draws, len(rows), len(names))
    means = np.concatenate([np.nanmean(values, axis=0)[None], means])
    is_trained = np.isin(rows, trained)
    tau, gain = {}, {}
    for label, chosen in (("all rows", np.full(len(rows), True)), ("trained rows", is_trained)):
        taus = kendall(means[:, chosen], quality[chosen])  # [1 + draws, M]
        gains = taus - taus[:, :1]
        tau[label], gain[label] = (
            np.stack([v[0], *np.nanpercentile(v[1:], (2.5, 97.5), axis=0)]) for v in (taus, gains)
        )
    best = _best_quality(data, oracle, lists[rows[0]].shape[1])
    return Fidelity(rows, is_trained, quality, best, means[0], names, tau, gain, len(test), users)


def kendall(values: np.ndarray, quality: np.ndarray) -> np.ndarray:
    """Kendall's tau (a; a tie is neither right nor wrong) of values [D, R, M] with quality [R]: float64 [D, M]."""
    first, second = np.triu_indices(len(quality), 1)
    right = np.sign(quality[first] - quality[second])[:, None]
    return (np.sign(values[:, first] - values[:, second]) * right).mean(axis=1)


def _topk(board: Board) -> list[int]:
    topk = board.strongest.get("topk", board.options["topk"])
    return topk if isinstance(topk, list) else [topk]


def _batches(data):
    return (np.arange(low, min(low + BATCH, len(data))) for low in range(0, len(data), BATCH))


def _answers(model, data, truth, k: int) -> tuple[np.ndarray, np.ndarray]:
    device = next(model.parameters()).device
    answers = [
        rank(model, data[batch].to(device), torch.from_numpy(truth.candidates[batch]).to(device), k, data)
        for batch in _batches(data)
    ]
    items, scores = zip(*answers, strict=True)
    return torch.cat(items).cpu().numpy(), torch.cat(scores).float().cpu().numpy()


def _reference(oracle: Truth, data, truth, k: int, sigma: float | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Top K and candidate scores of the truth under noise; of noise alone where sigma is None."""
    test, data = data.splits["test"], data.build()[2]
    items = np.broadcast_to(np.arange(data.item_num), (BATCH, data.item_num))
    lists, scores = [], []
    for batch in _batches(data):
        hashes = uniform(mix(seed, batch[:, None], items[: len(batch)]))
        noise = np.log(hashes + 1e-12) - np.log1p(-hashes)  # logistic
        dense = noise
        if sigma is not None:
            p = oracle.dislike(test.user[batch], test.time[batch], items[: len(batch)]).clip(1e-6, 1 - 1e-6)
            dense = np.log(p) - np.log1p(-p) + sigma * noise
        forbidden = disliked_before(data[batch], data.log)
        lists.append(dense_topk(torch.from_numpy(dense), k, forbidden).numpy())
        scores.append(np.take_along_axis(dense, truth.candidates[batch], axis=1))
    return np.concatenate(lists), np.concatenate(scores)


def _best_quality(data, oracle: Truth, k: int) -> float:
    test, data = data.splits["test"], data.build()[2]
    total = 0.0
    for batch in _batches(data):
        items = np.broadcast_to(np.arange(data.item_num), (len(batch), data.item_num))
        p = torch.from_numpy(oracle.dislike(test.user[batch], test.time[batch], items))
        best = dense_topk(p, k, disliked_before(data[batch], data.log)).numpy()
        total += oracle.dislike(test.user[batch], test.time[batch], best).sum()
    return total / (len(test) * k)


def render(one: Fidelity, name: str) -> Group:
    """Rows by true quality, then the agreement of each metric."""
    style = {
        "title_justify": "left",
        "title_style": "bold",
        "box": box.SIMPLE_HEAD,
        "show_edge": False,
        "pad_edge": False,
    }
    rows = Table(
        title=f"\n{name}: rows by true quality ({one.instances:,} instances, {one.users:,} users; the best "
        f"lists would have {one.best:.3f})",
        **style,
    )
    for column in ("row", "truth", *one.names):
        rows.add_column(column, justify="left" if column == "row" else "right")
    for n in np.argsort(-one.quality, kind="stable"):
        rows.add_row(
            one.rows[n],
            f"{one.quality[n]:.3f}",
            *(f"{value:.3f}" for value in one.values[n]),
            style=None if one.trained[n] else "dim",
        )
    taus = Table(title="\nKendall's tau with the true order [95 % interval, users drawn]", **style)
    for column in ("", *one.names):
        taus.add_column(column, justify="right" if column else "left", no_wrap=True)
    for label in one.tau:
        for what, found in ((label, one.tau[label]), ("  more than HR", one.gain[label])):
            taus.add_row(what, *(f"{value:.2f} [{low:.2f} {high:.2f}]" for value, low, high in found.T))
    return Group(rows, taus, Text(verdict(one)))


def verdict(one: Fidelity) -> str:
    """What the intervals allow to say of FHR against HR."""
    place = next(n for n, name in enumerate(one.names) if name.startswith("FHR"))
    lines = []
    for label, gain in one.gain.items():
        value, low, high = gain[:, place]
        said = (
            "is closer to the truth than"
            if low > 0
            else "is farther from it than"
            if high < 0
            else "is not told apart from"
        )
        lines.append(f"{label}: {one.names[place]} {said} {one.names[0]} ({value:+.2f}, {low:+.2f} to {high:+.2f})")
    return "\n" + "\n".join(lines)


def draw(one: Fidelity, name: str, folder: Path) -> Path:
    """The rows from the truly best to the worst: true quality, and below it each metric, which should fall with it.

    Returns the path of ``folder/metrics-NAME.png``."""
    order, place = np.argsort(-one.quality, kind="stable"), np.arange(len(one.rows))
    figure = Figure(figsize=(2 + 0.45 * len(order), 1.5 + 1.7 * (1 + len(one.names))), layout="constrained")
    axes = figure.subplots(1 + len(one.names), 1, sharex=True)
    every, trained = one.tau["all rows"][0], one.tau["trained rows"][0]
    titles = ["true quality"]
    titles += [f"{one.names[n]}: tau {every[n]:.2f}, trained {trained[n]:.2f}" for n in range(len(one.names))]
    for axis, title, values in zip(axes, titles, [one.quality, *one.values.T], strict=True):
        for chosen, colour, label in ((one.trained, "#2e86c1", "trained"), (~one.trained, "#95a5a6", "reference")):
            axis.plot(place[chosen[order]], values[order][chosen[order]], "o", color=colour, label=label)
        axis.set_title(title, fontsize=10)
        axis.grid(axis="x", alpha=0.3)
    axes[0].legend()
    names = [one.rows[n] for n in order]
    axes[-1].set_xticks(place, names, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    figure.suptitle(f"{name}: metrics beside the true quality of the rows")
    path = folder / f"metrics-{name}.png"
    figure.savefig(path, dpi=110)
    return path


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value
