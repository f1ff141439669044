"""What the test part holds for a study of the filter, and the figures of a rule that drops some of it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.metrics import roc_auc_score

from recbole_conrec.data.counts import training_dislikes
from recbole_conrec.data.events import NEGATIVE, POSITIVE, RowStream
from recbole_conrec.data.simulation.oracle import Oracle
from recbole_conrec.data.splits import TEST
from recbole_conrec.data.truth import long_tail_items
from recbole_conrec.filtering.future import future_pairs, top_lists
from recbole_conrec.filtering.online import PredictSets
from recbole_conrec.filtering.sets import moments
from recbole_conrec.runs.restore import TrainedRun
from recbole_conrec.utils.arrays import unit_rows

CATEGORIES = (1, 2, 3)  # numbers of categories that a rule blocks for a user
NO_SCORE = -2.0  # in place of NaN where scores are ordered: below every cosine
Decision = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (users, items) -> whether each is dropped


@dataclass(frozen=True)
class Judged:
    """A judgement of every future dislike [N], future like [M] and listed candidate [U, L].

    Either whether a rule drops it (bool), or its score (float32, NaN where there is none).
    """

    dislikes: np.ndarray
    likes: np.ndarray
    lists: np.ndarray


class Rule(NamedTuple):
    """A way to filter, and what it drops; size (items per set) and theta are those of the filter, if it is one."""

    name: str
    size: int | None
    theta: float | None
    dropped: Judged


class Facts:
    """What the test part holds, and measures of what a rule drops of it.

    Args:
        lists: L, candidates of each user.
        shown: number of the remaining candidates that are shown.

    Attributes:
        users: int64 [U], users with an event in the test part.
        dislikes, likes: (users, items), int64 [N] and [M] each: reactions to items that are new to the user.
        lists: int64 [U, L], candidates, best first, 0 = missing.
        populations: name -> bool [n_users].
    """

    def __init__(self, run: TrainedRun, lists: int, shown: int):
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
        self.long_tail = long_tail_items(training_dislikes(data), data.protocol.long_tail)
        self.vectors = unit_rows(run.semantic_ids.embeddings())
        self.categories = data.item_category()[0] if data.options.item_category else None
        self.truth = _true_dislike(run, self.users, self.lists, self.t0)

    def counts(self) -> dict[str, dict[str, int]]:
        """Population -> numbers of users, dislikes, likes and candidates."""
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

    def scores(self, sets: PredictSets) -> Judged:
        """The highest cosine with the user's set; the rows of the sets are users 1, 2, ... and items 1, 2, ..."""
        return Judged(
            sets.pair_scores(self.dislikes[0] - 1, self.dislikes[1] - 1),
            sets.pair_scores(self.likes[0] - 1, self.likes[1] - 1),
            np.where(self.lists > 0, sets.scores(self.users - 1, self.lists - 1), np.nan),
        )

    def references(self, sets: PredictSets) -> list[Rule]:
        """Rules to compare with: drop nothing; the predicted items themselves; the categories disliked most often.

        (A rule that drops the items disliked before would drop nothing: pairs and lists hold only unseen items.)
        """
        predicted = np.repeat(np.arange(1, len(sets.ptr)), np.diff(sets.ptr)), np.asarray(sets.rows) + 1
        rules = [
            Rule("nothing", None, None, self._each(lambda users, items: np.zeros(items.shape, dtype=bool))),
            Rule("predicted items", None, None, self._each(self._among(*predicted))),
        ]
        if self.categories is not None:
            for most in CATEGORIES:
                name = "top category" if most == 1 else f"top {most} categories"
                rules.append(Rule(name, None, None, self._each(self._in_categories(self.categories, most))))
        return rules

    def _in_categories(self, categories: np.ndarray, most: int) -> Decision:
        """Drop what belongs to one of the ``most`` categories that the user disliked most often."""
        ptr, rows = self._before
        kinds = categories[self.data.log.item[rows]]
        owner = np.repeat(np.arange(len(ptr) - 1), np.diff(ptr))
        counts = np.zeros((len(ptr) - 1, int(categories.max()) + 1), dtype=np.int64)
        np.add.at(counts, (np.repeat(owner, kinds.shape[1]), kinds.reshape(-1)), 1)
        counts[:, 0] = 0
        blocked = np.zeros(counts.shape, dtype=bool)
        np.put_along_axis(blocked, np.argsort(-counts, axis=1, kind="stable")[:, :most], True, axis=1)
        blocked &= counts > 0
        return lambda users, items: blocked[users[..., None], categories[items]].any(-1)

    def _each(self, decide: Decision) -> Judged:
        on_lists = decide(np.broadcast_to(self.users[:, None], self.lists.shape), self.lists)
        return Judged(decide(*self.dislikes), decide(*self.likes), on_lists & (self.lists > 0))

    def _among(self, users: np.ndarray, items: np.ndarray) -> Decision:
        """Drop the pairs of these users and items, [N] each."""
        n = self.data.log.n_items
        known = np.unique(users * n + items)
        return lambda u, i: np.isin(u * n + i, known)

    # ---- measures

    def measure(self, dropped: Judged, members: np.ndarray) -> dict[str, float]:
        """Figures of a rule over some users.

        Args:
            dropped: what the rule drops.
            members: bool [n_users], the users.

        Returns, NaN where there is nothing to measure: the shares of dislikes removed (``tail_removed``: of long-tail
        items), of likes lost and of candidates removed (``filter_rate``). Of what is shown then: ``coverage`` (share of
        the catalogue), ``diversity`` (mean of 1 - cosine over the pairs of a list), ``entropy`` (of categories, bits)
        and ``short`` (share of lists that have become shorter). Where the truth is known: ``truth_removed`` and
        ``truth_kept``, the mean true probability of a dislike of the removed and of the kept candidates.
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

    def auc(self, scores: Judged, members: np.ndarray) -> float:
        """Probability that a dislike of some users (bool [n_users]) scores higher than a like; a tie counts half."""
        dislikes, likes = scores.dislikes[members[self.dislikes[0]]], scores.likes[members[self.likes[0]]]
        if not len(dislikes) or not len(likes):
            return float("nan")
        disliked = np.repeat([True, False], [len(dislikes), len(likes)])
        return float(roc_auc_score(disliked, np.nan_to_num(np.concatenate([dislikes, likes]), nan=NO_SCORE)))

    def _shown(self, lists: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """The first ``shown`` items that are kept, int64 [U, shown], 0 = none left."""
        order = np.argsort(~kept, axis=1, kind="stable")[:, : self.shown]
        return np.where(np.take_along_axis(kept, order, 1), np.take_along_axis(lists, order, 1), 0)

    def _diversity(self, shown: np.ndarray) -> float:
        n = (shown > 0).sum(axis=1)
        vectors = self.vectors[shown] * (shown > 0)[..., None]
        similar = (vectors.sum(axis=1) ** 2).sum(axis=1) - (vectors**2).sum(axis=(1, 2))  # both orders of each pair
        pairs = n * (n - 1)
        return _mean(1 - similar[pairs > 0] / pairs[pairs > 0])

    def _entropy(self, shown: np.ndarray) -> float:
        if self._category_shares is None:
            return float("nan")
        share = self._category_shares[shown].sum(axis=1)
        share = share[share.sum(axis=1) > 0]
        share = share / share.sum(axis=1, keepdims=True)
        return _mean(-(share * np.log2(np.where(share > 0, share, 1))).sum(axis=1))

    @cached_property
    def _category_shares(self) -> np.ndarray | None:
        """float64 [n_items, categories]: an item's weight of 1 spread over its categories; None without categories."""
        ids = self.categories
        if ids is None:
            return None
        share = np.zeros((len(ids), int(ids.max()) + 1))
        np.add.at(share, (np.arange(len(ids))[:, None], ids), ids > 0)
        return share / np.maximum(share.sum(axis=1, keepdims=True), 1)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def _true_dislike(run: TrainedRun, users: np.ndarray, lists: np.ndarray, t0: np.ndarray) -> np.ndarray | None:
    """The true probability that each user dislikes each candidate, float64 [U, L]; None unless the log is simulated."""
    data, folder = run.data, Path(run.data.dataset_path)
    if not (folder / f"{folder.name}.truth.npz").is_file():
        return None
    oracle = Oracle.load(folder)
    item_rows = np.concatenate([[0], oracle.rows("item", data.id2token(data.iid_field, np.arange(1, data.item_num)))])
    user_rows = oracle.rows("user", data.id2token(data.uid_field, users))
    return oracle.dislike_probability(user_rows, item_rows[lists], t0[users])
