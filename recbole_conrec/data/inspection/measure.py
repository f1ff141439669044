"""``inspect``: the figures of a data set under its protocol.

:mod:`.report` shows them, :mod:`.warnings` says what may go wrong.
"""

from dataclasses import dataclass, field

import numpy as np
from sklearn.metrics import roc_auc_score

from recbole_conrec.data.counts import training_dislikes
from recbole_conrec.data.dataset import NegativeFeedbackDataset
from recbole_conrec.data.events import EXPOSURE, NEGATIVE, POSITIVE, SECONDS_A_DAY, EventLog, FeedbackStream, Instances
from recbole_conrec.data.exclusion import ExclusionRule, contradicted
from recbole_conrec.data.splits import PARTS, cuts_by_user, first_dislikes
from recbole_conrec.data.truth import is_low_activity, long_tail_items

K = 20  # length of the lists of the hit rates
RATIOS = ((0.7, 0.1, 0.2), (0.6, 0.2, 0.2), (0.4, 0.3, 0.3))  # advised for a split per user, the first that loads


@dataclass(frozen=True)
class Part:
    """Figures of one part of the data. A float is the share of its instances for which the following holds.

    Attributes:
        instances, users, items: their numbers; items are the distinct ones disliked.
        followed: another dislike follows within the window: F holds more than the next item.
        future_size: int64 [instances], the sizes of F.
        low_activity: the user has fewer negatives before t0 than LUF's limit.
        long_tail: F holds an item with fewer training negatives than LIF's limit, so the instance counts for LIF.
        unseen: the item has no event in training.
        undisliked: the item has no negative event in training.
        exposed: the exposures before t0 are enough to fill a list of candidates.
    """

    name: str
    instances: int
    users: int
    items: int
    followed: float
    future_size: np.ndarray
    low_activity: float
    long_tail: float
    unseen: float
    undisliked: float
    exposed: float


@dataclass(frozen=True)
class Inspection:
    """Figures of a data set under its protocol.

    Attributes:
        name: of the data set.
        protocol: the options that define instances, as text.
        split_by: 'time' or 'user'.
        cuts: whether the split is by given times.
        window: (unit, length).
        context, exclude: the options of these names.
        contradicted: rule of `exclude` -> the share of negative events on an item that it would have left out.
        user_ratio: a ratio by which a split per user leaves no part empty; None if there is none.
        counts: users, items, events, negatives, positives, exposures, repeated dislikes (of an item disliked before).
        per_user, per_item: {'events', 'negatives': int64 [users], [items]}.
        days: float64 [users], days from a user's first to last event.
        active_days: int64 [users], days with an event.
        span: first and last time of the log.
        gaps: int64, seconds between consecutive negatives of one user.
        tied: share of the events with the time of another event of their user.
        parts: {'train', 'valid', 'test': Part}.
        covered: share of a user's remaining dislikes that the window holds, averaged over test instances.
        popularity_hit: share of the test instances whose item is among the K most disliked in training (those that the
            user disliked before left out).
        chance_hit: the same for K items drawn at random.
        item_auc: how well an item's share of negatives in training separates test negatives from test positives; 0.5
            is chance. NaN if either is missing.
        without_text: share of the items without text; None without an .item file.
        log: the events, for the pictures.
    """

    name: str
    protocol: dict[str, str]
    split_by: str
    cuts: bool
    window: tuple[str, int | float | None]
    context: str
    exclude: ExclusionRule
    contradicted: dict[ExclusionRule, float]
    user_ratio: tuple[float, float, float] | None
    counts: dict[str, int]
    per_user: dict[str, np.ndarray]
    per_item: dict[str, np.ndarray]
    days: np.ndarray
    active_days: np.ndarray
    span: tuple[int, int]
    gaps: np.ndarray
    tied: float
    parts: dict[str, Part]
    covered: float
    popularity_hit: float
    chance_hit: float
    item_auc: float
    without_text: float | None
    log: EventLog = field(repr=False)


def inspect(dataset: NegativeFeedbackDataset) -> Inspection:
    """Compute all figures. Memory and time are linear in events."""
    log, protocol = dataset.log, dataset.protocol
    negative = log.feedback == NEGATIVE
    test = dataset.splits["test"]
    return Inspection(
        name=dataset.dataset_name,
        protocol={name: str(dataset.config[name]) for name in ("feedback", "split", "window")},
        split_by=protocol.split.by,
        cuts=protocol.split.cuts is not None,
        window=(protocol.window.unit, protocol.window.length),
        context=dataset.options.context,
        exclude=protocol.exclude,
        contradicted=contradicted(log),
        user_ratio=next((ratio for ratio in RATIOS if _loads(log, ratio)), None),
        counts={
            "users": log.n_users - 1,
            "items": log.n_items - 1,
            "events": len(log),
            "negatives": int(negative.sum()),
            "positives": int((log.feedback == POSITIVE).sum()),
            "exposures": int((log.feedback == EXPOSURE).sum()),
            "repeated dislikes": dataset.repeats,
        },
        per_user={"events": np.diff(log.start)[1:], "negatives": _count(log.user[negative], log.n_users)},
        per_item={"events": _count(log.item, log.n_items), "negatives": _count(log.item[negative], log.n_items)},
        days=_days(log),
        active_days=_active_days(log),
        span=(int(log.time.min()), int(log.time.max())),
        gaps=_gaps(log, negative),
        tied=_tied(log),
        parts={name: _part(dataset, name) for name in PARTS},
        covered=_covered(dataset, test),
        popularity_hit=_popularity_hit(dataset, test),
        chance_hit=min(1.0, K / max(log.n_items - 1, 1)),
        item_auc=_item_auc(dataset),
        without_text=_without_text(dataset),
        log=log,
    )


def _loads(log: EventLog, ratio: tuple[float, float, float]) -> bool:
    """Whether a split per user by this ratio leaves no part empty."""
    rows = first_dislikes(log)
    return len(np.unique(cuts_by_user(log, rows, ratio).part(log.user[rows], log.time[rows]))) == len(PARTS)


def _count(ids: np.ndarray, size: int) -> np.ndarray:
    return np.bincount(ids, minlength=size)[1:]


def _days(log: EventLog) -> np.ndarray:
    first, last = log.start[1:-1], log.start[2:] - 1
    return np.where(last >= first, log.time[last] - log.time[np.minimum(first, len(log) - 1)], 0) / SECONDS_A_DAY


def _active_days(log: EventLog) -> np.ndarray:
    day = log.time // SECONDS_A_DAY
    new = np.ones(len(log), dtype=bool)
    new[1:] = (log.user[1:] != log.user[:-1]) | (day[1:] != day[:-1])
    return _count(log.user[new], log.n_users)


def _gaps(log: EventLog, negative: np.ndarray) -> np.ndarray:
    user, time = log.user[negative], log.time[negative]
    return (time[1:] - time[:-1])[user[1:] == user[:-1]]


def _tied(log: EventLog) -> float:
    same = (log.user[1:] == log.user[:-1]) & (log.time[1:] == log.time[:-1])
    tied = np.zeros(len(log), dtype=bool)
    tied[1:] |= same
    tied[:-1] |= same
    return float(tied.mean())


def _part(dataset: NegativeFeedbackDataset, name: str) -> Part:
    log, protocol, part = dataset.log, dataset.protocol, dataset.splits[name]
    ptr, future = dataset.future(part, (NEGATIVE,))
    train = dataset.train_mask
    seen = np.bincount(log.item[train], minlength=log.n_items) > 0
    dislikes = training_dislikes(dataset)
    tail = np.concatenate([[0], np.cumsum(long_tail_items(dislikes, protocol.long_tail)[future])])
    shown = FeedbackStream(log, (EXPOSURE,)).count(part.begin, part.end)
    return Part(
        name=name,
        instances=len(part),
        users=len(np.unique(part.user)),
        items=len(np.unique(part.item)),
        followed=float((np.diff(ptr) > 1).mean()),
        future_size=np.diff(ptr),
        low_activity=float(is_low_activity(log, part, protocol.low_activity).mean()),
        long_tail=float((tail[ptr[1:]] > tail[ptr[:-1]]).mean()),
        unseen=float((~seen[part.item]).mean()),
        undisliked=float((dislikes[part.item] == 0).mean()),
        exposed=float((shown >= protocol.candidates.size - 1).mean()),
    )


def _covered(dataset: NegativeFeedbackDataset, part: Instances) -> float:
    """Mean over instances of |F| / number of their user's dislikes from t0 on."""
    left = dataset.log.negatives.count(part.end, dataset.log.start[part.user + 1])
    size = np.diff(dataset.future(part, (NEGATIVE,))[0])
    return float(np.minimum(size / np.maximum(left, 1), 1).mean())


def _popularity_hit(dataset: NegativeFeedbackDataset, part: Instances) -> float:
    log, counts = dataset.log, training_dislikes(dataset)
    rank = np.empty(log.n_items, dtype=np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(log.n_items)
    rank -= rank > rank[0]  # the padding item takes no place
    owner, items = dataset.exclusion.pairs(part.begin, part.end)
    owner, items = np.divmod(np.unique(owner * log.n_items + items), log.n_items)  # each item once
    ahead = rank[items] < rank[part.item][owner]
    place = rank[part.item] - np.bincount(owner[ahead], minlength=len(part))
    return float(((place < K) & (counts[part.item] > 0)).mean())


def _item_auc(dataset: NegativeFeedbackDataset) -> float:
    log, negative = dataset.log, training_dislikes(dataset)
    judged = np.bincount(log.item[dataset.train_mask & (log.feedback != EXPOSURE)], minlength=log.n_items)
    mean = negative.sum() / max(judged.sum(), 1)
    share = (negative + 5 * mean) / (judged + 5)  # drawn towards the mean as by five events
    rows = np.flatnonzero((log.time >= dataset.cuts.test_start[log.user]) & (log.feedback != EXPOSURE))
    bad = log.feedback[rows] == NEGATIVE
    if bad.all() or not bad.any():
        return float("nan")
    return float(roc_auc_score(bad, share[log.item[rows]]))


def _without_text(dataset: NegativeFeedbackDataset) -> float | None:
    if dataset.item_words is None:
        return None
    return float(np.mean([text == "" for text in dataset.item_text()[1:]]))
