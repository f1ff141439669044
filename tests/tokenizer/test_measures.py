import itertools

import numpy as np
import pytest
import scipy.sparse

from recbole_conrec.tokenizer import measures


def test_use_of_codes():
    codes = np.array([0, 0, 1, 1, 3, 3])
    assert measures.utilisation(codes, 4) == 0.75
    assert measures.perplexity(codes) == pytest.approx(3)
    assert measures.perplexity(np.zeros(5, dtype=int)) == pytest.approx(1)


def test_gini_is_the_mean_difference_over_twice_the_mean():
    counts = np.array([1, 1, 2, 8])
    pairs = [abs(a - b) for a, b in itertools.product(counts, repeat=2)]
    assert measures.gini(counts) == pytest.approx(np.mean(pairs) / (2 * counts.mean()))
    assert measures.gini(np.array([3, 3, 3])) == 0


def test_purity_counts_the_commonest_category_and_skips_items_without_one():
    prefix = np.array([0, 0, 0, 1, 1, 1])
    categories = np.array([[1, 2], [1, 0], [3, 0], [2, 0], [0, 0], [3, 2]])
    assert measures.purity(prefix, categories) == pytest.approx((2 + 2) / 5)
    dealt = [measures.chance(measures.purity, prefix, categories, rng=np.random.default_rng(s)) for s in range(50)]
    assert min(dealt) < max(dealt) <= 4 / 5


def test_pairs_of_users_are_disliked_by_one_user_and_never_an_item_with_itself():
    events = scipy.sparse.csr_matrix(np.array([[0, 1, 1, 1, 0], [0, 0, 0, 1, 1], [1, 0, 0, 0, 0]]))
    pairs, random = measures.pairs_of_users(events, 2000, np.random.default_rng(0))
    allowed = {(a, b) for row in events.toarray() for a, b in itertools.permutations(np.flatnonzero(row), 2)}
    assert {tuple(p) for p in pairs.tolist()} == allowed
    assert (random[:, 0] != random[:, 1]).all() and not {tuple(p) for p in random.tolist()} <= allowed


def test_neighbour_agreement_against_sorting():
    rng = np.random.default_rng(0)
    one = rng.normal(size=(40, 5))
    other = one + 0.8 * rng.normal(size=(40, 5))

    def near(vectors, item):
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        order = np.argsort(-(unit @ unit[item]))
        return set(order[order != item][:6].tolist())

    expected = np.mean([len(near(one, i) & near(other, i)) / 6 for i in range(40)])
    assert measures.neighbour_agreement(one, other, np.arange(40), k=6) == pytest.approx(expected)
    assert measures.neighbour_agreement(one, one, np.arange(40)) == 1


def test_neighbours_of_many_equal_items():
    assert 0 <= measures.neighbour_agreement(np.ones((30, 2)), np.ones((30, 2)), np.arange(30)) <= 1


def test_cosine_of_pairs():
    vectors = np.array([[1.0, 0], [2, 2], [0, 0]])
    got = measures.cosine(vectors, np.array([[0, 1], [1, 1], [0, 2]]))
    np.testing.assert_allclose(got, [0.5**0.5, 1, 0], atol=1e-6)


def test_spearman_sees_order_only():
    x = np.random.default_rng(0).normal(size=50)
    assert measures.spearman(x, np.exp(x)) == pytest.approx(1)
    assert measures.spearman(x, -(x**3)) == pytest.approx(-1)


def test_names_of_codes_do_not_count_between_fits():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 5, (200, 2))
    renamed = np.column_stack([rng.permutation(5)[codes[:, 0]], rng.permutation(5)[codes[:, 1]]])
    assert measures.kept_up_to_names(codes, renamed) == [1, 1]
    assert measures.kept(codes, renamed) != [1, 1]
    renamed[:50, 0] = 4 - renamed[:50, 0]
    assert 0.7 < measures.kept_up_to_names(codes, renamed)[0] < 0.9
