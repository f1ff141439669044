"""Intervals and tests over users and seeds: against loops, and on simulated boards whose truth is known."""

import numpy as np
import pytest
from scipy import stats

from recbole_conrec.leaderboard import estimates

BOARDS = 500


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def boards(rng, seeds: tuple[int, int], users: int, gap: float = 0.0, sd: float = 0.006, rate: float = 0.18):
    """Boards of two methods: (sums [boards, seeds, users] of each, counts [boards, users]).

    Users have their own rates and heavy-tailed numbers of instances; each run moves the rate of all users by a normal
    number of deviation ``sd``, and each user's rate a little more. The first method's true mean is higher by ``gap``.
    """
    counts = np.clip(np.ceil(rng.pareto(1.1, (BOARDS, users))), 1, 400)
    taste = rng.beta(4 * rate, 4 * (1 - rate), (BOARDS, 1, users))
    sums = []
    for runs, shift in zip(seeds, (gap, 0.0), strict=True):
        noise = rng.normal(0, sd, (BOARDS, runs, 1)) + rng.normal(0, 0.03, (BOARDS, runs, users))
        hits = rng.binomial(counts[:, None].astype(int), np.clip(taste + shift + noise, 0, 1))
        sums.append(hits.astype(float))
    return *sums, counts


# -- what a sceptic asks ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("seeds", "users"), [((3, 3), 500), ((5, 5), 900), ((2, 5), 700), ((2, 2), 900)])
def test_a_method_does_not_differ_from_itself_with_other_seeds(seeds, users, rng):
    first, second, counts = boards(rng, seeds, users)
    found = estimates.difference(first, second, counts)
    level = 0.05 + 2 * np.sqrt(0.05 * 0.95 / BOARDS)  # and the error of as many boards
    assert (found.p < 0.05).mean() <= level
    low, high = found.interval()
    np.testing.assert_array_equal((low > 0) | (high < 0), found.p < 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("sd", [0.0, 0.02])
def test_nor_where_seeds_vary_not_at_all_or_more_than_users(sd, rng):
    found = estimates.difference(*boards(rng, (5, 5), 700, sd=sd))
    assert (found.p < 0.05).mean() <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / BOARDS)


def test_users_alone_or_normal_quantiles_would_claim_too_much(rng):
    """The simulation is hard enough: what was reported once, and a plain bootstrap of both, fail it."""
    first, second, counts = boards(rng, (3, 3), 900, sd=0.012)
    of_user = (first - second).mean(axis=1)
    value = of_user.sum(axis=1) / counts.sum(axis=1)
    left = of_user - value[:, None] * counts
    users_alone = (left**2).sum(axis=1) / counts.sum(axis=1) ** 2
    assert (2 * stats.norm.sf(np.abs(value) / np.sqrt(users_alone)) < 0.05).mean() > 0.15
    means = [sums.sum(axis=2) / counts.sum(axis=1)[:, None] for sums in (first, second)]
    seeds = sum(mean.var(axis=1) / 3 for mean in means)
    assert (2 * stats.norm.sf(np.abs(value) / np.sqrt(np.maximum(users_alone, seeds))) < 0.05).mean() > 0.08


def test_a_real_difference_is_found(rng):
    found = estimates.difference(*boards(rng, (5, 5), 900, gap=0.06))
    assert (found.p < 0.05).mean() > 0.9 and (found.value > 0).mean() > 0.99


def test_intervals_of_a_mean_hold_the_truth(rng):
    """The true mean is that of a very large board: of users and runs that the simulated ones are drawn from."""
    first, _, counts = boards(rng, (5, 5), 700)
    other, *_, many = boards(np.random.default_rng(9), (5, 1), 900)
    truth = (other.sum(axis=(1, 2)) / 5 / many.sum(axis=1)).mean()
    low, high = estimates.mean(first, counts).interval(share=True)
    inside = ((low <= truth) & (truth <= high)).mean()
    assert 0.91 < inside <= 1 and (low > 0).all() and (high < 1).all()


def test_one_seed_gives_an_interval_over_users_and_no_claim(rng):
    first, second, counts = boards(rng, (1, 5), 200, gap=0.5)
    found = estimates.difference(first, second, counts)
    assert np.isnan(found.p).all() and not found.over_seeds
    assert not estimates.mean(first, counts).over_seeds and estimates.mean(second, counts).over_seeds
    alone = estimates.difference(first, second, counts, random=(False, True))  # of a method without randomness
    assert alone.over_seeds and (alone.p < 0.05).mean() > 0.9


# -- against loops ---------------------------------------------------------------------------------------------------
def test_sums_by_user(rng):
    values, user = rng.random((3, 40)), rng.integers(10, 17, 40)
    values[rng.random((3, 40)) < 0.1] = np.nan
    sums, counts = estimates.sums_by_user(values, user)
    counting = ~np.isnan(values).any(axis=0)
    for place, u in enumerate(sorted(set(user[counting]))):
        mine = counting & (user == u)
        np.testing.assert_allclose(sums[:, place], values[:, mine].sum(axis=1))
        assert counts[place] == mine.sum()


def parts(sums, counts):
    """(over users, over seeds, interaction) of the variance of a mean over S seeds, by loops."""
    seeds, users = sums.shape
    mean = sums.mean(0).sum() / counts.sum()
    without = [np.delete(sums.mean(0), u).sum() / np.delete(counts, u).sum() for u in range(users)]
    over_users = (users - 1) / users * sum((one - mean) ** 2 for one in without)
    means = [row.sum() / counts.sum() for row in sums]
    over_seeds = np.var(means, ddof=1) / seeds
    total = 0.0
    for s in range(seeds):
        for u in range(users):
            total += (sums[s, u] - sums[:, u].mean() - (means[s] - mean) * counts[u]) ** 2
    return over_users, over_seeds, total / (seeds - 1) / seeds / counts.sum() ** 2 * users / (users - 1)


def test_the_variance_of_a_difference_against_loops(rng):
    counts = rng.integers(1, 9, 12).astype(float)
    first, second = rng.random((3, 12)) * counts, rng.random((4, 12)) * counts
    found = estimates.difference(first, second, counts)
    paired, *_ = parts((first.mean(0) - second.mean(0))[None].repeat(2, 0), counts)
    seeds = [parts(sums, counts)[1:] for sums in (first, second)]
    variance = paired + sum(max(own - shared, 0) for own, shared in seeds)
    assert found.value == pytest.approx((first.mean(0).sum() - second.mean(0).sum()) / counts.sum())
    assert found.variance == pytest.approx(variance)
    users = counts.sum() ** 2 / (counts**2).sum()
    spread = paired**2 / (users - 1) + seeds[0][0] ** 2 / 2 + seeds[1][0] ** 2 / 3
    assert found.degrees == pytest.approx(variance**2 / spread)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(found.value) / np.sqrt(variance), found.degrees))


def test_the_parts_are_those_that_a_bootstrap_of_users_or_seeds_finds(rng):
    counts = rng.integers(1, 9, 60).astype(float)
    sums = rng.binomial(counts.astype(int), np.clip(0.4 + rng.normal(0, 0.1, (5, 1)), 0, 1), (5, 60)).astype(float)
    over_users, over_seeds, _ = parts(sums, counts)
    drawn = rng.integers(0, 60, (20000, 60))
    means = sums.mean(0)[drawn].sum(1) / counts[drawn].sum(1)
    assert over_users == pytest.approx(means.var(), rel=0.1)
    runs = sums.sum(1) / counts.sum()
    means = runs[rng.integers(0, 5, (20000, 5))].mean(1)
    assert over_seeds * 4 / 5 == pytest.approx(means.var(), rel=0.1)  # which is too narrow by (S - 1) / S


# -- edges -----------------------------------------------------------------------------------------------------------
def test_copies_of_a_users_instances_add_no_certainty(rng):
    values = (rng.random((3, 100)) < 0.3).astype(float)
    once = estimates.mean(*estimates.sums_by_user(values, np.arange(100)))
    ten = estimates.mean(*estimates.sums_by_user(values.repeat(10, 1), np.arange(100).repeat(10)))
    np.testing.assert_allclose(once.interval(), ten.interval())


def test_effective_users():
    assert estimates.effective(np.ones(7)) == 7
    assert estimates.effective(np.array([100.0, 1, 1])) == pytest.approx(102**2 / 10002)


def test_a_single_user_says_nothing():
    found = estimates.mean(np.array([[2.0], [3.0]]), np.array([10.0]))
    assert found.interval(share=True) == (0, 1) and found.p == pytest.approx(1)


def test_figures_that_never_change_have_intervals_of_no_width():
    counts = np.ones(50)
    for rate in (0.0, 1.0):
        found = estimates.mean(np.full((3, 50), rate), counts)
        assert found.interval(share=True) == (rate, rate)
    same = estimates.difference(np.ones((3, 50)), np.ones((3, 50)), counts)
    assert same.value == 0 and same.p == 1
