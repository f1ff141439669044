import json

import numpy as np
import pytest

from recbole_conrec.tokenizer import Items, build, parse
from recbole_conrec.tokenizer.inputs import from_dataset
from recbole_conrec.tokenizer.pipeline import cache_key
from recbole_conrec.utils.errors import UserError

pytestmark = pytest.mark.slow

SMALL = {"name": "rqkmeans", "sizes": 8}


def test_ids_of_a_dataset_are_made_once_and_then_read_from_the_cache(make_tiny, tmp_path):
    config, dataset = make_tiny(tokenizer=SMALL, checkpoint_dir=str(tmp_path))
    ids = build(config, dataset)
    assert ids.n_items == dataset.item_num and (ids.codes[0] == -1).all()
    (folder,) = (tmp_path / "tokenizers").iterdir()
    stamp = (folder / "semantic_ids.safetensors").stat().st_mtime_ns
    assert build(config, dataset).fingerprint == ids.fingerprint
    assert (folder / "semantic_ids.safetensors").stat().st_mtime_ns == stamp

    other, dataset = make_tiny(tokenizer={**SMALL, "seed": 1}, checkpoint_dir=str(tmp_path))
    assert build(other, dataset).fingerprint != ids.fingerprint
    assert len(list((tmp_path / "tokenizers").iterdir())) == 2


def test_the_cache_key_follows_content(tiny_dataset):
    items, options = from_dataset(tiny_dataset), parse(SMALL)
    again = from_dataset(tiny_dataset)
    assert cache_key(options, items) == cache_key(options, again)
    again.texts[3] += "!"
    assert cache_key(options, items) != cache_key(options, again)
    assert cache_key(options, items) != cache_key(parse({**SMALL, "collisions": "shared"}), items)
    assert cache_key(options, items) == cache_key(parse({**SMALL, "rqvae": {"steps": 5}}), items)  # not the one used


def test_behaviour_holds_training_events_only(tiny_dataset):
    log, items = tiny_dataset.log, from_dataset(tiny_dataset)
    for kind, value in (("negative", -1), ("positive", 1), ("exposure", 0)):
        expected = np.zeros((log.n_users, log.n_items))
        for row in np.flatnonzero(tiny_dataset.train_mask & (log.feedback == value)):
            expected[log.user[row], log.item[row]] += 1
        assert (items.interactions[kind].toarray() == expected).all()
    assert items.ids[5] == tiny_dataset.id2token("item_id", 5) and items.texts[0] == ""


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"nam": "rqvae"}, "tokenizer: unknown option 'nam'; did you mean 'name'"),
        ({"name": "rqvaee"}, "tokenizer.name: 'rqvaee'; expected one of rqkmeans, rqvae, opq, collaborative; did you"),
        ({"rqvae": {"comitment": 1}}, "tokenizer.rqvae: unknown option 'comitment'; did you mean 'commitment'"),
        ({"rqvae": 3}, "tokenizer.rqvae: 3; expected a mapping"),
        ({"rqvae": {"decay": 1}}, "tokenizer.rqvae.decay: 1; expected a number above 0 and below 1"),
        ({"rqvae": {"steps": 0}}, "tokenizer.rqvae.steps: 0; expected a whole number of at least 1"),
        ({"rqvae": {"lr": float("nan")}}, "tokenizer.rqvae.lr: nan; expected a finite number"),
        ({"rqvae": {"temperature": float("inf")}}, "tokenizer.rqvae.temperature: inf; expected a finite number"),
        ({"rqvae": {"hidden": [64]}}, "tokenizer.rqvae: hidden layers need a latent space; set latent"),
        ({"rqvae": {"behaviour": {"dim": 0}}}, "tokenizer.rqvae.behaviour.dim: 0; expected a whole number"),
        ({"rqkmeans": {"balanced": "yes"}}, "tokenizer.rqkmeans.balanced: 'yes'; expected true or false"),
        ({"opq": {"rotations": -1}}, "tokenizer.opq.rotations: -1; expected a whole number of at least 0"),
        ({"collaborative": {"clusters": 30, "leaf": 20}}, "tokenizer.collaborative: clusters 30, leaf 20"),
        ({"collaborative": {"feedback": ["x"]}}, "tokenizer.collaborative.feedback[0]: 'x'; expected one of negative"),
        ({"collisions": "ignore"}, "tokenizer.collisions: 'ignore'; expected one of nearest_free"),
        ({"sizes": [8, 8]}, "sizes lists 2 numbers, but depth is 3"),
        ({"sizes": "big"}, "tokenizer.sizes: 'big'; expected auto or a whole number of at least 1 or a list"),
        ({"sizes": [8, 0, 8]}, "tokenizer.sizes[1]: 0; expected a whole number of at least 1"),
        ({"depth": 0}, "tokenizer.depth: 0; expected a whole number of at least 1 and at most 25"),
        ({"depth": 26}, "tokenizer.depth: 26"),
        ({"dim": 0}, "tokenizer.dim: 0; expected a whole number of at least 1 or null"),
        ({"seed": -1}, "tokenizer.seed: -1; expected a whole number of at least 0"),
        ({"centre": 1}, "tokenizer.centre: 1; expected true or false"),
        ({"encoder": "tfdf"}, "tokenizer.encoder: 'tfdf'; expected one of tfidf"),
        ({"encoder": "tfdf"}, "did you mean 'tfidf'"),
        (
            {"encoder": [{"name": "tfidf", "dims": 3}]},
            "tokenizer.encoder[0]: unknown option 'dims'; did you mean 'dim'",
        ),
        ({"encoder": [{"dim": 3}]}, "tokenizer.encoder[0].name is needed"),
        ({"encoder": ["tfidf", {"name": "behaviour", "dim": 0}]}, "tokenizer.encoder[1].dim: 0; expected"),
        ({"encoder": {"name": "behaviour", "feedback": "dislike"}}, "tokenizer.encoder.feedback: 'dislike'; expected"),
        ({"encoder": {"name": "behaviour", "feedback": []}}, "tokenizer.encoder.feedback: empty; name at least one of"),
        ({"encoder": {"name": "tfidf", "weight": 0}}, "tokenizer.encoder.weight: 0; expected a number above 0"),
        ({"encoder": {"name": "tfidf", "ngrams": [2, 1]}}, "ngrams: [2, 1]; the shortest n-gram comes first"),
        ({"encoder": {"name": "file"}}, "tokenizer.encoder.path is needed"),
        ({"encoder": {"name": "sentence-transformers"}}, "tokenizer.encoder.model is needed"),
        ({"encoder": 3}, "tokenizer.encoder: 3; expected one of tfidf"),
        ({"encoder": []}, "tokenizer.encoder: empty"),
    ],
)
def test_mistakes_in_the_block_are_named(block, message):
    with pytest.raises(UserError) as error:
        parse(block)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("block", "own"),
    [
        ({"name": "rqvae", "rqvae": {"lr": 1}}, {"lr": 1, "contrastive": 0.0, "behaviour": {"dim": 32}}),
        ({"name": "rqvae", "rqvae": {"behaviour": {"feedback": "negative"}}}, {"behaviour": {"feedback": "negative"}}),
        ({"name": "rqvae", "rqvae": {"behaviour": {}, "hidden": []}}, {"behaviour": {}, "hidden": []}),
        ({"name": "collaborative"}, {"clusters": 20, "leaf": 200, "feedback": ["negative", "positive"]}),
        ({"name": "opq", "opq": None}, {"iterations": 25, "rotations": 25, "samples_per_code": 256}),
    ],
)
def test_the_content_that_decides_the_ids_has_numbers_as_they_were_written(block, own):
    """Cached IDs are found by this content: a change of its form makes all of them void."""
    content = json.loads(json.dumps(parse(block).content()))
    assert content.keys() == parse("rqkmeans").content().keys()
    assert {name: content["own"][name] for name in own} == own
    assert [type(content["own"][name]) for name in own] == [type(value) for value in own.values()]


def test_the_content_of_encoders_is_what_was_given():
    def content(**block):
        return json.loads(json.dumps(parse(block).content()))

    assert content()["encoder"] == [{"name": "tfidf"}] and content()["sizes"] == "auto"
    assert content(sizes=8)["sizes"] == content(sizes=[8, 8, 8])["sizes"] == [8, 8, 8]
    assert content(encoder="behaviour")["encoder"] == [{"name": "behaviour"}]
    given = {"name": "tfidf", "weight": 1, "ngrams": [1, 2]}
    assert content(encoder=given)["encoder"] == [given] and type(content(encoder=given)["encoder"][0]["weight"]) is int


def test_known_cache_keys_stay_the_same():
    """IDs that users have cached must be found by later versions, while METHOD stays the same."""
    items = Items(["", "red fox", "blue whale"], ids=["[PAD]", "a", "b"])
    blocks = (
        {},
        {"name": "rqvae", "rqvae": {"latent": 32, "hidden": [64], "lr": 0.001}, "collisions": "sinkhorn", "depth": 4},
        {"name": "collaborative", "encoder": ["tfidf", {"name": "behaviour", "weight": 0.5}]},
    )
    assert [cache_key(parse(block), items) for block in blocks] == [
        "e19e4c15dd775a65",
        "ed3eae572bc9f055",
        "e0cb9c1a8f5ad748",
    ]


def test_a_name_alone_is_enough():
    assert parse("rqkmeans") == parse({"name": "rqkmeans"})
    assert parse(None).name == "rqkmeans"


@pytest.mark.parametrize(
    "name", ["semantic_ids.json", "semantic_ids.safetensors", "features.json", "features.safetensors"]
)
@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff\xfe half"])
def test_damaged_cached_ids_are_named_and_made_again(make_tiny, tmp_path, name, content):
    config, dataset = make_tiny(tokenizer=SMALL, checkpoint_dir=str(tmp_path))
    ids = build(config, dataset)
    (folder,) = (tmp_path / "tokenizers").iterdir()
    (folder / name).write_bytes(content)
    with pytest.warns(UserWarning, match=r"the semantic IDs are made again") as found:
        assert build(config, dataset).fingerprint == ids.fingerprint
    assert str(folder) in str(found[0].message) and "\n" not in str(found[0].message)
    assert build(config, dataset).fingerprint == ids.fingerprint
