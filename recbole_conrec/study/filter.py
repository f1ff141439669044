"""``recbole-conrec study filter``: what the filter drops, how often wrongly, and what it does to variety.

Judged on the test part by two things (ours). What happened: its dislikes and likes that are news to the user; each was
shown to him by whatever filled the log. And what would be shown: for each of its users the list of a recommender that
knows likes alone (:func:`recbole_conrec.filtering.future.top_lists`), of which the first that remain are shown.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from recbole_conrec.data.events import NEGATIVE, POSITIVE, RowStream
from recbole_conrec.data.simulation.oracle import Oracle
from recbole_conrec.data.splits import TEST
from recbole_conrec.data.truth import long_tail_items
from recbole_conrec.filtering.calibrate import by_group, choose, sizes
from recbole_conrec.filtering.future import future_pairs, top_lists
from recbole_conrec.filtering.online import NegativeFilter, PredictSets, unit
from recbole_conrec.filtering.predict import predict
from recbole_conrec.filtering.sets import moments
from recbole_conrec.utils.errors import UserError

THETAS = tuple(round(0.3 + 0.05 * n, 2) for n in range(14))  # 0.30 .. 0.95
TARGETS = (0.01, 0.05, 0.1, 0.2)  # shares of likes that may be lost, for calibration
GROUPS = 3
CATEGORIES = (1, 2, 3)  # categories that a user's dislikes block


@dataclass(frozen=True)
class Dropped:
    """What a rule drops: bool of the pairs' and the lists' shapes."""

    dislikes: np.ndarray
    likes: np.ndarray
    lists: np.ndarray


@dataclass(frozen=True)
class Study:
    """Attributes:
    title: model and data.
    rows: one dict per population and rule: population, rule, size, theta, and the figures of :meth:`Facts.measure`.
    calibrated: one dict per target and kind: target, kind, theta, validation (share of likes lost), and figures.
    counts: users, dislikes, likes, candidates, by population.
    auc: probability that a dislike scores higher than a like (0.5: the scores say nothing), by population.
    size, shown: items in a Predict Set, items shown of a list.
    """

    title: str
    rows: list[dict]
    calibrated: list[dict]
    counts: dict[str, dict]
    auc: dict[str, float]
    size: int
    shown: int


def study(run, out, *, size: int = 40, lists: int = 100, shown: int = 20, overwrite: bool = False) -> Study:
    """Predict as of both cuts into ``out``/valid and /test, and measure. See :mod:`recbole_conrec.study.filter`.

    Args:
        run: TrainedRun.
        size: items in a Predict Set; halves of it are measured, too.
        lists: candidates of each user; shown: how many of those that remain are shown.
    """
    for name, value in (("lists", lists), ("shown", shown)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError(f"study filter: --{name}={value} must be a whole number of at least 1")
    out = Path(out)
    for part in ("valid", "test"):
        predict(run, out / part, at=part, size=size, overwrite=overwrite)
    valid, test = (NegativeFilter.load(out / part) for part in ("valid", "test"))
    facts = Facts(run, lists, shown)
    rules = facts.references(test.sets)
    scored = {}
    for few in sizes(size):
        scored[few] = facts.scores(test.sets.cut(few))
        rules += [("filter", few, theta, _above(scored[few], theta)) for theta in THETAS]
    rows = [
        {"population": name, "rule": rule, "size": few, "theta": theta, **facts.measure(dropped, members)}
        for name, members in facts.populations.items()
        for rule, few, theta, dropped in rules
    ]
    calibrated = [
        {"population": name, **row, **facts.measure(dropped, members)}
        for row, dropped in _calibrated(run, valid, test, facts, scored)
        for name, members in facts.populations.items()
    ]
    return Study(
        f"{run.config['row']} on {run.config['dataset']}",
        rows,
        calibrated,
        facts.counts(),
        {name: facts.auc(scored[size], members) for name, members in facts.populations.items()},
        size,
        shown,
    )


def _above(scores: Dropped, theta: float) -> Dropped:
    limit = np.float32(theta)
    return Dropped(scores.dislikes > limit, scores.likes > limit, scores.lists > limit)


def _calibrated(run, valid: NegativeFilter, test: NegativeFilter, facts: "Facts", scored: dict[int, Dropped]):
    for share in TARGETS:
        for groups in (1, GROUPS):
            chosen = choose(run, valid, "lost", share, groups)
            limit, scores = by_group(chosen, test.activity), scored[chosen["size"]]  # row r is user r + 1
            dropped = Dropped(
                scores.dislikes > limit[facts.dislikes[0] - 1],
                scores.likes > limit[facts.likes[0] - 1],
                scores.lists > limit[facts.users - 1][:, None],
            )
            lost = sum(above * n for above, n in zip(chosen["above"], chosen["n"], strict=True) if n)
            yield (
                {
                    "target": share,
                    "kind": "by activity" if groups > 1 else "global",
                    "size": chosen["size"],
                    "theta": chosen["values"],
                    "validation": lost / sum(chosen["n"]),
                },
                dropped,
            )


class Facts:
    """What the test part holds, and measures of it.

    Attributes:
        users: int64 [U], users with an event in the test part.
        dislikes, likes: (users, items), int64 [N] each.
        lists: int64 [U, L], 0 = missing.
        populations: name -> bool [n_users].
    """

    def __init__(self, run, lists: int, shown: int):
        data, log = run.data, run.data.log
        self.data, self.shown = data, shown
        in_test = data.cuts.part(log.user, log.time) == TEST
        self.users = np.unique(log.user[in_test])
        self.dislikes, self.likes = (future_pairs(data, "test", kind) for kind in (NEGATIVE, POSITIVE))
        self.lists = top_lists(data, self.users, "test", lists)
        self.t0 = moments(data, "test")
        every = np.arange(log.n_users)
        begin, end = log.start[:-1], log.first_at_or_after(every, self.t0)
        self._before = RowStream(log.feedback == NEGATIVE).csr(begin, end)
        few = np.diff(self._before[0]) < data.protocol.low_activity
        self.populations = {
            "all users": np.ones(log.n_users, dtype=bool),
            f"users with fewer than {data.protocol.low_activity} dislikes": few,
        }
        self.long_tail = long_tail_items(log, data.train_mask, data.protocol.long_tail)
        self.vectors = unit(run.semantic_ids.embeddings())
        self.categories = data.item_category()[0] if run.config["item_category"] else None
        self.truth = _true_dislike(run, self.users, self.lists, self.t0)

    def counts(self) -> dict[str, dict]:
        return {
            name: {
                "users": int(member[self.users].sum()),
                "dislikes": int(member[self.dislikes[0]].sum()),
                "likes": int(member[self.likes[0]].sum()),
                "candidates": int((self.lists[member[self.users]] > 0).sum()),
            }
            for name, member in self.populations.items()
        }

    # ---- rules

    def scores(self, sets: PredictSets) -> Dropped:
        """Best cosines instead of decisions; rows of the sets are users 1, 2, ... and items 1, 2, ..."""
        return Dropped(
            sets.pair_scores(self.dislikes[0] - 1, self.dislikes[1] - 1),
            sets.pair_scores(self.likes[0] - 1, self.likes[1] - 1),
            np.where(self.lists > 0, sets.scores(self.users - 1, self.lists - 1), np.nan),
        )

    def references(self, sets: PredictSets) -> list[tuple]:
        """(name, size, theta, Dropped): nothing; the predicted items themselves; the categories disliked most often.

        (The items disliked before would drop nothing: neither pairs nor lists hold what the user has seen.)"""
        owner = np.repeat(np.arange(len(self._before[0]) - 1), np.diff(self._before[0]))
        disliked = self.data.log.item[self._before[1]]
        predicted = np.repeat(np.arange(1, len(sets.ptr)), np.diff(sets.ptr)), np.asarray(sets.rows) + 1
        rules = [
            ("nothing", None, None, self._each(lambda users, items: np.zeros(items.shape, dtype=bool))),
            ("predicted items", None, None, self._each(self._among(*predicted))),
        ]
        if self.categories is not None:
            kinds = self.categories[disliked]
            counts = np.zeros((len(self._before[0]) - 1, int(self.categories.max()) + 1), dtype=np.int64)
            np.add.at(counts, (np.repeat(owner, kinds.shape[1]), kinds.reshape(-1)), 1)
            counts[:, 0] = 0
            order = np.argsort(-counts, axis=1, kind="stable")
            for most in CATEGORIES:
                blocked = np.zeros(counts.shape, dtype=bool)
                np.put_along_axis(blocked, order[:, :most], True, axis=1)
                blocked &= counts > 0
                name = "top category" if most == 1 else f"top {most} categories"
                rules.append(
                    (
                        name,
                        None,
                        None,
                        self._each(
                            lambda users, items, blocked=blocked: blocked[users[..., None], self.categories[items]].any(
                                -1
                            )
                        ),
                    )
                )
        return rules

    def _each(self, rule) -> Dropped:
        on_lists = rule(np.broadcast_to(self.users[:, None], self.lists.shape), self.lists)
        return Dropped(rule(*self.dislikes), rule(*self.likes), on_lists & (self.lists > 0))

    def _among(self, users, items):
        n = self.data.log.n_items
        known = np.unique(users * n + items)
        return lambda u, i: np.isin(u * n + i, known)

    # ---- measures

    def measure(self, dropped: Dropped, members: np.ndarray) -> dict[str, float]:
        """Figures of a rule over some users (bool [n_users]); NaN where there is nothing to measure.

        Returns shares of dislikes removed (``tail_removed``: of long-tail items), likes lost, candidates removed
        (``filter_rate``); of what is shown then: ``coverage`` (share of the catalogue), ``diversity`` (mean of
        1 - cosine over pairs of a list), ``entropy`` (of categories, bits), ``short`` (share of lists that are no
        longer full); and, where the truth is known, the mean true probability of a dislike of what is removed and of
        what is kept.
        """
        chosen = members[self.users]
        lists, gone = self.lists[chosen], dropped.lists[chosen]
        there = lists > 0
        dislikes, likes = members[self.dislikes[0]], members[self.likes[0]]
        tail = dislikes & self.long_tail[self.dislikes[1]]
        shown = self._shown(lists, there & ~gone)
        full = self._shown(lists, there)
        figures = {
            "dislikes_removed": _mean(dropped.dislikes[dislikes]),
            "tail_removed": _mean(dropped.dislikes[tail]),
            "likes_lost": _mean(dropped.likes[likes]),
            "filter_rate": _mean(gone[there]),
            "coverage": len(np.unique(shown[shown > 0])) / (self.data.log.n_items - 1),
            "diversity": self._diversity(shown),
            "entropy": self._entropy(shown),
            "short": _mean((shown > 0).sum(axis=1) < (full > 0).sum(axis=1)),
        }
        if self.truth is not None:
            truth = self.truth[chosen]
            figures |= {"truth_removed": _mean(truth[gone & there]), "truth_kept": _mean(truth[~gone & there])}
        return figures

    def auc(self, scores: Dropped, members: np.ndarray) -> float:
        dislikes, likes = scores.dislikes[members[self.dislikes[0]]], scores.likes[members[self.likes[0]]]
        if not len(dislikes) or not len(likes):
            return float("nan")
        ranks = rankdata(np.nan_to_num(np.concatenate([dislikes, likes]), nan=-2))
        wins = ranks[: len(dislikes)].sum() - len(dislikes) * (len(dislikes) + 1) / 2
        return float(wins / (len(dislikes) * len(likes)))

    def _shown(self, lists: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """The first ``shown`` that are kept, [U, shown], 0 = none left."""
        order = np.argsort(~kept, axis=1, kind="stable")[:, : self.shown]
        return np.where(np.take_along_axis(kept, order, 1), np.take_along_axis(lists, order, 1), 0)

    def _diversity(self, shown: np.ndarray) -> float:
        n = (shown > 0).sum(axis=1)
        vectors = self.vectors[shown] * (shown > 0)[..., None]
        similar = (vectors.sum(axis=1) ** 2).sum(axis=1) - (vectors**2).sum(axis=(1, 2))  # both orders of each pair
        pairs = n * (n - 1)
        return _mean(1 - similar[pairs > 0] / pairs[pairs > 0])

    def _entropy(self, shown: np.ndarray) -> float:
        if self.categories is None:
            return float("nan")
        share = self._category_shares[shown].sum(axis=1)
        share = share[share.sum(axis=1) > 0]
        share = share / share.sum(axis=1, keepdims=True)
        return _mean(-(share * np.log2(np.where(share > 0, share, 1))).sum(axis=1))

    @cached_property
    def _category_shares(self) -> np.ndarray:
        """float [n_items, categories]: an item's weight of 1 spread over its categories."""
        ids = self.categories
        share = np.zeros((len(ids), int(ids.max()) + 1))
        np.add.at(share, (np.arange(len(ids))[:, None], ids), ids > 0)
        return share / np.maximum(share.sum(axis=1, keepdims=True), 1)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def _true_dislike(run, users: np.ndarray, lists: np.ndarray, t0: np.ndarray) -> np.ndarray | None:
    """float [U, L] true probabilities of a dislike, of a simulated log; None for others."""
    data, folder = run.data, Path(run.config["data_path"])
    if not (folder / f"{folder.name}.truth.npz").is_file():
        return None
    oracle = Oracle.load(folder)
    item_rows = np.concatenate([[0], oracle.rows("item", data.id2token(data.iid_field, np.arange(1, data.item_num)))])
    user_rows = oracle.rows("user", data.id2token(data.uid_field, users))
    return oracle.dislike_probability(user_rows, item_rows[lists], t0[users])
