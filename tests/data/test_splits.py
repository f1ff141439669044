import datetime

import numpy as np
import pytest
from randomlog import random_log

from recbole_conrec.cli import parse
from recbole_conrec.data.events import NEVER, EventLog
from recbole_conrec.data.protocol import Protocol
from recbole_conrec.data.splits import SplitRule, cuts_by_user, first_dislikes, parse_time, split_instances
from recbole_conrec.options.layers import lay
from recbole_conrec.utils.errors import UserError

RATIO = (0.7, 0.1, 0.2)


def dislikes(*times, user=1, n_users=3):
    """A log of one user's dislikes of different items at these times."""
    n = len(times)
    return EventLog.from_arrays([user] * n, range(1, n + 1), times, [-1] * n, n_users, n + 1)


def by_user(log, ratio=RATIO):
    cuts = cuts_by_user(log, first_dislikes(log), ratio)
    return int(cuts.valid_start[1]), int(cuts.test_start[1])


@pytest.mark.parametrize(
    "n,n_valid,n_test",
    [
        (2, 0, 1),
        (3, 0, 1),
        (4, 0, 1),
        (5, 1, 1),
        (8, 1, 2),
        (10, 1, 2),
        (12, 1, 2),
        (13, 1, 3),
        (15, 2, 3),
        (100, 10, 20),
    ],
)
def test_shares_of_a_user_round_to_the_nearest_and_one_is_tested(n, n_valid, n_test):
    valid, test = by_user(dislikes(*range(n)))
    assert (valid, test) == (n - n_test - n_valid, n - n_test)


def test_users_with_one_dislike_or_none_only_train():
    log = dislikes(7)
    cuts = cuts_by_user(log, first_dislikes(log), RATIO)
    assert (cuts.valid_start == NEVER).all() and (cuts.test_start == NEVER).all()


def test_a_tied_group_goes_to_the_later_part_whole():
    assert by_user(dislikes(0, 1, 2, 3, 4, 5, 6, 7, 7, 7)) == (7, 7)  # the validation event ties with those tested
    assert by_user(dislikes(0, 1, 2, 3, 4, 6, 7, 7, 9)) == (7, 7)
    assert by_user(dislikes(0, 1, 2, 3, 4, 5, 7, 7, 8, 9)) == (7, 8)  # and here with one before it
    assert by_user(dislikes(4, 4, 4)) == (4, 4)


def test_a_repeated_dislike_is_no_instance():
    log = EventLog.from_arrays([1] * 6, [5, 5, 6, 6, 5, 7], [1, 2, 3, 3, 9, 9], [-1, -1, -1, -1, -1, 1], 2, 8)
    rows = first_dislikes(log)
    assert [(log.item[r], log.time[r]) for r in rows] == [(5, 1), (6, 3)]
    assert rows.tolist() == [0, 2]  # of the two dislikes of item 6 at time 3, the first in the file


@pytest.mark.parametrize(
    "rule", [SplitRule(by="user"), SplitRule(by="time"), SplitRule(by="time", ratio=(0.5, 0.2, 0.3))]
)
@pytest.mark.parametrize("seed", range(3))
def test_parts_are_apart_in_time(rule, seed):
    log = random_log(seed)
    rows = first_dislikes(log)
    cuts = rule.cut(log, rows)
    splits = split_instances(log, rows, cuts)
    assert sorted(np.concatenate([part.row for part in splits.values()])) == rows.tolist()
    for user in range(log.n_users):
        last = -1
        for part in splits.values():
            times = part.time[part.user == user]
            assert not len(times) or times.min() > last
            last = max(last, *times, -1)


def test_cuts_by_time_are_shares_of_all_events_whatever_their_feedback():
    n = 40
    rng = np.random.default_rng(0)
    times = np.sort(rng.integers(0, 10**6, n))
    cuts = []
    for feedback in (rng.choice([-1, 0, 1], n), np.full(n, -1)):
        log = EventLog.from_arrays(rng.integers(1, 5, n), np.arange(1, n + 1), times, feedback, 5, n + 1)
        cuts.append(SplitRule(by="time").cut(log, first_dislikes(log)))
    for one in cuts:
        assert set(one.valid_start) == {times[int(0.7 * n)]} and set(one.test_start) == {times[int(0.8 * n)]}


def test_given_cuts_are_seconds_or_dates_in_utc():
    expected = 1_043_971_200
    for value in (expected, float(expected), "2003-01-31", "2003-01-31T02:00:00+02:00", datetime.date(2003, 1, 31)):
        assert parse_time(value) == expected
    log = dislikes(1, 2, 3, 4, 5)
    cuts = SplitRule(by="time", cuts=[3, 5]).cut(log, first_dislikes(log))
    splits = split_instances(log, first_dislikes(log), cuts)
    assert {name: part.time.tolist() for name, part in splits.items()} == {
        "train": [1, 2],
        "valid": [3, 4],
        "test": [5],
    }


def test_windows_know_where_their_part_ends():
    log = dislikes(*range(10))
    cuts = cuts_by_user(log, first_dislikes(log), RATIO)
    users = np.array([1, 1, 1, 2])
    assert cuts.part_end(users, np.array([0, 7, 9, 9])).tolist() == [7, 8, NEVER, NEVER]


@pytest.mark.parametrize(
    "options,word",
    [
        ({}, "split.by is needed; expected one of time, user"),
        ({"by": "usr"}, "split.by: 'usr'; expected one of time, user; did you mean 'user'"),
        ({"by": "user", "cuts": [1, 2]}, "split: cuts need `by: time`"),
        ({"by": "time", "cuts": [2, 1]}, "split.cuts: [2, 1] is not [valid, test]: validation must begin before"),
        ({"by": "time", "cuts": [1]}, "split.cuts"),
        ({"by": "time", "cuts": ["soon", 1]}, "split.cuts: 'soon' is not a time; give seconds or an ISO date"),
        ({"by": "time", "cuts": [float("nan"), 1]}, "split.cuts"),
        ({"by": "time", "cuts": [1, 1e300]}, "split.cuts"),
        ({"by": "time", "ratio": [0.8, 0.2]}, "split.ratio"),
        ({"by": "time", "ratio": [0.8, 0.1, 0.2]}, "split.ratio: [0.8, 0.1, 0.2] sums to 1.1; expected"),
        ({"by": "time", "ratio": [0.8, 0.0, 0.2]}, "split.ratio[1]: 0.0; expected a number above 0"),
        ({"by": "time", "ratio": [0.7, float("nan"), 0.2]}, "split.ratio[1]: nan; expected a finite number"),
        ({"by": "time", "ratio": "often"}, "split.ratio: 'often'; expected a list of 3 values"),
        ({"by": "time", "share": 1}, "split: unknown option 'share'; its options: by, ratio, cuts"),
    ],
)
def test_an_impossible_split_is_refused(options, word):
    with pytest.raises(UserError) as error:
        SplitRule.read(options, "split")
    assert word in str(error.value) and "\n" not in str(error.value)


def test_an_empty_part_is_refused():
    log = dislikes(1, 2, 3)
    rows = first_dislikes(log)
    with pytest.raises(UserError, match="no negative event is left for valid; the log has 3 .* from 1 to 3"):
        split_instances(log, rows, SplitRule(by="user").cut(log, rows))


@pytest.mark.parametrize(
    "cuts",
    [
        [1_043_971_200, 1_044_057_600],
        [1_043_971_200.0, "1044057600"],
        ["2003-01-31", "2003-02-01"],
        ["2003-01-31T00:00:00Z", "2003-02-01 02:00:00+02:00"],
        [datetime.date(2003, 1, 31), datetime.datetime(2003, 2, 1)],
        ["20030131", datetime.datetime(2003, 2, 1, tzinfo=datetime.timezone.utc)],
    ],
)
@pytest.mark.parametrize("others", [{}, {"by": "time"}, {"by": "time", "ratio": [0.8, 0.1, 0.1]}])
def test_cuts_can_be_given_in_every_way(cuts, others):
    rule = SplitRule.read({**others, "cuts": cuts}, "split")
    log = dislikes(1, 2)
    assert rule.by == "time" and [int(cut[1]) for cut in vars(rule.cut(log, first_dislikes(log))).values()] == [
        1_043_971_200,
        1_044_057_600,
    ]


def test_cuts_on_the_command_line():
    for cuts in ("[2003-01-31, 2003-02-01]", "['2003-01-31', 1044057600]"):
        _, options = parse([f"--split.cuts={cuts}"])
        laid = lay({"split": {"by": "time", "ratio": [0.7, 0.1, 0.2]}}, options)
        assert [*map(parse_time, Protocol.of(laid).split.cuts)] == [1_043_971_200, 1_044_057_600]


@pytest.mark.parametrize(
    "time, word",
    [(1_700_000_000_000, "ms: divide it by 1,000"), (1e300, "expected seconds"), ("17000000000", "expected seconds")],
)
def test_a_cut_that_is_in_no_year_of_events_is_named(time, word):
    with pytest.raises(UserError, match=word):
        parse_time(time)
