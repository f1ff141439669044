import numpy as np
import pytest
import torch

from recbole_conrec.tokenizer.trie import Trie


def random_codes(n=200, sizes=(5, 3, 4), seed=0):
    codes = np.column_stack([np.random.default_rng(seed).integers(0, s, n) for s in sizes])
    codes[0] = -1
    return codes


def test_walking_every_state_reaches_each_id_once_in_order():
    codes = random_codes()
    trie = Trie.from_codes(codes)
    states, prefixes = torch.zeros(1, dtype=torch.long), np.zeros((1, 0), dtype=int)
    for level in range(3):
        code, child, valid = trie.children(level, states)
        assert code.shape == child.shape == valid.shape == (len(states), trie.width[level])
        prefixes = np.array(
            [
                [*p, int(c)]
                for p, cs, vs in zip(prefixes, code, valid, strict=True)
                for c, v in zip(cs, vs, strict=True)
                if v
            ]
        )
        states = child[valid]
        expected = sorted({tuple(c) for c in codes[1:, : level + 1]})
        assert [tuple(p) for p in prefixes] == expected
        assert states.tolist() == list(range(len(expected)))
    assert trie.n_leaves == len(expected)
    assert (trie.leaf_codes.numpy() == prefixes).all()


def test_leaves_and_items_are_inverse_and_shared_ids_list_items_ascending():
    codes = random_codes()
    trie = Trie.from_codes(codes)
    assert trie.item_leaf[0] == -1
    for leaf in range(trie.n_leaves):
        items = trie.leaf_items[trie.leaf_ptr[leaf] : trie.leaf_ptr[leaf + 1]].tolist()
        assert items == [i for i in range(1, len(codes)) if (codes[i] == trie.leaf_codes[leaf].numpy()).all()]
        assert all(trie.item_leaf[i] == leaf for i in items)


def test_dead_beams_have_no_children_and_leave_the_others_alone():
    trie = Trie.from_codes(random_codes())
    alive = trie.children(1, torch.tensor([[2, 0]]))
    mixed = trie.children(1, torch.tensor([[2, -1]]))
    assert not mixed[2][0, 1].any()
    assert torch.equal(mixed[2][0, 0], alive[2][0, 0]) and torch.equal(mixed[1][0, 0], alive[1][0, 0])


def test_find_separates_valid_prefixes_from_invalid_ones():
    codes = random_codes(60)
    trie = Trie.from_codes(codes)
    everything = torch.cartesian_prod(*(torch.arange(s) for s in (6, 4, 5)))  # one code too many on every level
    for length in (1, 2, 3):
        prefixes = sorted({tuple(c) for c in codes[1:, :length]})
        expected = [prefixes.index(tuple(p)) if tuple(p) in prefixes else -1 for p in everything[:, :length].tolist()]
        assert trie.find(everything[:, :length]).tolist() == expected


@pytest.mark.parametrize("n", [1, 2])
def test_tiny_and_empty_catalogues(n):
    codes = np.full((n, 3), -1)
    codes[1:] = 7
    trie = Trie.from_codes(codes)
    assert trie.n_leaves == n - 1
    assert trie.children(0, torch.zeros(1, dtype=torch.long))[2].sum() == n - 1
    assert trie.find(torch.tensor([[7, 7, 7]])).tolist() == [n - 2]


def test_deep_wide_ids_do_not_overflow():
    codes = np.random.default_rng(0).integers(0, 2**31, (50, 20))
    trie = Trie.from_codes(codes)
    assert trie.find(torch.from_numpy(codes)).tolist() == trie.item_leaf.tolist()


def test_to_moves_every_table():
    trie = Trie.from_codes(random_codes()).to("meta")
    assert {t.device.type for t in [*trie.ptr, *trie.code, trie.leaf_items, trie.item_leaf]} == {"meta"}
