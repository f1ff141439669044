import numpy as np
import pytest
from randomlog import events_of, random_log

from recbole_conrec.data.events import EXPOSURE, NEGATIVE, POSITIVE, EventLog, FeedbackStream, Instances, Window
from recbole_conrec.utils.errors import UserError

DAY = 86_400


def log_of(*events, n_users=4, n_items=9):
    """Events as (user, item, time, feedback), in file order."""
    return EventLog.from_arrays(*np.array(events).T, n_users=n_users, n_items=n_items)


def test_events_are_sorted_and_ties_keep_the_files_order():
    log = log_of((2, 5, 10, -1), (1, 3, 20, 1), (2, 4, 5, 0), (1, 2, 20, -1), (1, 1, 20, 0))
    assert log.user.tolist() == [1, 1, 1, 2, 2]
    assert log.item.tolist() == [3, 2, 1, 4, 5]
    assert log.start.tolist() == [0, 0, 3, 5, 5]
    assert log.feedback.dtype == np.int8 and log.time.dtype == np.int64


def test_times_keep_every_second():
    late = 2**53 + 1  # would not survive a float, of 32 or of 64 bits
    log = log_of((1, 1, late, -1), (1, 2, late - 1, -1))
    assert log.time.tolist() == [late - 1, late]


@pytest.mark.parametrize("seed", range(3))
def test_first_at_or_after_equals_a_look_at_every_event(seed):
    log = random_log(seed)
    users = np.repeat(np.arange(log.n_users), 65)
    times = np.tile(np.arange(-2, 63) * 21_600 + seed, log.n_users)
    for user, time, found in zip(users, times, log.first_at_or_after(users, times), strict=True):
        rows = [row for row, _, at, _ in events_of(log, user) if at >= time]
        assert found == (rows[0] if rows else log.start[user + 1])


def test_a_window_of_days_includes_its_last_second():
    log = log_of((1, 1, 0, -1), (1, 2, 7 * DAY, -1), (1, 3, 7 * DAY + 1, -1), (2, 4, 3, -1))
    window = Window(unit="days", length=7)
    end = window.end(log, np.array([1]), np.array([0]), np.array([0]))
    assert end.tolist() == [2]
    assert Window(unit="seconds", length=7 * DAY + 1).end(
        log, np.array([1]), np.array([0]), np.array([0])
    ).tolist() == [3]


def test_a_window_of_events_counts_all_feedback_and_does_not_cut_ties():
    log = log_of((1, 1, 5, -1), (1, 2, 6, 0), (1, 3, 7, 1), (1, 4, 7, -1), (1, 5, 7, -1), (1, 6, 9, -1), (2, 1, 0, -1))
    one = np.array([1])

    def end(length):
        return Window(unit="events", length=length).end(log, one, np.array([5]), np.array([0])).tolist()

    assert [end(n) for n in (1, 2, 3, 4, 5, 6, 60)] == [[1], [2], [5], [5], [5], [6], [6]]


def test_an_unbounded_and_an_empty_window():
    log = log_of((1, 1, 5, -1), (1, 2, 60, 0), (3, 1, 0, 1))
    users, t0 = np.array([1, 2, 3]), np.array([61, 0, 1])
    begin = log.first_at_or_after(users, t0)
    for window in (
        Window(unit="days", length=1),
        Window(unit="seconds", length=9),
        Window(unit="events", length=4),
        Window(unit="events", length=None),
    ):
        assert window.end(log, users, t0, begin).tolist() == begin.tolist()
        back = window.begin(log, np.array([2]), np.array([9]), np.array([2]))
        assert back.tolist() == [2]  # user 2 has no events
    assert Window(unit="days", length=None).begin(log, np.array([1]), np.array([61]), np.array([2])).tolist() == [0]


@pytest.mark.parametrize("unit,length", [("days", 2), ("days", 0.5), ("seconds", 50_000), ("events", 4)])
def test_windows_equal_a_look_at_every_event(unit, length):
    log = random_log(5)
    instances = Instances.of_rows(log, np.flatnonzero(log.feedback == NEGATIVE))
    window = Window(unit=unit, length=length)
    ends = window.end(log, instances.user, instances.time, instances.end)
    begins = window.begin(log, instances.user, instances.time, instances.end)
    seconds = None if unit == "events" else length * (DAY if unit == "days" else 1)
    for user, t0, begin, end in zip(instances.user, instances.time, begins, ends, strict=True):
        events = events_of(log, user)
        past, future = [e for e in events if e[2] < t0], [e for e in events if e[2] >= t0]
        if seconds is None:
            limit = future[min(length, len(future)) - 1][2]
            inside, before = [e for e in future if e[2] <= limit], past[-length:]
        else:
            inside = [e for e in future if e[2] <= t0 + seconds]
            before = [e for e in past if e[2] >= t0 - seconds]
        assert end - log.first_at_or_after(np.array([user]), np.array([t0]))[0] == len(inside)
        assert len(past) - (begin - log.start[user]) == len(before)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"unit": "weeks", "length": 1}, "window.unit: 'weeks'; expected one of days, seconds, events"),
        ({"unit": "days"}, "window.length is needed"),
        ({"unit": "days", "length": 0}, "window.length: 0; expected a number above 0 or null"),
        ({"unit": "days", "length": -1}, "window.length: -1"),
        ({"unit": "events", "length": 2.5}, "window: 2.5 events; expected a whole number of events"),
        ({"unit": "days", "length": "7"}, "window.length: '7'"),
        ({"unit": "days", "length": True}, "window.length: True"),
        ({"unit": "days", "length": float("nan")}, "window.length: nan"),
        ({"unit": "days", "length": float("inf")}, "window.length: inf"),
        ({"unit": "days", "length": 1e300}, "window: 1e+300 days is longer than any log"),
        ({"unit": "events", "length": 10**400}, "is longer than any log; give null for no limit"),
        ({"unit": "days", "lenght": 3}, "window: unknown option 'lenght'; did you mean 'length'"),
    ],
)
def test_an_impossible_window_is_refused(options, words):
    with pytest.raises(UserError) as error:
        Window.read(options, "window")
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("kinds", [(NEGATIVE,), (NEGATIVE, POSITIVE), (EXPOSURE,), (NEGATIVE, EXPOSURE, POSITIVE)])
@pytest.mark.parametrize("max_len", [1, 3, 50])
def test_histories_equal_a_look_at_every_event(kinds, max_len):
    log = random_log(11)
    instances = Instances.of_rows(log, np.flatnonzero(log.feedback == NEGATIVE))
    stream = FeedbackStream(log, kinds)
    rows, lengths = stream.last(instances.begin, instances.end, max_len)
    ptr, flat = stream.csr(instances.begin, instances.end)
    assert rows.shape == (len(instances), max_len)
    for n, (user, t0) in enumerate(zip(instances.user, instances.time, strict=True)):
        past = [row for row, _, time, feedback in events_of(log, user) if time < t0 and feedback in kinds]
        shown = past[-max_len:]
        assert rows[n].tolist() == shown + [-1] * (max_len - len(shown)) and lengths[n] == len(shown)
        assert flat[ptr[n] : ptr[n + 1]].tolist() == past
    assert (stream.count(instances.begin, instances.end) == np.diff(ptr)).all()


def test_a_stream_without_events_gives_empty_histories():
    log = log_of((1, 1, 5, -1), (1, 2, 60, -1))
    rows, lengths = FeedbackStream(log, (POSITIVE,)).last(np.array([0]), np.array([2]), 3)
    assert rows.tolist() == [[-1, -1, -1]] and lengths.tolist() == [0]
