"""What may be known of other users at t0: counts by a loop, and nothing from t0 on moves anything."""

import numpy as np
import pytest
from randomlog import random_log

from recbole_conrec.data import rolling
from recbole_conrec.data.events import EXPOSURE, NEGATIVE, POSITIVE, SECONDS_A_DAY, EventLog
from recbole_conrec.data.rolling import RollingCounts
from recbole_conrec.data.side import SideInformation
from recbole_conrec.data.splits import SplitRule, first_dislikes, split_instances
from recbole_conrec.data.swing import SwingOptions

KINDS = ((NEGATIVE,), (NEGATIVE, EXPOSURE, POSITIVE))


@pytest.mark.parametrize("stride", [1, 7, 10_000])
def test_rolling_counts_are_those_of_a_loop(stride, monkeypatch):
    monkeypatch.setattr(rolling, "_STRIDE", stride)
    rng = np.random.default_rng(stride)
    items, times = rng.integers(1, 9, 300), rng.integers(0, 40, 300)
    counts = RollingCounts(items, times, 9)
    moments = np.array([0, 40, 17, 41, -5, 17, 3])

    def loop(chosen):
        return [[sum(1 for i, t in chosen(moment) if i == item) for item in range(9)] for moment in moments]

    events = list(zip(items, times, strict=True))
    assert counts.at(moments).tolist() == loop(lambda m: [(i, t) for i, t in events if t < m])
    assert counts.within(moments, 6).tolist() == loop(lambda m: [(i, t) for i, t in events if m - 6 <= t < m])
    assert counts.at(np.array([], dtype=np.int64)).shape == (0, 9)
    last = counts.latest(moments, 11)
    assert last.sum(axis=1).tolist() == [min(11, sum(t < m for t in times)) for m in moments]
    oldest = sorted(t for t in times if t < 17)[-11]  # of those that tie with it any may be counted
    for item in range(9):
        sure = sum(1 for i, t in events if i == item and oldest < t < 17)
        assert sure <= last[2, item] <= sure + sum(1 for i, t in events if i == item and t == oldest)


def parts(seed: int, as_of: str):
    log = random_log(seed, users=15, items=30, events=900)
    rows = first_dislikes(log)
    cuts = SplitRule(by="time").cut(log, rows)
    return log, cuts, split_instances(log, rows, cuts), side_of(log, cuts, as_of)


def side_of(log, cuts, as_of) -> SideInformation:
    train = log.time < cuts.valid_start[log.user]
    return SideInformation(log, train, int(cuts.valid_start.min()), as_of, SwingOptions(refresh=1))


def facts(side: SideInformation, t0: np.ndarray) -> dict[str, np.ndarray]:
    """Everything that SideInformation gives for some moments."""
    out = {}
    for kinds in KINDS:
        out[f"counts {kinds}"] = side.counts(kinds, t0)
        out[f"recent days {kinds}"] = side.recent(kinds, t0, days=2)
        out[f"recent events {kinds}"] = side.recent(kinds, t0, events=40)
        out[f"before {kinds}"] = side.counts_before(kinds, t0)
    near = np.zeros((len(t0), side.log.n_items, side.log.n_items))
    for those, neighbours in side.swing(t0):
        near[those] = neighbours.matrix().toarray()
    return {**out, "swing": near}


def changed(log: EventLog, late: np.ndarray, rng) -> EventLog:
    """The log with other items and feedback where ``late`` [E]."""
    item = np.where(late, rng.integers(1, log.n_items, len(log)), log.item)
    feedback = np.where(late, rng.choice([-1, 0, 1], len(log)), log.feedback)
    return EventLog.from_arrays(log.user, item, log.time, feedback, log.n_users, log.n_items)


@pytest.mark.parametrize("as_of", ["cut", "t0"])
@pytest.mark.parametrize("seed", range(3))
def test_changing_what_lies_at_or_after_t0_moves_nothing(seed, as_of):
    log, cuts, splits, side = parts(seed, as_of)
    rng = np.random.default_rng(seed)
    for part in ("valid", "test"):
        for t0 in rng.choice(np.unique(splits[part].time), 3, replace=False):
            other = side_of(changed(log, log.time >= t0, rng), cuts, as_of)
            for name, value in facts(side, np.array([t0])).items():
                assert (facts(other, np.array([t0]))[name] == value).all(), name


@pytest.mark.parametrize("seed", range(3))
def test_as_of_the_cut_nothing_after_the_training_is_read(seed):
    log, cuts, splits, side = parts(seed, "cut")
    t0 = np.unique(splits["test"].time)
    other = side_of(changed(log, log.time >= cuts.valid_start[log.user], np.random.default_rng(seed)), cuts, "cut")
    for name, value in facts(side, t0).items():
        assert (facts(other, t0)[name] == value).all(), name


def test_as_of_t0_yesterday_is_known():
    log, cuts, splits, side = parts(1, "t0")
    t0 = np.array([splits["test"].time.max()])
    yesterday = (log.time >= t0 - SECONDS_A_DAY) & (log.time < t0)
    assert yesterday.sum() > 10 and (cuts.valid_start.max() < t0 - SECONDS_A_DAY).all()  # else this tests nothing
    other = side_of(changed(log, yesterday, np.random.default_rng(0)), cuts, "t0")
    moved = {name for name, value in facts(side, t0).items() if (facts(other, t0)[name] != value).any()}
    assert {"counts (-1,)", "recent days (-1,)", "before (-1,)", "swing"} <= moved


def test_as_of_the_cut_counts_are_those_of_all_training_events():
    log, cuts, splits, side = parts(2, "cut")
    negative = (log.feedback == NEGATIVE) & (log.time < cuts.valid_start[log.user])
    t0 = splits["test"].time[:3]
    assert (side.counts((NEGATIVE,), t0) == np.bincount(log.item[negative], minlength=log.n_items)).all()
    assert (side.recent((NEGATIVE,), t0, events=10).sum(axis=1) == 10).all()
