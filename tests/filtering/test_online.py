"""The filter against loops over users, candidates and sets."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from recbole_conrec.filtering import NegativeFilter
from recbole_conrec.filtering import folder as layout
from recbole_conrec.filtering.index import write_index
from recbole_conrec.filtering.online import BLOCK, PredictSets
from recbole_conrec.utils.arrays import unit_rows
from recbole_conrec.utils.errors import UserError

USERS, ITEMS, DIM = 40, 90, 6


def world(seed: int = 0):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(ITEMS, DIM)).astype(np.float32)
    vectors[3] = 0  # an item of which nothing is known
    lengths = rng.integers(0, 12, USERS)
    lengths[5] = 0
    return vectors, lengths, rng.integers(0, ITEMS, lengths.sum()), rng.integers(1, 100, USERS)


def write(folder, theta=None):
    vectors, lengths, rows, activity = world()
    (folder / layout.INDEX).mkdir(parents=True)
    write_index(
        folder / layout.INDEX,
        users=[f"u{n}" for n in range(USERS)],
        items=[f"i{n}" for n in range(ITEMS)],
        vectors=vectors,
        lengths=lengths,
        rows=rows,
        activity=activity,
    )
    names = [f"index/{file.name}" for file in (folder / layout.INDEX).iterdir()]
    layout.write_manifest(folder, {"format": layout.FORMAT, "theta": theta, "files": layout.measure(folder, names)})
    return folder


def slow(user: int, item: int, size=None) -> float:
    """Best cosine, item by item; NaN without a set."""
    vectors, lengths, rows, _ = world()
    start = lengths[:user].sum()
    best = np.nan
    for other in rows[start : start + lengths[user]][:size]:
        a, b = vectors[item].astype(float), vectors[other].astype(float)
        cosine = 0.0 if not a.any() or not b.any() else a @ b / np.sqrt((a @ a) * (b @ b))
        best = np.fmax(best, cosine)
    return best


@pytest.mark.parametrize("block", [BLOCK, 50])
@pytest.mark.parametrize("size", [None, 3])
def test_scores_are_the_best_cosines(monkeypatch, block, size):
    monkeypatch.setattr("recbole_conrec.filtering.online.BLOCK", block)
    vectors, lengths, rows, _ = world()
    sets = PredictSets(unit_rows(vectors), np.concatenate([[0], np.cumsum(lengths)]), rows).cut(size)
    users, items = np.random.default_rng(1).integers(0, [[USERS], [ITEMS]], (2, 300))
    expected = np.array([slow(u, i, size) for u, i in zip(users, items, strict=True)])
    np.testing.assert_allclose(sets.pair_scores(users, items), expected, atol=2e-6)
    np.testing.assert_allclose(sets.scores(users, items[:, None])[:, 0], expected, atol=2e-6)
    grid = sets.scores(np.arange(USERS), np.tile(np.arange(ITEMS), (USERS, 1)))
    np.testing.assert_allclose(grid[users, items], expected, atol=2e-6)
    assert np.isnan(sets.scores(np.array([5, -1]), np.array([[1], [1]]))).all()
    assert np.isnan(sets.scores(np.array([0]), np.array([[-1]]))).all()


def test_one_user_many_users_and_pairs_agree(tmp_path):
    negative = NegativeFilter.load(write(tmp_path / "sets"), theta=0.5)
    items = [f"i{n}" for n in range(20)]
    keep, scores = negative.filter("u7", items)
    assert keep.tolist() == [not slow(7, n) > 0.5 for n in range(20)] and 0 < keep.sum() < 20
    both, grid = negative.filter(["u7", "u8"], [items, items])
    np.testing.assert_array_equal(grid[0], scores)
    flat, pairs = negative.filter(["u7"] * 20 + ["u8"] * 20, items * 2)
    np.testing.assert_array_equal(pairs, grid.reshape(-1))
    np.testing.assert_array_equal(flat, both.reshape(-1))
    assert negative.filter("u7", items, theta=1.0)[0].all() and negative.filter("u7", items, theta=-1)[0].sum() == 0
    with pytest.raises(UserError, match="expected one user and"):
        negative.filter(["u1", "u2"], ["i1", "i2", "i3"])


def test_unknown_ones_are_kept_and_counted(tmp_path):
    negative = NegativeFilter.load(write(tmp_path / "sets"), theta=-1.0)
    keep, scores = negative.filter(["u7", "nobody", "u5"], [["i1", "new"], ["i1", "i2"], ["i1", "i2"]])
    assert keep.tolist() == [[False, True], [True, True], [True, True]]  # u5 has no set
    assert np.isnan(scores).tolist() == [[False, True], [True, True], [True, True]]
    assert negative.counts() == {"requests": 1, "candidates": 6, "dropped": 1, "unknown_users": 1, "unknown_items": 1}


def test_threads_share_one_filter(tmp_path):
    negative = NegativeFilter.load(write(tmp_path / "sets"), theta=0.4)
    items = [f"i{n}" for n in range(-5, ITEMS)]
    expected = [negative.filter(f"u{n}", items) for n in range(USERS)]
    before = negative.counts()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: negative.filter(f"u{n % USERS}", items), range(400)))
    for n, (keep, scores) in enumerate(found):
        np.testing.assert_array_equal(keep, expected[n % USERS][0])
        np.testing.assert_array_equal(scores, expected[n % USERS][1])
    assert negative.counts() == {name: 11 * count for name, count in before.items()}


def test_groups_have_thresholds_of_their_own(tmp_path):
    theta = {"values": [-1.0, 1.0], "bounds": [50], "size": 4}
    negative = NegativeFilter.load(write(tmp_path / "sets", theta))
    activity = world()[3]
    for user in (7, 8, 9, 10, 11):
        keep, scores = negative.filter(f"u{user}", ["i1", "i2"])
        assert keep.all() == (activity[user] >= 50)
        np.testing.assert_allclose(scores, [slow(user, 1, 4), slow(user, 2, 4)], atol=2e-6)
    assert len({bool(activity[u] >= 50) for u in (7, 8, 9, 10, 11)}) == 2
    with pytest.raises(UserError, match="theta was not calibrated"):
        NegativeFilter.load(write(tmp_path / "plain")).filter("u1", ["i1"])


def test_arrays_stay_on_disk(tmp_path):
    negative = NegativeFilter.load(write(tmp_path / "sets"), theta=0.5)
    for array in (negative.sets.vectors, negative.sets.ptr, negative.sets.rows, negative.users.tokens):
        base = array
        while not isinstance(base, np.memmap):
            base = base.base
        assert base.mode == "r" and not array.flags.writeable


def test_new_items_are_added_by_the_encoder(sets_folder, trained):
    negative = NegativeFilter.load(sets_folder, theta=0.5)
    text = trained.data.item_text()
    assert negative.item_rows(["twin", "i3"]).tolist()[0] == -1
    assert negative.add_items(["twin", "i3"], [text[5], "whatever"]) == 1  # i3 is known, and stays as it is
    assert negative.add_items(["another", "twin"], [text[9], text[9]]) == 1
    ids = trained.semantic_ids
    users = np.arange(10)
    for name, row in (("twin", 5), ("another", 9)):
        nearest = ids.encode(ids.vectors(_items([text[row]])))
        vector = sum(book[code] for book, code in zip(ids.codebooks, nearest[0], strict=True))
        sets = negative.sets
        expected = [
            (unit_rows(vector[None]) @ sets.vectors[sets.rows[sets.ptr[u] : sets.ptr[u + 1]]].T).max() for u in users
        ]
        scores = negative.filter([_name(negative, u) for u in users], [name] * 10)[1]
        np.testing.assert_allclose(scores, expected, atol=2e-6)
    assert negative.counts()["unknown_items"] == 0
    with pytest.raises(UserError, match="one text or one vector"):
        negative.add_items(["x", "y"], ["only one"])


def _items(texts):
    from recbole_conrec.tokenizer import Items

    return Items(texts=texts, ids=["x"] * len(texts))


def _name(negative, row):
    return negative.users.tokens[row].decode()


def test_no_model_is_needed(tmp_path):
    """The filter works where neither RecBole nor torch, scikit-learn ... can be imported."""
    write(tmp_path / "sets")
    code = (
        "import sys\n"
        "for name in ('recbole', 'torch', 'pandas', 'pyarrow', 'sklearn', 'pydantic'): sys.modules[name] = None\n"
        "from recbole_conrec.filtering import NegativeFilter\n"
        f"negative = NegativeFilter.load({str(tmp_path / 'sets')!r}, theta=0.5)\n"
        "print(negative.filter('u7', ['i1', 'i2'])[1].tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout), [slow(7, 1), slow(7, 2)], atol=2e-6)
