import json

import numpy as np
import pytest

from recbole_conrec.tokenizer import Items, SemanticIds, parse, train
from recbole_conrec.utils.errors import UserError

WORDS = ["war", "love", "space", "dog", "night", "city", "summer", "ghost", "king", "river"]


def catalogue(n=80, seed=0):
    rng = np.random.default_rng(seed)
    return Items(["", *(" ".join(rng.choice(WORDS, 4)) + f" part{i}" for i in range(n))])


@pytest.fixture(scope="module", params=["rqkmeans", "rqvae", "latent", "extra_code"])
def ids(request):
    block = {"name": "rqvae", "sizes": 8, "rqvae": {"steps": 20}}
    block |= {
        "rqkmeans": {"name": "rqkmeans"},
        "extra_code": {"collisions": "extra_code", "sizes": 4},
        "latent": {"rqvae": {"steps": 20, "lr": 3e-4, "latent": 6, "hidden": [12]}},
    }.get(request.param, {})
    return train(parse(block), catalogue())


def test_tokens_are_level_major_and_texts_parse_back(ids):
    tokens = ids.tokens()
    assert len(tokens) == sum(ids.sizes) == len(set(tokens))
    for item in (1, 7, 80):
        named = [tokens[offset + code] for offset, code in zip(ids.level_offset, ids.codes[item], strict=True)]
        assert "".join(named) == ids.text(item)
        assert ids.parse(f"say {ids.text(item)} now").tolist() == ids.codes[item].tolist()
    assert ids.text(0) == ""
    with pytest.raises(UserError, match="no semantic ID"):
        ids.parse("<a_1><c_2>")


def test_embedding_is_the_sum_of_code_vectors_and_zero_for_padding(ids):
    expected = sum(book[code] for book, code in zip(ids.codebooks, ids.codes[5], strict=True))
    np.testing.assert_allclose(ids.embeddings([5, 0]), [expected, 0 * expected], atol=1e-6)
    assert ids.embeddings().shape == (81, ids.codebooks[0].shape[1])


def test_items_that_are_near_in_content_are_near_in_code_space():
    items = catalogue(300)
    ids = train(parse({"name": "rqkmeans", "sizes": 16}), items)
    x, y = ids.features.transform(items)[1:], ids.embeddings()[1:]
    cos = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y)]
    upper = np.triu_indices(300, 1)
    assert np.corrcoef((cos[0] @ cos[0].T)[upper], (cos[1] @ cos[1].T)[upper])[0, 1] > 0.8


def test_saved_and_loaded_ids_are_equal(ids, tmp_path):
    ids.save(tmp_path / "ids")
    loaded = SemanticIds.load(tmp_path / "ids")
    assert loaded.fingerprint == ids.fingerprint and loaded.sizes == ids.sizes
    assert loaded.collisions == ids.collisions and loaded.info == json.loads(json.dumps(ids.info))
    fresh = Items(["space dog", "never seen words", ""])
    np.testing.assert_allclose(loaded.vectors(fresh), ids.vectors(fresh), atol=1e-6)
    assert {f.suffix for f in (tmp_path / "ids").iterdir()} == {".json", ".safetensors"}


def test_damaged_or_foreign_folders_are_named(ids, tmp_path):
    with pytest.raises(UserError, match="semantic_ids.json: no such file"):
        SemanticIds.load(tmp_path)
    ids.save(tmp_path)
    (tmp_path / "semantic_ids.safetensors").write_bytes(b"cut")
    with pytest.raises(UserError, match="semantic_ids.safetensors: damaged"):
        SemanticIds.load(tmp_path)


def test_known_items_encode_to_their_own_codes_before_collisions(ids):
    codes = ids.encode(ids.vectors(catalogue())[1:])
    same = (codes == ids.codes[1:])[:, :3].all(axis=1)
    assert 1 - same.mean() == pytest.approx(ids.info["moved"]) and same.mean() > 0.5


def test_new_items_get_free_ids_and_no_old_id_changes(ids):
    fresh = Items(["space dog war night", "space dog war night", "quite unheard of", ""])
    more = ids.extend(ids.vectors(fresh))
    assert (more.codes[:81] == ids.codes).all() and more.n_items == 85 and more.sizes == ids.sizes
    assert len(np.unique(more.codes[1:], axis=0)) == 84
    assert more.fingerprint != ids.fingerprint


def test_new_items_that_share_an_id_may_do_so_when_ids_are_shared():
    shared = train(parse({"name": "rqkmeans", "sizes": 8, "collisions": "shared"}), catalogue())
    more = shared.extend(shared.vectors(catalogue())[[3, 3]])
    assert (more.codes[-2:] == shared.codes[3]).all()


@pytest.mark.slow
def test_same_seed_same_codes_other_seed_other_codes():
    for name in ("rqkmeans", "rqvae"):
        block = {"name": name, "sizes": 8, "rqvae": {"steps": 20}}
        first, again, other = (train(parse({**block, "seed": s}), catalogue()).codes for s in (1, 1, 2))
        assert (first == again).all() and (first != other).any()


def test_codes_outside_their_codebook_are_refused():
    with pytest.raises(ValueError, match="row 0"):
        SemanticIds([[0, 0], [1, 1]], [np.zeros((2, 3))] * 2)
    with pytest.raises(ValueError, match="codebook"):
        SemanticIds([[-1, -1], [1, 2]], [np.zeros((2, 3))] * 2)
