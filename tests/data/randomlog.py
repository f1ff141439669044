"""Random logs with ties, repeated dislikes and quiet users, and the obvious slow way to look into a log."""

import numpy as np

from recbole_conrec.data.events import EventLog


def random_log(seed: int, *, users: int = 12, items: int = 25, events: int = 400, moments: int = 60) -> EventLog:
    """User ids 1..users (the last one has no events), item ids 1..items, times 0..moments-1 in steps of 6 hours."""
    rng = np.random.default_rng(seed)
    return EventLog.from_arrays(
        user=rng.integers(1, users, events),
        item=rng.integers(1, items + 1, events),
        time=rng.integers(0, moments, events) * 21_600,
        feedback=rng.choice([-1, 0, 1], events, p=[0.35, 0.3, 0.35]),
        n_users=users + 1,
        n_items=items + 1,
    )


def events_of(log: EventLog, user: int) -> list[tuple[int, int, int, int]]:
    """(row, item, time, feedback) of one user, by looking at every event."""
    return [
        (row, int(log.item[row]), int(log.time[row]), int(log.feedback[row]))
        for row in range(len(log))
        if log.user[row] == user
    ]
