"""Every sequential model of RecBole runs, or says in one line what it needs."""

import json
import shutil
from types import SimpleNamespace

import pytest
import tinylog
import torch
from recbole.data.interaction import Interaction
from recbole.model.sequential_recommender import FEARec as StockFEARec

from recbole_conrec import registry
from recbole_conrec.model.dien import DIEN
from recbole_conrec.model.fearec import FEARec
from recbole_conrec.runs.checks import read_by
from recbole_conrec.runs.config import make_config
from recbole_conrec.runs.runner import run
from recbole_conrec.runs.stock_models import KNOWLEDGE
from recbole_conrec.utils.errors import UserError

SHORT = {"epochs": 1, "train_batch_size": 256, "MAX_ITEM_LIST_LENGTH": 8, "pretrain_epochs": 1}


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Folder (`data_path`) of `tiny` with fewer users, as DIN and DIEN judge every item; SASRecCPR wants 100 items."""
    return tinylog.write_tiny(tmp_path_factory.mktemp("few"), users=20, items=102)


@pytest.fixture
def train(few, tmp_path, monkeypatch):
    """Function (model, **options) -> Result of one short epoch on the smaller log."""
    monkeypatch.chdir(tmp_path)
    fixed = {"data_path": str(few), "gpu_id": "", "show_progress": False}

    def train(model, **options):
        given = read_by(model, {**tinylog.OPTIONS, **SHORT})
        return run(model, "tiny", options={**given, **fixed, **options})

    return train


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(registry.stock_models()))
def test_it_runs_or_says_what_it_needs(train, name):
    if name in KNOWLEDGE:
        with pytest.raises(UserError, match=f"^{name}: it needs vectors of items .* in .*tiny.ent, with the fields"):
            train(name)
        return
    result = train(name)
    record = json.loads((result.run_dir / "result.json").read_text())
    for metric in ("HR@20", "FHR@20", "CandAcc"):
        assert record["metrics"][metric]["n"] and 0 <= record["metrics"][metric]["value"] <= 1


@pytest.fixture
def vectors(few, tmp_path):
    """Function (suffix, ids, numbers per id) that writes tiny.SUFFIX, in a copy of that log: the `data_path`."""
    shutil.copytree(few, tmp_path / "data")

    def write(suffix, ids, size=8, names="{0}_id:token\t{0}_emb:float_seq"):
        rows = [f"{one}\t{' '.join(str((7 * n + k) % 5) for k in range(size))}" for n, one in enumerate(ids)]
        file = tmp_path / "data" / "tiny" / f"tiny.{suffix}"
        file.write_text("\n".join([names.format(suffix), *rows, ""]))
        return str(tmp_path / "data")

    return write


@pytest.mark.slow
@pytest.mark.parametrize(("name", "option"), [("GRU4RecKG", "embedding_size"), ("KSR", "kg_embedding_size")])
def test_vectors_of_entities_are_read(train, vectors, name, option):
    vectors("rel", ["likes", "made_by"])
    path = vectors("ent", [f"i{n}" for n in range(100)])
    result = train(name, data_path=path, **{option: 8})
    assert 0 < result.record["metrics"]["HR@20"]["value"] <= 1
    vectors("ent", [f"i{n}" for n in range(90)])
    assert train(name, data_path=path, **{option: 8}).run_dir != result.run_dir


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ids", "options", "words"),
    [
        (["i0"], {}, "tiny.ent: its vectors have 8 numbers, expected 64, the option embedding_size"),
        ([], {}, "tiny.ent: its vectors have 0 numbers, expected 64"),
        (["i0", "m.1"], {"embedding_size": 8}, "tiny.ent: no items of the data set are 'm.1'; remove these rows"),
    ],
)
def test_vectors_that_do_not_fit_are_named(train, vectors, ids, options, words):
    with pytest.raises(UserError, match=words):
        train("GRU4RecKG", data_path=vectors("ent", ids), **options)


def test_misnamed_fields_of_vectors_are_named(train, vectors):
    with pytest.raises(UserError, match=r"tiny.ent: there is no field 'ent_(id|emb)'; it has entity, emb"):
        train("GRU4RecKG", data_path=vectors("ent", ["i0"], names="entity:token\temb:float_seq"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SASRecF", "GRU4RecF", "FDSA", "S3Rec"])
def test_a_missing_item_field_is_named(train, name):
    with pytest.raises(
        UserError, match=f"^{name}: .* names the item field 'class', and tiny.item has genre, title, year"
    ):
        train(name, item_category=None)


@pytest.mark.parametrize("name", ["DIN", "DIEN"])
def test_labels_are_those_of_feedback(make_tiny, monkeypatch, name):
    """The instances of the loader are dislikes; each is paired with another training event."""
    config, data = make_tiny(name, MAX_ITEM_LIST_LENGTH=10)
    model_class = registry.find_model(name)
    model, seen = model_class(config, data), {}
    stock = model_class.__mro__[2]
    monkeypatch.setattr(stock, "calculate_loss", lambda self, interaction: seen.update(interaction.interaction))
    model.calculate_loss(batch := data[range(40)])
    assert seen["label"].tolist() == [1.0] * 40 + [0.0] * 40
    assert torch.equal(seen["item_id"][:40], batch["item_id"])
    log = data.log
    shown = {(u, i) for u, i, f in zip(log.user, log.item, log.feedback, strict=True) if f != -1}
    assert set(zip(seen["user_id"][40:].tolist(), seen["item_id"][40:].tolist(), strict=True)) <= shown
    assert ((seen["neg_item_id_list"] > 0) == (seen["item_id_list"] > 0)).all()


@pytest.mark.parametrize("name", ["DIN", "DIEN"])
def test_all_items_are_judged_as_one_by_one(make_tiny, name):
    config, data = make_tiny(name, MAX_ITEM_LIST_LENGTH=10)
    torch.manual_seed(0)
    model = registry.find_model(name)(config, data).eval()
    batch = data[[0, 50, 120]]
    sweep = model.full_sort_predict(batch)
    assert sweep.shape == (3, data.item_num)
    for item in (1, 99):
        asked = Interaction({**batch.interaction, "item_id": torch.full((3,), item)})
        assert torch.allclose(sweep[:, item], model.predict(asked), atol=1e-6)


def test_a_batch_of_single_events_has_a_loss(make_tiny):
    config, data = make_tiny("DIEN", MAX_ITEM_LIST_LENGTH=1)
    assert DIEN(config, data).calculate_loss(data[range(8)]).isfinite()


def test_fearec_reads_the_histories_that_recboles_class_would(make_tiny):
    config, data = make_tiny("FEARec", MAX_ITEM_LIST_LENGTH=10)
    model = FEARec(config, data)
    everything = data[range(len(data))]
    for number in (0, 7, 120):
        for field in ("item_id_list", "item_length"):
            assert torch.equal(model.dataset.inter_feat[field][number], everything[field][number])
    table = SimpleNamespace(inter_feat=everything)
    theirs = StockFEARec.get_same_item_index(model, table)
    assert {int(k): v.tolist() for k, v in theirs.items()} == {k: v.tolist() for k, v in model.same_item_index.items()}


def test_the_item_category_is_the_field_of_features(tiny_path):
    options = {"data_path": str(tiny_path), "item_category": "year"}
    for name in ("FDSA", "SASRecF", "GRU4RecF"):
        assert make_config(name, "tiny", options=options)["selected_features"] == ["year"]
    assert make_config("S3Rec", "tiny", options=options)["item_attribute"] == "year"
