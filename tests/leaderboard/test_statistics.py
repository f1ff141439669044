"""Intervals over users, and Holm's correction, against slow, obvious oracles."""

import numpy as np
import pytest

from recbole_conrec.leaderboard import statistics


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_sums_by_user(rng):
    values, user = rng.random((40, 2)), rng.integers(10, 17, 40)
    values[rng.random((40, 2)) < 0.3] = np.nan
    sums, counts = statistics.by_user(values, user)
    for place, u in enumerate(sorted(set(user))):
        np.testing.assert_allclose(sums[place], np.nansum(values[user == u], axis=0))
        np.testing.assert_array_equal(counts[place], (~np.isnan(values[user == u])).sum(axis=0))


def test_interval_of_single_instances_is_that_of_textbooks(rng):
    values = (rng.random((2000, 1)) < 0.3).astype(float)
    low, high = statistics.intervals(*statistics.by_user(values, np.arange(2000)), rng)[:, 0]
    half = 1.96 * values.std() / np.sqrt(2000)
    assert low == pytest.approx(values.mean() - half, abs=half / 5)
    assert high == pytest.approx(values.mean() + half, abs=half / 5)


def test_copies_of_a_users_instance_add_no_certainty(rng):
    values = (rng.random((100, 1)) < 0.3).astype(float)
    once = statistics.intervals(*statistics.by_user(values, np.arange(100)), np.random.default_rng(0))
    ten = statistics.intervals(
        *statistics.by_user(values.repeat(10, 0), np.arange(100).repeat(10)), np.random.default_rng(0)
    )
    np.testing.assert_allclose(once, ten)


def test_interval_against_a_loop(rng):
    values, user = rng.random((60, 1)), rng.integers(0, 12, 60)
    values[:5] = np.nan
    found = statistics.intervals(*statistics.by_user(values, user), rng, draws=4000)[:, 0]
    means = []
    for _ in range(2000):
        chosen = np.concatenate([np.flatnonzero(user == u) for u in rng.choice(np.unique(user), 12)])
        means.append(np.nanmean(values[chosen]))
    np.testing.assert_allclose(found, np.percentile(means, (2.5, 97.5)), atol=0.015)


def test_holm():
    np.testing.assert_allclose(statistics.holm([0.01, 0.04, np.nan, 0.03, 0.005]), [0.03, 0.06, np.nan, 0.06, 0.02])
    np.testing.assert_allclose(statistics.holm([0.9, 0.8]), [1, 1])
