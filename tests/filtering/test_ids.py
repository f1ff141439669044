import numpy as np
import pytest

from recbole_conrec.filtering.ids import Ids
from recbole_conrec.utils.errors import UserError


def test_finds_what_a_dict_finds(tmp_path):
    rng = np.random.default_rng(0)
    names = [f"{'x' * int(rng.integers(0, 30))}{n}" for n in range(500)] + ["ключ", "鍵", "a b", ""]
    ids = Ids.of(names, "item")
    ids.save(tmp_path, "item")
    opened = Ids.load(tmp_path, "item")
    known = {name: row for row, name in enumerate(names)}
    asked = [*rng.permutation(names), "nothing", "x" * 200, "ключи", "a", "a b "]
    expected = [known.get(name, -1) for name in asked]
    for either in (ids, opened):
        assert either.rows(asked).tolist() == expected
        assert either.rows(np.array(asked[:6]).reshape(2, 3)).tolist() == np.reshape(expected[:6], (2, 3)).tolist()
    assert opened.rows("ключ") == known["ключ"] and opened.rows([]).shape == (0,)


def test_whole_numbers_are_the_ids_they_are_written_as():
    ids = Ids.of(np.array([10, 7, 300]), "user")
    assert ids.rows([300, 7, 8]).tolist() == ids.rows(["300", "7", "8"]).tolist() == [2, 1, -1]
    assert ids.rows(["07"]).tolist() == [-1]


def test_mistakes_are_named():
    with pytest.raises(UserError, match="item 'b' occurs twice"):
        Ids.of(["a", "b", "b"], "item")
    with pytest.raises(UserError, match="expected texts or whole numbers"):
        Ids.of(["a"], "item").rows([1.5], "item")
    with pytest.raises(UserError, match="unequal length"):
        Ids.of(["a"], "item").rows([["a"], ["a", "b"]], "item")
