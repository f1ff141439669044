import numpy as np
import pytest
import torch
from counting import CUT, make_dataset, past, settings

from recbole_conrec.data.events import NEGATIVE, SECONDS_A_DAY
from recbole_conrec.model.recentpop import RecentPop
from recbole_conrec.utils.errors import UserError


def make(dataset, mix=0.0, **recent):
    return RecentPop({**settings(), "recent": recent, "mix": mix}, dataset)


def oracle(dataset, since, until):
    """Training dislikes in since <= time < until, loop by loop."""
    counts = [0] * dataset.log.n_items
    for item, time, feedback in zip(dataset.log.item, dataset.log.time, dataset.log.feedback, strict=True):
        counts[item] += bool(feedback == NEGATIVE and since <= time < until)
    return np.array(counts)


@pytest.mark.parametrize("as_of, end", [("t0", 80), ("cut", CUT)])
def test_scores_are_the_dislikes_of_the_window(as_of, end):
    dataset = make_dataset(as_of=as_of)
    lately, ever = oracle(dataset, end - 25, end), oracle(dataset, 0, end)
    assert 0 < lately.sum() < ever.sum()
    batch = past([1, 2], dataset, 80)
    found = make(dataset, unit="days", length=25 / SECONDS_A_DAY).full_sort_predict(batch)
    np.testing.assert_allclose(found.numpy(), [lately / lately.sum()] * 2, rtol=1e-6)
    mixed = make(dataset, 0.25, length=25 / SECONDS_A_DAY).full_sort_predict(batch)[1]
    expected = 0.75 * lately / lately.sum() + 0.25 * ever / ever.sum()
    np.testing.assert_allclose(mixed.numpy(), expected, rtol=1e-6)


def test_a_window_of_events_holds_so_many_dislikes():
    dataset = make_dataset(as_of="t0")
    log = dataset.log
    before = np.flatnonzero((log.feedback == NEGATIVE) & (log.time < 80))
    times = np.sort(log.time[before])
    n = next(n for n in range(10, 60) if times[-n] > times[-n - 1])  # no tie at the window's edge
    expected = np.bincount(log.item[before[log.time[before] >= times[-n]]], minlength=log.n_items) / n
    found = make(dataset, unit="events", length=n).full_sort_predict(past([1], dataset, 80))[0]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_an_empty_window_leaves_the_order_to_popularity():
    dataset = make_dataset(as_of="t0")
    model = make(dataset, 0.01, length=1 / SECONDS_A_DAY)
    quiet = next(t for t in range(20, 90) if not oracle(dataset, t - 1, t).any())
    scores = model.full_sort_predict(past([1], dataset, quiet))[0].numpy()
    ever = oracle(dataset, 0, quiet)
    np.testing.assert_allclose(scores, 0.01 * ever / ever.sum(), rtol=1e-6)
    nobody = model.full_sort_predict(past([1], dataset, 0))  # before the first event
    assert torch.equal(nobody, torch.zeros_like(nobody))


@pytest.mark.parametrize("as_of, late", [("t0", 80), ("cut", CUT)])
def test_what_happens_later_moves_nothing(as_of, late):
    dataset, other = make_dataset(as_of=as_of), make_dataset(as_of=as_of)
    changed = other.log.time >= late
    other.log.feedback[changed] = -other.log.feedback[changed]
    scores = [
        make(d, 0.1, length=30 / SECONDS_A_DAY).full_sort_predict(past([1, 2, 3], d, 80)) for d in (dataset, other)
    ]
    assert torch.equal(*scores)


def test_wrong_options_are_named():
    with pytest.raises(UserError, match="mix"):
        make(make_dataset(), 1.5)
    with pytest.raises(UserError, match=r"1\.5 events; expected a whole number"):
        make(make_dataset(), unit="events", length=1.5)
