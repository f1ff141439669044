import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

from recbole_conrec.tokenizer import Items, SemanticIds, features, parse, train
from recbole_conrec.tokenizer.behaviour import Behaviour, BehaviourOptions
from recbole_conrec.tokenizer.encoders import read_encoders
from recbole_conrec.tokenizer.neighbourhood import Neighbourhood, NeighbourhoodOptions
from recbole_conrec.tokenizer.tfidf import Tfidf, TfidfOptions
from recbole_conrec.tokenizer.vectors_file import FileOptions, VectorsFile
from recbole_conrec.utils.errors import UserError

TEXTS = ["", "red fox", "red wolf", "blue whale", "", "blue shark", "red fox", "green frog pond", "green toad pond"]


def cos(vectors):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)
    return unit @ unit.T


def test_tfidf_puts_texts_that_share_words_together_and_knows_nothing_of_empty_ones():
    encoder = Tfidf(TfidfOptions(dim=4))
    vectors = encoder.fit(Items(TEXTS))
    assert vectors.shape == (9, 4) and not vectors[[0, 4]].any()
    similarity = cos(vectors)
    assert similarity[1, 6] == pytest.approx(1, abs=1e-5)
    assert similarity[7, 8] > similarity[7, 3] + 0.5
    assert not encoder.transform(Items(["words nobody knows"])).any()


def test_tfidf_of_all_words_is_the_textbook_formula():
    """(1 + ln tf) * (1 + ln((1 + n) / (1 + df)))"""
    encoder = Tfidf(TfidfOptions(dim=100))
    vectors = encoder.fit(Items(["", "a a b", "b c"]))
    idf = {"a": 1 + np.log(3 / 2), "b": 1.0, "c": 1 + np.log(3 / 2)}
    expected = np.array([(1 + np.log(2)) * idf["a"], idf["b"], 0])
    np.testing.assert_allclose(vectors[1], expected / np.linalg.norm(expected), rtol=1e-5)


def test_tfidf_survives_as_json_and_arrays():
    encoder = Tfidf(TfidfOptions(dim=4, analyzer="char_wb", ngrams=[2, 3]))
    encoder.fit(Items(TEXTS))
    state, arrays = encoder.state()
    again = Tfidf.from_state(json.loads(json.dumps(state)), arrays)
    fresh = Items(["red toad", ""])
    np.testing.assert_allclose(again.transform(fresh), encoder.transform(fresh), atol=1e-6)


def test_texts_without_words_are_an_error():
    with pytest.raises(UserError, match="no item has a text"):
        Tfidf(TfidfOptions()).fit(Items(["", " "]))
    with pytest.raises(UserError, match="contain no words"):
        Tfidf(TfidfOptions()).fit(Items(["", "!!! ???"]))


def vectors_file(path, ids=None):
    return VectorsFile(FileOptions(path=str(path), ids=None if ids is None else str(ids)))


def events(pairs, users=6, items=6):
    user, item = np.array(pairs).T
    return scipy.sparse.csr_matrix((np.ones(len(pairs), dtype=np.int64), (user, item)), (users, items))


def test_behaviour_puts_items_with_the_same_users_together_and_cold_ones_nowhere():
    negative = events([(1, 1), (2, 1), (1, 2), (2, 2), (3, 3), (4, 3), (3, 4), (5, 4)])
    items = Items([""] * 6, interactions={"negative": negative, "positive": negative * 0})
    encoder = Behaviour(BehaviourOptions(dim=3))
    vectors = encoder.fit(items)
    assert not vectors[[0, 5]].any()
    assert cos(vectors)[1, 2] == pytest.approx(1, abs=1e-4) and abs(cos(vectors)[1, 3]) < 1e-4
    again = Behaviour.from_state(*encoder.state())
    np.testing.assert_allclose(again.transform(items), vectors, atol=1e-6)
    assert again.transform(Items(["new"])).shape == (1, 3)


def test_liking_and_disliking_an_item_are_different_facts():
    one, other = events([(1, 1), (2, 1), (3, 3)]), events([(1, 2), (2, 2), (3, 4)])
    apart = Behaviour(BehaviourOptions(dim=4)).fit(Items([""] * 6, interactions={"negative": one, "positive": other}))
    same = Behaviour(BehaviourOptions(dim=3, feedback="negative")).fit(
        Items([""] * 6, interactions={"negative": one + other})
    )
    assert cos(same)[1, 2] == pytest.approx(1, abs=1e-4) and abs(cos(apart)[1, 2]) < 1e-4


def test_neighbourhood_is_ppmi_of_what_lies_within_the_window():
    user = np.array([1, 1, 1, 1, 2, 2, 2, 3])
    item = np.array([1, 2, 1, 3, 4, 2, 5, 3])
    items = Items([""] * 7, sequences=(user, item))
    encoder = Neighbourhood(NeighbourhoodOptions(dim=6, window=2))
    vectors = encoder.fit(items)
    counts = np.zeros((7, 7))
    for i in range(8):
        for j in range(8):
            if i != j and user[i] == user[j] and abs(i - j) <= 2 and item[i] != item[j]:
                counts[item[i], item[j]] += 1
    total = counts.sum(axis=1)
    smooth = total**0.75
    with np.errstate(divide="ignore", invalid="ignore"):
        ppmi = np.nan_to_num(np.maximum(np.log(counts * smooth.sum() / np.outer(total, smooth)), 0))
    np.testing.assert_allclose(vectors @ vectors.T, ppmi @ ppmi.T, atol=1e-5)  # all dimensions are kept
    assert not vectors[[0, 6]].any() and vectors[3].any()
    again = Neighbourhood.from_state(*encoder.state())
    np.testing.assert_array_equal(again.transform(items), vectors)
    assert again.transform(Items(["new"])).tolist() == [[0.0] * 6]


def test_neighbourhood_without_sequences_is_an_error():
    with pytest.raises(UserError, match="needs the training events"):
        Neighbourhood(NeighbourhoodOptions()).fit(Items(["", "a"]))
    with pytest.raises(UserError, match="nothing to learn from"):
        Neighbourhood(NeighbourhoodOptions()).fit(Items([""] * 3, sequences=(np.array([1, 2]), np.array([1, 2]))))


def test_behaviour_without_events_is_an_error():
    with pytest.raises(UserError, match="needs the training events"):
        Behaviour(BehaviourOptions()).fit(Items(["", "a"]))
    with pytest.raises(UserError, match="nothing to learn from"):
        nothing = events([(1, 1)]) * 0
        Behaviour(BehaviourOptions()).fit(Items([""] * 6, interactions={"negative": nothing, "positive": nothing}))


@pytest.mark.parametrize("kind", ["npy", "safetensors"])
def test_vectors_of_a_file_are_found_by_id(tmp_path, kind):
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2) + 1
    path = tmp_path / f"v.{kind}"
    np.save(path, vectors) if kind == "npy" else save_file({"vectors": vectors}, path)
    (tmp_path / "ids.txt").write_text("7\nx9\n3\n")
    got = vectors_file(path=path, ids=tmp_path / "ids.txt").fit(Items([""] * 4, ids=["[PAD]", "3", "absent", "7"]))
    assert got.tolist() == [[0, 0], [5, 6], [0, 0], [1, 2]]


def test_whole_number_ids_may_lie_beside_the_vectors(tmp_path):
    save_file({"vectors": np.eye(2, dtype=np.float32), "ids": np.array([12, 5])}, tmp_path / "v.safetensors")
    got = vectors_file(path=tmp_path / "v.safetensors").fit(Items([""] * 2, ids=["[PAD]", "5"]))
    assert got.tolist() == [[0, 0], [0, 1]]


@pytest.mark.parametrize(
    ("vectors", "ids", "message"),
    [
        ([[1.0, 2]], "a\nb", r"expected vectors \[2, dim\]"),
        ([[1.0, 2], [3, 4]], "a\na", "'a' occurs twice"),
        ([[1.0, 2], [3, np.nan]], "a\nb", "item 'b'"),
        ([[1.0, 2], [3, 4]], "c\nd", "none of the data set's items"),
        ([[1.0, 2], [3, 4]], None, "no such file"),
    ],
)
def test_mistakes_in_a_file_of_vectors_are_named(tmp_path, vectors, ids, message):
    np.save(tmp_path / "v.npy", np.array(vectors))
    if ids:
        (tmp_path / "ids.txt").write_text(ids)
    with pytest.raises(UserError, match=message):
        vectors_file(path=tmp_path / "v.npy", ids=tmp_path / "ids.txt").fit(Items(["", ""], ids=["[PAD]", "a"]))


@pytest.mark.parametrize(
    "written",
    ["\ufeff7\nx9\n3\n", "7 \n x9\t\n3\n\n\n", "7\r\nx9\r\n3\r\n", "7\rx9\r3", " \ufeff7\nx9\n3"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_marks_blanks_and_line_ends_are_no_part_of_an_id(tmp_path, written, encoding):
    np.save(tmp_path / "v.npy", np.arange(6, dtype=np.float32).reshape(3, 2) + 1)
    (tmp_path / "ids.txt").write_bytes(written.encode(encoding))
    encoder = vectors_file(path=tmp_path / "v.npy", ids=tmp_path / "ids.txt")
    with pytest.warns(UserWarning, match=r"1 of 3 items are not among the ids of .*ids.txt .* no vector: 'absent'"):
        got = encoder.fit(Items([""] * 4, ids=["[PAD]", "3", "absent", "7"]))
    assert got.tolist() == [[0, 0], [5, 6], [0, 0], [1, 2]]


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64, torch.int8])
def test_tensors_of_any_kind_of_number(tmp_path, kind):
    save_tensors(
        {"vectors": torch.tensor([[1, 2], [3, 4]]).to(kind), "ids": torch.tensor([7, 5])}, tmp_path / "v.safetensors"
    )
    got = vectors_file(path=tmp_path / "v.safetensors").fit(Items([""] * 3, ids=["[PAD]", "5", "7"]))
    assert got.dtype == np.float32 and got.tolist() == [[0, 0], [3, 4], [1, 2]]


@pytest.mark.parametrize(
    ("vectors", "ids", "message"),
    [
        (np.array([["a", "b"]]), "1", "expected numbers, found <U1"),
        (np.array([[1e300, 1.0]]), "1", "no finite float32 number"),
        (np.zeros((1, 0)), "1", r"expected vectors \[1, dim\] for 1 ids, found \(1, 0\)"),
        (np.zeros((1, 2)), "1", "the vectors of all items are zero"),
        (np.ones((2, 2)), "1\n\n2", "line 2 is empty"),
        (np.ones((1, 2)), "x", "the data set has '1', the file 'x'"),
        (np.ones((1, 2)), b"\xff\xfa\x00", "ids.txt: not text in UTF-8"),
    ],
)
def test_vectors_that_cannot_be_used_are_named(tmp_path, vectors, ids, message):
    np.save(tmp_path / "v.npy", vectors)
    (tmp_path / "ids.txt").write_bytes(ids if isinstance(ids, bytes) else ids.encode())
    with pytest.raises(UserError, match=message) as error:
        vectors_file(path=tmp_path / "v.npy", ids=tmp_path / "ids.txt").fit(Items(["", ""], ids=["[PAD]", "1"]))
    assert "\n" not in str(error.value)


def owners_file(path, vectors, ids):
    """As VK-LSVD (.npz, half precision) and Yambda (.parquet, lists) publish theirs."""
    if path.suffix == ".npz":
        np.savez(path, item_id=np.array(ids), embedding=np.array(vectors, dtype=np.float16))
    else:
        pq.write_table(pa.table({"item_id": pa.array(ids), "embed": pa.array(vectors)}), path)
    return path


@pytest.mark.parametrize("name", ["v.npz", "v.parquet"])
@pytest.mark.parametrize("ids", [[7, 9, 3], ["7", "x", "3"], [" 7", "x", "\ufeff3 "]])
def test_files_that_hold_their_own_ids(tmp_path, name, ids):
    path = owners_file(tmp_path / name, [[1.0, 2], [3, 4], [5, 6]], ids)
    got = vectors_file(path=path).fit(Items([""] * 4, ids=["[PAD]", "3", "absent", "7"]))
    assert got.dtype == np.float32 and got.tolist() == [[0, 0], [5, 6], [0, 0], [1, 2]]
    assert vectors_file(path=path).transform(Items([""], ids=["new"])).tolist() == [[0, 0]]


@pytest.mark.slow
def test_a_track_without_a_vector_and_a_large_file(tmp_path):
    rows = 200_000  # more than one batch
    vectors = [None, *([[float(n), 1.0] for n in range(1, rows)])]
    path = owners_file(tmp_path / "v.parquet", vectors, list(range(rows)))
    got = vectors_file(path=path).fit(Items([""] * 3, ids=["0", "199999", "5"]))
    assert got.tolist() == [[0, 0], [199999, 1], [5, 1]]


@pytest.mark.parametrize(
    ("name", "columns", "ids", "message"),
    [
        ("v.npz", {"vec": [[1.0]], "item_id": [1]}, None, "no array 'embedding'; it holds vec, item_id"),
        ("v.npz", {"embedding": [[1.0]]}, None, "name a text file with the item id of each row"),
        ("v.npz", {"embedding": [[1.0]], "item_id": [1, 2]}, None, r"expected vectors \[2, dim\]"),
        ("v.npz", {"embedding": np.array([[1.0]], dtype=object), "item_id": [1]}, None, "cannot be read"),
        ("v.npz", None, None, "cannot be read"),
        ("v.parquet", {"vec": [[1.0]], "item_id": [1]}, None, "one of embed, .*; found vec, item_id"),
        ("v.parquet", {"embed": [[1.0]]}, None, "expected the columns 'item_id'"),
        ("v.parquet", {"embed": [[1.0], [1.0, 2]], "item_id": [1, 2]}, None, "lists of 2 lengths"),
        ("v.parquet", {"embed": [1.0], "item_id": [1]}, None, "cannot be read"),
        ("v.parquet", {"embed": [["x"]], "item_id": [1]}, None, "cannot be read"),
        ("v.parquet", {"embed": [[np.nan]], "item_id": [1]}, None, "item '1'"),
        ("v.parquet", {"embed": [[1.0], [2.0]], "item_id": [1, 1]}, None, "'1' occurs twice"),
        ("v.parquet", {"embed": [[1.0]], "item_id": [2]}, None, "none of the data set's items"),
        ("v.parquet", {"embed": [[1.0]], "item_id": [1]}, "1", "leave it out"),
        ("v.parquet", None, None, "cannot be read"),
        ("v.csv", None, None, "none of .npy"),
        ("w.parquet", {}, None, "w.parquet: no such file"),
    ],
)
def test_mistakes_in_an_owners_file_are_named(tmp_path, name, columns, ids, message):
    path = tmp_path / name
    if columns is None:
        path.write_bytes(b"half a file")
    elif columns and name.endswith("npz"):
        np.savez(path, **{key: np.array(value) for key, value in columns.items()})
    elif columns:
        pq.write_table(pa.table(columns), path)
    if ids:
        (tmp_path / "ids.txt").write_text(ids)
    with pytest.raises(UserError, match=message) as error:
        vectors_file(path=path, ids=tmp_path / "ids.txt" if ids else None).fit(Items(["", ""], ids=["[PAD]", "1"]))
    assert "\n" not in str(error.value)


def test_encoders_side_by_side_keep_their_weights_and_missing_parts_are_zero():
    negative = events([(1, 1), (2, 1), (1, 2), (3, 3), (4, 3), (3, 4), (5, 4)], items=9)
    items = Items(TEXTS, interactions={"negative": negative, "positive": negative * 0})
    encoders = read_encoders([{"name": "tfidf", "dim": 4}, {"name": "behaviour", "dim": 3, "weight": 0.25}])
    made, vectors = features.fit(encoders, items)
    text, behaviour = vectors[:, :4], vectors[:, 4:]
    known_text, known_behaviour = [1, 2, 3, 5, 6, 7, 8], [1, 2, 3, 4]
    assert (text[known_text] ** 2).sum(axis=1).mean() == pytest.approx(1, rel=1e-4)
    assert (behaviour[known_behaviour] ** 2).sum(axis=1).mean() == pytest.approx(0.25, rel=1e-4)
    np.testing.assert_allclose(text[known_text].mean(axis=0), 0, atol=1e-5)
    assert not text[4].any() and not behaviour[5:].any() and not vectors[0].any()
    np.testing.assert_allclose(made.transform(items)[1:], vectors[1:], atol=1e-6)


def test_principal_components_keep_the_most_that_so_few_can():
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(200, 3)) @ rng.normal(size=(3, 10)) + 0.01 * rng.normal(size=(200, 10))).astype("f4")
    basis = features.principal(vectors, 3)
    np.testing.assert_allclose(basis @ basis.T, np.eye(3), atol=1e-5)
    assert ((vectors - vectors @ basis.T @ basis) ** 2).sum() < 1e-3 * (vectors**2).sum()
    assert (features.principal(vectors, None) == np.eye(10)).all()


def test_every_encoder_comes_back_from_disk(tmp_path):
    np.save(tmp_path / "v.npy", np.random.default_rng(0).normal(size=(8, 5)))
    (tmp_path / "ids.txt").write_text("\n".join(f"i{n}" for n in range(1, 9)))
    negative = events([(1, 1), (2, 1), (1, 2), (3, 3), (4, 3), (3, 4), (5, 4)], items=9)
    items = Items(
        TEXTS,
        ids=["[PAD]", *(f"i{n}" for n in range(1, 9))],
        interactions={"negative": negative, "positive": negative * 0},
    )
    block = {
        "name": "rqkmeans",
        "sizes": 3,
        "encoder": [
            "tfidf",
            "behaviour",
            {"name": "file", "path": str(tmp_path / "v.npy"), "ids": str(tmp_path / "ids.txt")},
        ],
    }
    ids = train(parse(block), items)
    ids.save(tmp_path / "ids")
    fresh = Items(["red frog", ""], ids=["i3", "other"])
    np.testing.assert_allclose(SemanticIds.load(tmp_path / "ids").vectors(fresh), ids.vectors(fresh), atol=1e-5)
    assert ids.vectors(fresh)[0].any() and not ids.vectors(fresh)[1].any()


def test_a_file_that_has_changed_its_dimensions_is_an_error(tmp_path):
    np.save(tmp_path / "v.npy", np.random.default_rng(0).normal(size=(8, 5)))
    (tmp_path / "ids.txt").write_text("\n".join(f"i{n}" for n in range(1, 9)))
    items = Items([""] * 9, ids=["[PAD]", *(f"i{n}" for n in range(1, 9))])
    encoder = {"name": "file", "path": str(tmp_path / "v.npy"), "ids": str(tmp_path / "ids.txt")}
    ids = train(parse({"sizes": 3, "encoder": encoder}), items)
    np.save(tmp_path / "v.npy", np.ones((8, 4)))
    with pytest.raises(UserError, match="gives vectors of 4 dimensions, but these semantic IDs were made from 5"):
        ids.vectors(items)
