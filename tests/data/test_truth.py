from types import SimpleNamespace

import numpy as np
import pytest
from randomlog import events_of, random_log

from recbole_conrec.data.counts import training_dislikes
from recbole_conrec.data.events import NEGATIVE, POSITIVE, EventLog, Instances, RowStream, Window
from recbole_conrec.data.exclusion import LEFT_OUT, Exclusion, contradicted, recommended
from recbole_conrec.data.splits import TEST, TRAIN, SplitRule, first_dislikes, split_instances
from recbole_conrec.data.truth import future_items, is_low_activity, long_tail_items

SPLITS = [SplitRule(by="user"), SplitRule(by="time"), SplitRule(by="time", cuts=[500_000, 900_000])]
WINDOWS = [
    Window(unit="days", length=2),
    Window(unit="seconds", length=30_000),
    Window(unit="events", length=3),
    Window(unit="days", length=None),
]


def cut(log, rule):
    rows = first_dislikes(log)
    cuts = rule.cut(log, rows)
    mask = np.zeros(len(log), dtype=bool)
    mask[rows] = True
    return cuts, split_instances(log, rows, cuts), mask


def in_window(window, t0, events):
    """Those of a user's events (from t0 on) that the window holds."""
    if window.length is None:
        return events
    if window.unit == "events":
        limit = events[min(window.length, len(events)) - 1][2]
    else:
        limit = t0 + window.length * (86_400 if window.unit == "days" else 1)
    return [event for event in events if event[2] <= limit]


@pytest.mark.parametrize("rule", SPLITS)
@pytest.mark.parametrize("window", WINDOWS)
def test_f_equals_a_look_at_every_event(rule, window):
    log = random_log(21)
    cuts, splits, mask = cut(log, rule)
    for part in splits.values():
        ptr, items = future_items(log, cuts, window, part, RowStream(mask))
        for n, (user, t0, item) in enumerate(zip(part.user, part.time, part.item, strict=True)):
            events = events_of(log, user)
            here = cuts.part(np.array([user]), np.array([t0]))[0]
            ends = [cuts.valid_start[user], cuts.test_start[user], np.inf]
            old = {i for _, i, time, feedback in events if time < t0 and feedback == NEGATIVE}
            new = {
                i
                for _, i, time, feedback in in_window(window, t0, [e for e in events if e[2] >= t0])
                if feedback == NEGATIVE and time < ends[here]
            }
            found = items[ptr[n] : ptr[n + 1]].tolist()
            assert found == sorted(new - old) and item in found


def test_future_positives_repeat_no_item_and_may_have_been_liked_before():
    log = EventLog.from_arrays([1] * 6, [3, 9, 3, 3, 2, 4], [0, 5, 6, 7, 8, 99], [1, -1, 1, 1, 1, 1], 2, 10)
    cuts = SplitRule(by="time", cuts=[50, 60]).cut(log, first_dislikes(log))
    ptr, items = future_items(
        log,
        cuts,
        Window(unit="days", length=7),
        Instances.of_rows(log, first_dislikes(log)),
        RowStream(log.feedback == POSITIVE),
    )
    assert ptr.tolist() == [0, 2] and items.tolist() == [2, 3]  # item 4 is after the cut


@pytest.mark.parametrize("rule", SPLITS)
def test_training_windows_show_nothing_of_the_evaluation(rule):
    log = random_log(4)
    cuts, splits, _mask = cut(log, rule)
    everything = RowStream(np.ones(len(log), dtype=bool))
    other = EventLog(**{**vars_of(log), "item": np.where(cuts.part(log.user, log.time) == TRAIN, log.item, 1)})
    for one, two in zip(
        future_items(log, cuts, Window(unit="days", length=None), splits["train"], everything),
        future_items(other, cuts, Window(unit="days", length=None), splits["train"], everything),
        strict=True,
    ):
        assert (one == two).all()
    other = EventLog(**{**vars_of(log), "item": np.where(cuts.part(log.user, log.time) < TEST, log.item, 1)})
    for one, two in zip(
        future_items(log, cuts, Window(unit="days", length=None), splits["valid"], everything),
        future_items(other, cuts, Window(unit="days", length=None), splits["valid"], everything),
        strict=True,
    ):
        assert (one == two).all()


def vars_of(log):
    return {name: getattr(log, name) for name in log.__dataclass_fields__}


@pytest.mark.parametrize("rule", LEFT_OUT)
def test_a_list_leaves_out_what_the_rule_names(rule):
    log = random_log(3)
    _, splits, _ = cut(log, SplitRule(by="user"))
    part = splits["test"]
    owner, items = Exclusion(log, rule).pairs(part.begin, part.end)
    for n, (user, t0) in enumerate(zip(part.user, part.time, strict=True)):
        past = [item for _, item, time, feedback in events_of(log, user) if time < t0 and feedback in LEFT_OUT[rule]]
        assert items[owner == n].tolist() == past
    assert owner.dtype == items.dtype == np.int64 and (np.diff(owner) >= 0).all()
    padded = Exclusion(log, rule).padded(part.begin, part.end)
    assert [line[line > 0].tolist() for line in padded] == [items[owner == n].tolist() for n in range(len(part))]
    assert log.negatives is log.negatives  # found once for all batches


def test_the_data_contradict_a_rule_where_a_dislike_is_on_an_item_that_it_left_out():
    log = random_log(11)
    shares = contradicted(log)
    for rule, kinds in LEFT_OUT.items():
        against = []
        for user in range(log.n_users):
            events = events_of(log, user)
            for _, item, time, feedback in events:
                if feedback == NEGATIVE:
                    against.append(any(i == item and t < time and f in kinds for _, i, t, f in events))
        assert shares[rule] == pytest.approx(np.mean(against))
    assert shares["disliked"] < shares["reacted"] < shares["exposed"]  # else the log tests nothing


@pytest.mark.parametrize(
    "shares, rule",
    [((0.2, 0.3, 0.4), "disliked"), ((0, 0.0005, 0.4), "reacted"), ((0, 0, 0), "exposed"), ((0, 0, 0.002), "reacted")],
)
def test_the_strictest_rule_that_the_data_hold_is_recommended(shares, rule):
    assert recommended(dict(zip(LEFT_OUT, shares, strict=True))) == rule


@pytest.mark.parametrize("fewer_than", [0, 1, 3, 50])
def test_low_activity_counts_dislikes_before_t0(fewer_than):
    log = random_log(8)
    _, splits, _ = cut(log, SplitRule(by="user"))
    part = splits["test"]
    expected = [
        sum(time < t0 and feedback == NEGATIVE for _, _, time, feedback in events_of(log, user)) < fewer_than
        for user, t0 in zip(part.user, part.time, strict=True)
    ]
    assert is_low_activity(log, part, fewer_than).tolist() == expected


def test_the_long_tail_counts_training_dislikes_only():
    log = random_log(9)
    cuts, _, _ = cut(log, SplitRule(by="time"))
    train = cuts.part(log.user, log.time) == TRAIN
    tail = long_tail_items(training_dislikes(SimpleNamespace(log=log, train_mask=train)), 4)
    for item in range(1, log.n_items):
        count = sum(log.item[r] == item and log.feedback[r] == NEGATIVE and train[r] for r in range(len(log)))
        assert tail[item] == (count < 4)
    assert not tail[0] and 0 < tail.sum() < log.n_items - 1
