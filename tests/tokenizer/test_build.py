import numpy as np
import pytest

from recbole_conrec.tokenizer import build, parse
from recbole_conrec.tokenizer.inputs import from_dataset
from recbole_conrec.tokenizer.pipeline import cache_key
from recbole_conrec.utils.errors import UserError

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
        ({"nam": "rqvae"}, "tokenizer.nam'; did you mean 'name'"),
        ({"name": "rqvaee"}, "did you mean 'rqvae'"),
        ({"rqvae": {"comitment": 1}}, "tokenizer.rqvae.comitment'; did you mean 'commitment'"),
        ({"rqvae": 3}, "tokenizer.rqvae: expected a mapping"),
        ({"collisions": "ignore"}, "none of nearest_free"),
        ({"sizes": [8, 8]}, "2 sizes for tokenizer.depth 3"),
        ({"sizes": "big"}, "expected 'auto', a number or a list"),
        ({"depth": 0}, "tokenizer.depth"),
        ({"encoder": "tfdf"}, "did you mean 'tfidf'"),
        ({"encoder": [{"name": "tfidf", "dims": 3}]}, "did you mean 'dim'"),
        ({"encoder": []}, "tokenizer.encoder: empty"),
    ],
)
def test_mistakes_in_the_block_are_named(block, message):
    with pytest.raises(UserError) as error:
        parse(block)
    assert message in str(error.value)


def test_a_name_alone_is_enough():
    assert parse("rqkmeans") == parse({"name": "rqkmeans"})
    assert parse(None).name == "rqkmeans"
