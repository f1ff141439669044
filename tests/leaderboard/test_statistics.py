"""Statistics against slow, obvious oracles."""

import itertools

import numpy as np
import pytest

from recbole_conrec.leaderboard import standings, statistics
from recbole_conrec.leaderboard.board_options import Method
from recbole_conrec.leaderboard.standings import Line


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


def test_randomisation_against_all_swaps(rng):
    differences = rng.normal(0.4, 1, (10, 2))
    found = statistics.randomisation(differences, rng)
    for column in range(2):
        seen = abs(differences[:, column].sum())
        reached = [
            abs(np.dot(signs, differences[:, column])) >= seen - 1e-9 for signs in itertools.product((-1, 1), repeat=10)
        ]
        assert found[column] == pytest.approx(np.mean(reached), abs=0.02)


def test_randomisation_keeps_its_level(rng):
    p = statistics.randomisation(rng.normal(0, 1, (80, 600)), rng, draws=1000)
    assert 0.02 < (p < 0.05).mean() < 0.09


def test_methods_that_agree_do_not_differ(rng):
    assert statistics.randomisation(np.zeros((30, 1)), rng)[0] == 1


def test_holm():
    np.testing.assert_allclose(statistics.holm([0.01, 0.04, np.nan, 0.03, 0.005]), [0.03, 0.06, np.nan, 0.06, 0.02])
    np.testing.assert_allclose(statistics.holm([0.9, 0.8]), [1, 1])


def lines(**outcomes) -> dict[str, Line]:
    made = {
        name: Line(Method(name=name), outcomes={"HR@5": np.array(values, dtype=float)})
        for name, values in outcomes.items()
    }
    n = len(next(iter(made.values())).outcomes["HR@5"][0])
    standings._fill(list(made.values()), ["HR@5"], np.arange(n), seed=0)
    return made


def test_best_second_and_mark():
    weak, good = np.arange(200) % 4 == 0, np.arange(200) % 4 < 2
    close = good.copy()
    close[0] = False
    made = lines(a=[weak, weak], b=[good, good], c=[close, close])
    assert [made[name].cells["HR@5"].rank for name in "abc"] == [0, 1, 2]
    assert not made["b"].cells["HR@5"].marked  # c is too close
    assert made["b"].cells["HR@5"].versus == "c" and made["a"].cells["HR@5"].versus == "b"
    assert made["a"].cells["HR@5"].p < 0.05 and not made["a"].cells["HR@5"].marked  # worse is no merit
    assert lines(a=[weak], b=[good])["b"].cells["HR@5"].marked


def test_mean_and_deviation_over_seeds():
    cell = lines(a=[[1, 0, 0, 0], [1, 1, 1, 0]], b=[[0] * 4])["a"].cells["HR@5"]
    assert cell.mean == 0.5 and cell.sd == pytest.approx(np.std([0.25, 0.75], ddof=1))


def test_few_instances_are_never_best():
    made = lines(a=[[1.0] * 29 + [np.nan] * 10], b=[[0.0, 1.0] * 19 + [0.0]], c=[[0.0] * 38 + [1.0]])
    assert made["a"].cells["HR@5"].few and made["a"].cells["HR@5"].rank == 0 and made["a"].cells["HR@5"].p is None
    assert made["b"].cells["HR@5"].rank == 1 and made["b"].cells["HR@5"].versus == "c"
