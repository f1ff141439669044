"""Likes of the window and the items that dislikes are compared with, against a look at every event."""

import numpy as np
import pytest
from randomlog import events_of, random_log

from recbole_conrec.data.candidates import CandidateSources
from recbole_conrec.data.events import EXPOSURE, NEGATIVE, POSITIVE, EventLog, Instances, RowStream, Window
from recbole_conrec.data.further import FurtherTruth
from recbole_conrec.data.splits import SplitRule, first_dislikes, split_instances
from recbole_conrec.data.truth import future_items

DAYS = 2
WINDOW = Window(unit="days", length=DAYS)


def further_of(log: EventLog, part: str = "valid", seed: int = 1, items_are: np.ndarray | None = None):
    """(instances, FurtherTruth, first event of the test by user) of one part of a log, split by time."""
    rows = first_dislikes(log)
    cuts = SplitRule(by="time").cut(log, rows)
    first = np.zeros(len(log), dtype=bool)
    first[rows] = True

    def future(instances, kinds):
        mask = np.isin(log.feedback, kinds) & ((log.feedback != NEGATIVE) | first)
        return future_items(log, cuts, WINDOW, instances, RowStream(mask))

    instances = split_instances(log, rows, cuts)[part]
    sources = CandidateSources(log, np.ones(log.n_items), None, items_are)
    f = future(instances, (NEGATIVE,))
    return instances, FurtherTruth(future, sources, instances, *f, seed), cuts.test_start, f


def looked_up(log, user, t0, ends):
    """(items liked in the window, met in it without reaction, disliked in it, reacted to before t0)."""
    events = events_of(log, user)
    inside = [e for e in events if t0 <= e[2] <= t0 + DAYS * 86_400 and e[2] < ends]
    before = {i for _, i, time, feedback in events if time < t0 and feedback != EXPOSURE}
    kinds = {kind: {i for _, i, _, feedback in inside if feedback == kind} for kind in (POSITIVE, EXPOSURE, NEGATIVE)}
    return kinds[POSITIVE], kinds[EXPOSURE], kinds[NEGATIVE], before


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("part", ["valid", "test"])
def test_they_equal_a_look_at_every_event(seed, part):
    log = random_log(seed, items=60, events=900)
    instances, further, test_start, (f_ptr, f_items) = further_of(log, part)
    ptr, items = further.likes
    pairs = further.pairs
    assert pairs.shape == (len(instances), 2) and len(instances) > 15
    some = np.zeros(2, dtype=int)
    for n, (user, t0) in enumerate(zip(instances.user, instances.time, strict=True)):
        ends = test_start[user] if part == "valid" else np.inf
        liked, met, _, before = looked_up(log, user, t0, ends)
        future = set(f_items[f_ptr[n] : f_ptr[n + 1]].tolist())
        liked -= future
        assert items[ptr[n] : ptr[n + 1]].tolist() == sorted(liked)
        for column, allowed in enumerate((liked - before, met - liked - future - before)):
            assert pairs[n, column] in (allowed or {0})
            some[column] += bool(allowed)
    assert (some > 5).all()


def test_every_item_that_may_be_drawn_is_drawn_about_equally_often():
    log = EventLog.from_arrays([1] * 5, [9, 1, 2, 3, 9], [0, 1, 2, 3, 0], [-1, 1, 1, 1, -1], 2, 10)
    part = Instances.of_rows(log, first_dislikes(log))

    def future(instances, kinds):
        found = [1, 2, 3] if POSITIVE in kinds else []
        return np.array([0, len(found)]), np.array(found, dtype=np.int64)

    sources = CandidateSources(log, np.ones(10))
    empty = np.array([0, 0]), np.zeros(0, dtype=np.int64)
    drawn = [int(FurtherTruth(future, sources, part, *empty, seed).pairs[0, 0]) for seed in range(300)]
    assert set(drawn) == {1, 2, 3} and all(70 < drawn.count(item) < 130 for item in (1, 2, 3))
    assert FurtherTruth(future, sources, part, *empty).pairs[0, 1] == 0


def test_a_draw_depends_on_no_other_instance_and_on_no_internal_id(monkeypatch):
    log = random_log(5, items=60)
    further = further_of(log, "test")[1]
    whole = further.pairs
    monkeypatch.setattr("recbole_conrec.data.further._CHUNK", 3)
    np.testing.assert_array_equal(further_of(log, "test")[1].pairs, whole)
    assert not np.array_equal(further_of(log, "test", seed=2)[1].pairs, whole)
    # the same log with its items numbered in another order, hashed by the same keys
    number = np.concatenate([[0], 1 + np.random.default_rng(0).permutation(60)])
    keys = np.empty(61, dtype=np.int64)
    keys[number] = np.arange(61)
    other = EventLog(**{**{name: getattr(log, name) for name in log.__dataclass_fields__}, "item": number[log.item]})
    np.testing.assert_array_equal(further_of(other, "test", items_are=keys)[1].pairs, number[whole])


def test_data_without_exposures_or_likes_have_none():
    log = random_log(3)
    quiet = EventLog(
        **{
            **{name: getattr(log, name) for name in log.__dataclass_fields__},
            "feedback": np.minimum(log.feedback, NEGATIVE),
        }
    )
    _, further, *_ = further_of(quiet)
    assert not further.pairs.any() and further.likes[1].size == 0


def test_the_data_set_has_it(tiny_dataset):
    truth = tiny_dataset.truth("test")
    ptr, items = truth.further.likes
    liked, neutral = truth.further.pairs.T
    assert (np.diff(ptr) > 0).mean() > 0.3 and (liked > 0).mean() > 0.2 and (neutral > 0).mean() > 0.2
    one = int(np.flatnonzero(liked)[0])
    assert liked[one] in items[ptr[one] : ptr[one + 1]]
    assert truth.further.pairs is truth.further.pairs  # computed once
