import numpy as np
import pytest

from recbole_conrec.data.swing import SwingOptions, swing


def brute_force(users, items, n_users, n_items, alpha1, alpha2, theta, min_common):
    """The formula, term by term: float [n_items, n_items]."""
    disliked, by = [set() for _ in range(n_users)], [set() for _ in range(n_items)]
    for user, item in zip(users, items, strict=True):
        disliked[user].add(item)
        by[item].add(user)
    scores = np.zeros((n_items, n_items))
    for i in range(n_items):
        for j in range(n_items):
            common = by[i] & by[j]
            if i == j or len(common) < min_common:
                continue
            for u in common:
                for v in common - {u}:
                    weights = ((len(disliked[u]) + alpha1) * (len(disliked[v]) + alpha1)) ** -theta
                    scores[i, j] += weights / (len(disliked[u] & disliked[v]) + alpha2) / np.sqrt(len(by[j]))
    return scores


@pytest.mark.parametrize("budget", [1, 60, 1000, 2**22])
@pytest.mark.parametrize(
    "options",
    [
        {"alpha1": 15.0, "alpha2": 0.0, "theta": 0.3, "min_common": 1},
        {"alpha1": 1.0, "alpha2": 2.5, "theta": 0.7, "min_common": 6},
        {"alpha1": 0.0, "alpha2": 0.0, "theta": 0.0, "min_common": 3},
    ],
)
def test_scores_equal_the_formula(options, budget):
    rng = np.random.default_rng(3)
    n_users, n_items = 31, 23
    users, items = rng.integers(1, n_users - 2, 260), rng.integers(1, n_items - 2, 260)  # some have no events
    expected = brute_force(users, items, n_users, n_items, **options)
    found = swing(users, items, n_users, n_items, SwingOptions(top=n_items, **options), budget=budget)
    assert (expected > 0).sum() > 20
    np.testing.assert_allclose(found.matrix().toarray(), expected, rtol=1e-6, atol=1e-9)


def test_neighbours_come_best_first_and_ties_by_id():
    # Users 1 and 2 both dislike 5, 4, 3 and 2: all their scores tie.
    users, items = np.array([1, 2] * 4), np.repeat([5, 4, 3, 2], 2)
    found = swing(users, items, 3, 7, SwingOptions(top=2))
    assert found.items[found.ptr[5] : found.ptr[6]].tolist() == [2, 3]
    assert found.items[found.ptr[2] : found.ptr[3]].tolist() == [3, 4]
    rng = np.random.default_rng(0)
    users, items = rng.integers(1, 40, 500), rng.integers(1, 30, 500)
    found = swing(users, items, 40, 30, SwingOptions(top=7))
    for i in range(30):
        scores, ids = (values[found.ptr[i] : found.ptr[i + 1]] for values in (found.scores, found.items))
        assert len(ids) <= 7 and i not in ids
        assert [*zip(-scores, ids, strict=True)] == sorted(zip(-scores, ids, strict=True))


def test_one_common_user_is_no_pair():
    assert len(swing(np.array([1, 1, 2]), np.array([1, 2, 3]), 3, 4).items) == 0


def test_repeated_dislikes_and_their_order_do_not_count():
    rng = np.random.default_rng(1)
    users, items = rng.integers(1, 12, 80), rng.integers(1, 9, 80)
    once = swing(users, items, 12, 9)
    shuffled = rng.permutation(np.tile(np.arange(80), 2))
    again = swing(users[shuffled], items[shuffled], 12, 9)
    assert (once.items == again.items).all() and (once.scores == again.scores).all()


def test_caps_keep_the_latest():
    rng = np.random.default_rng(2)
    users, items = rng.integers(1, 20, 300), rng.integers(1, 30, 300)
    kept, seen = [], {}
    pairs = list(zip(users, items, strict=True))
    latest = [at for at, pair in enumerate(pairs) if pair not in pairs[at + 1 :]]
    for at in reversed(latest):  # the users' cap, then the items'
        user, item = pairs[at]
        seen["u", user] = seen.get(("u", user), 0) + 1
        if seen["u", user] <= 6:
            seen["i", item] = seen.get(("i", item), 0) + 1
            if seen["i", item] <= 4:
                kept.append(at)
    expected = swing(users[kept], items[kept], 20, 30)
    found = swing(users, items, 20, 30, SwingOptions(max_user_items=6, max_item_users=4))
    assert (found.items == expected.items).all() and (found.scores == expected.scores).all()
