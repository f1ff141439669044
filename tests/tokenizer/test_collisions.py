import itertools

import numpy as np
import pytest

from recbole_conrec.tokenizer import Items, parse, train
from recbole_conrec.tokenizer.collisions import fill, group_rows, place, resolve
from recbole_conrec.tokenizer.quantise import decode, encode
from recbole_conrec.utils.errors import UserError

UNIQUE = ("nearest_free", "sinkhorn", "extra_code")


def identical_and_others():
    """100 items with one text, 60 with their own, 10 without any."""
    others = [f"genre{i % 5} word{i} thing{i % 7}" for i in range(60)]
    return Items(["", *["the very same title"] * 100, *others, *[""] * 10])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rqkmeans", "rqvae"])
@pytest.mark.parametrize("strategy", UNIQUE)
def test_a_hundred_identical_texts_get_a_hundred_ids(strategy, name):
    options = parse({"name": name, "sizes": 8, "collisions": strategy, "rqvae": {"steps": 20}})
    ids = train(options, identical_and_others())
    assert ids.info["collision_rate_before"] > 0.5
    assert len(np.unique(ids.codes[1:], axis=0)) == 170
    for item in range(1, 171):
        assert ids.items_of(ids.codes[item]).tolist() == [item]
        assert ids.items_of(ids.text(item)).tolist() == [item]


def test_shared_keeps_collisions_and_lists_all_items_of_an_id():
    ids = train(parse({"name": "rqkmeans", "sizes": 8, "collisions": "shared"}), identical_and_others())
    assert set(ids.items_of(ids.codes[1])) >= set(range(1, 101))
    assert set(ids.items_of(ids.codes[-1])) >= set(range(161, 171))  # nothing is known of them: they share one ID
    assert ids.trie.n_leaves < 170


def random_problem(n=14, sizes=(2, 2, 4), seed=0):
    rng = np.random.default_rng(seed)
    codebooks = [rng.normal(size=(s, 3)).astype(np.float32) / (level + 1) for level, s in enumerate(sizes)]
    vectors = rng.normal(size=(n, 3)).astype(np.float32)
    return vectors, codebooks, encode(vectors, codebooks)


def test_last_level_is_resolved_at_least_cost():
    """Against every way of giving the items of one prefix codes of their own."""
    vectors, codebooks, codes = random_problem(n=3, sizes=(1, 1, 5))
    codes[:] = 0, 0, 2
    got = place(vectors, codes, codebooks, np.zeros(3, dtype=bool))

    def cost(last):
        candidate = np.column_stack([codes[:, :2], last])
        return ((vectors - decode(candidate, codebooks)) ** 2).sum()

    best = min(itertools.permutations(range(5), 3), key=cost)
    assert got[:, 2].tolist() == list(best)


def test_sinkhorn_is_the_balanced_entropic_plan_rounded():
    """Against the plan in logarithms and every way of rounding it."""
    vectors, codebooks, codes = random_problem(n=3, sizes=(1, 1, 4), seed=5)
    codes[:] = 0, 0, 2
    got = place(vectors, codes, codebooks, np.zeros(3, dtype=bool), sinkhorn=True)
    residual = vectors - codebooks[0][0] - codebooks[1][0]
    cost = ((residual[:, None] - codebooks[2]) ** 2).sum(axis=2).astype(float)
    scaled = 2 * (cost - cost.min()) / (cost.max() - cost.min()) - 1
    plan = -scaled / 0.003
    for _ in range(50):
        plan = plan - np.logaddexp.reduce(plan, axis=0) + np.log(3 / 4)
        plan = plan - np.logaddexp.reduce(plan, axis=1)[:, None]
    best = max(itertools.permutations(range(4), 3), key=lambda last: sum(plan[i, j] for i, j in enumerate(last)))
    assert got[:, 2].tolist() == list(best)


def test_full_prefixes_overflow_and_every_leaf_can_be_used():
    vectors, codebooks, codes = random_problem(n=16)
    codes[:] = 0  # all sixteen items want the same one of sixteen IDs
    got = place(vectors, codes, codebooks, np.zeros(16, dtype=bool))
    assert len(np.unique(got, axis=0)) == 16


def test_prefixes_with_room_are_left_alone():
    vectors, codebooks, codes = random_problem(n=10)
    codes = codes[np.unique(codes, axis=0, return_index=True)[1]]
    assert (place(vectors[: len(codes)], codes, codebooks, np.zeros(len(codes), dtype=bool)) == codes).all()


def test_fixed_rows_keep_their_ids_and_nobody_takes_them():
    vectors, codebooks, codes = random_problem(n=16, seed=3)
    fixed = np.arange(16) < 9
    codes[:9] = place(vectors[:9], codes[:9], codebooks, np.zeros(9, dtype=bool))
    got = place(vectors, codes, codebooks, fixed)
    assert (got[:9] == codes[:9]).all()
    assert len(np.unique(got, axis=0)) == 16


def test_more_items_than_ids_is_the_users_mistake():
    vectors, codebooks, codes = random_problem(n=17)
    with pytest.raises(UserError, match="16 IDs for 17 items"):
        resolve("nearest_free", vectors, codes, codebooks)


def test_extra_code_counts_the_items_of_an_id_in_order_and_adds_nothing_to_the_vector():
    vectors, codebooks, codes = random_problem(n=12, sizes=(2, 1, 2))
    got, books = resolve("extra_code", vectors, codes, codebooks)
    seen: dict = {}
    for row, code in zip(got, codes, strict=True):
        assert row.tolist() == [*code, seen.setdefault(tuple(code), 0)]
        seen[tuple(code)] += 1
    assert len(books[-1]) == max(seen.values()) and not books[-1].any()


def test_fill_respects_room_and_prefers_the_nearest():
    cost = np.array([[0.0, 5, 9], [1, 2, 9], [2, 3, 9], [3, 9, 1]])
    assert fill(cost, cost.argmin(axis=1), np.array([1, 1, 2])).tolist() == [0, 1, 2, 2]


def test_group_rows_numbers_ids():
    codes = np.array([[3, 1], [0, 5], [3, 1], [3, 2]])
    assert group_rows(codes).tolist() == [1, 0, 1, 2]
