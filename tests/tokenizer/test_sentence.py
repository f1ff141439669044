"""The encoder ``sentence-transformers`` against the library, on a tiny random model that is made here."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from recbole_conrec.tokenizer import Items, SemanticIds, parse, train
from recbole_conrec.tokenizer.inputs import from_dataset
from recbole_conrec.tokenizer.pipeline import cache_key
from recbole_conrec.tokenizer.sentence import SentenceOptions, SentenceTransformers, _apart, _control_tokens
from recbole_conrec.utils.errors import UserError

TEXTS = ["", "red fox", "red wolf", "blue whale", " ", "blue shark", "red fox", "green frog pond", "green toad pond"]
INSTALL = 'pip install "recbole-conrec\\[sentence-transformers\\]"'


@pytest.fixture(scope="module")
def library():
    return pytest.importorskip("sentence_transformers", reason="needs the package sentence-transformers")


@pytest.fixture(scope="module")
def model_folder(library, tmp_path_factory):
    """Function (*modules after the transformer) -> folder of a model with random weights and hidden size 32."""
    import torch
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    bert = tmp_path_factory.mktemp("bert")
    words = sorted({w for t in TEXTS for w in t.split()})
    vocabulary = {w: i for i, w in enumerate(["[PAD]", "[UNK]", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(bert)
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(BertConfig(vocab_size=len(vocabulary), max_position_embeddings=16, **size)).save_pretrained(bert)
        parts = {
            "mean": Pooling(32, pooling_mode="mean"),
            "cls": Pooling(32, pooling_mode="cls"),
            "lasttoken": Pooling(32, pooling_mode="lasttoken"),
            "dense": Dense(32, 4, activation_function=torch.nn.Tanh()),
            "normalize": Normalize(),
        }

    def make(*names):
        folder = tmp_path_factory.mktemp("-".join(names))
        modules = [Transformer(str(bert)), *(parts[name] for name in names)]
        library.SentenceTransformer(modules=modules, device="cpu").save(str(folder))
        return folder

    return make


def encoder(folder, **options):
    return SentenceTransformers(SentenceOptions(model=str(folder), device="cpu", **options))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("modules", "dim"),
    [(("mean",), 32), (("cls",), 32), (("lasttoken", "normalize"), 32), (("mean", "dense", "normalize"), 4)],
)
def test_vectors_are_those_of_the_library_with_all_modules(library, model_folder, modules, dim):
    folder = model_folder(*modules)
    vectors = encoder(folder, batch=4).fit(Items(TEXTS))
    expected = library.SentenceTransformer(str(folder), device="cpu").encode(TEXTS, normalize_embeddings=True)
    known = [row for row, text in enumerate(TEXTS) if text.strip()]
    assert vectors.shape == (9, dim) and vectors.dtype == np.float32
    np.testing.assert_allclose(vectors[known], expected[known], atol=1e-6)
    assert not vectors[[0, 4]].any()


def test_the_mean_of_the_token_states_by_hand(model_folder):
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = model_folder("mean")
    vectors = encoder(folder).fit(Items(TEXTS))
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    for row, text in enumerate(TEXTS):
        if text.strip():
            with torch.inference_mode():
                states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].numpy()
            mean = states.mean(axis=0)
            np.testing.assert_allclose(vectors[row], mean / np.linalg.norm(mean), atol=1e-5)


def test_prefix_and_length_change_what_the_model_reads(library, model_folder):
    folder = model_folder("mean")
    plain = encoder(folder).fit(Items(["", "fox wolf pond"]))[1]
    cut = encoder(folder, max_length=1).fit(Items(["", "fox wolf pond", "fox"]))
    np.testing.assert_allclose(cut[1], cut[2], atol=1e-6)
    assert np.abs(cut[1] - plain).max() > 1e-3
    prefixed = encoder(folder, prefix="blue ").fit(Items(["", "fox wolf pond"]))[1]
    expected = library.SentenceTransformer(str(folder), device="cpu").encode("blue fox wolf pond")
    np.testing.assert_allclose(prefixed, expected / np.linalg.norm(expected), atol=1e-6)


def test_texts_longer_than_the_model_are_cut(model_folder):
    folder = model_folder("mean")
    vectors = encoder(folder, max_length=500).fit(Items(["", "red fox " * 50, "red fox " * 8]))
    np.testing.assert_allclose(vectors[1], vectors[2], atol=1e-6)


def test_items_without_any_text(model_folder):
    folder = model_folder("mean", "dense")
    with pytest.raises(UserError, match="no item has a text for 'sentence-transformers'"):
        encoder(folder).fit(Items(["", " "]))
    assert encoder(folder).transform(Items(["", " "])).tolist() == [[0] * 4] * 2


def test_a_model_that_is_not_there_is_an_error(library, tmp_path):
    with pytest.raises(UserError, match="cannot be loaded as a hub id or a folder") as error:
        encoder(tmp_path / "nothing").fit(Items(["", "a"]))
    assert "\n" not in str(error.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="cannot be loaded as a hub id or a folder"):
        encoder(tmp_path / "empty").fit(Items(["", "a"]))


def test_a_missing_package_is_one_line_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(UserError, match=INSTALL) as error:
        encoder("sentence-transformers/all-MiniLM-L6-v2").fit(Items(["", "a"]))
    assert "\n" not in str(error.value)


def test_the_encoder_comes_back_from_disk(model_folder, tmp_path):
    folder = model_folder("mean", "dense", "normalize")
    spec = {"name": "sentence-transformers", "model": str(folder), "device": "cpu", "batch": 3}
    ids = train(parse({"sizes": 3, "encoder": ["tfidf", spec]}), Items(TEXTS))
    ids.save(tmp_path / "ids")
    fresh = Items(["red frog", ""])
    np.testing.assert_allclose(SemanticIds.load(tmp_path / "ids").vectors(fresh), ids.vectors(fresh), atol=1e-5)


def test_the_cache_key_follows_the_files_of_a_model_folder(tiny_dataset, tmp_path):
    items = from_dataset(tiny_dataset)
    options = parse({"encoder": {"name": "sentence-transformers", "model": str(tmp_path)}})
    (tmp_path / "weights").write_bytes(b"1")
    key = cache_key(options, items)
    assert cache_key(options, items) == key
    (tmp_path / "weights").write_bytes(b"2")
    assert cache_key(options, items) != key


@pytest.mark.parametrize(
    ("tokenizer", "names"),
    [
        (SimpleNamespace(all_special_tokens=["<s>", "</s>", "[SEP]"]), ["<s>", "</s>", "[SEP]"]),
        (
            SimpleNamespace(
                added_tokens_decoder={
                    1: SimpleNamespace(content="<mask>", special=True),
                    2: SimpleNamespace(content="lamp", special=False),
                    3: SimpleNamespace(content="|", special=True),
                }
            ),
            ["<mask>"],
        ),
        (None, []),
    ],
)
def test_names_of_control_tokens_are_taken_apart(tokenizer, names):
    control = _control_tokens(tokenizer)
    for text in ("a lamp", "<s", "s>", "a | b"):
        assert _apart(text, control) == text
    for name in names:
        assert _apart(f"of {name}{name} x", control) == f"of {name[0]} {name[1:]}{name[0]} {name[1:]} x"


def test_control_tokens_in_a_title_are_words(model_folder):
    """[PAD] in a title does not become the token of padding, whose vector it would have had."""
    made = encoder(model_folder("mean"))
    vectors = made.fit(Items(["", "red [PAD] fox", "red [ PAD] fox", "red fox", "[UNK]", "[ UNK]"]))
    np.testing.assert_allclose(vectors[1], vectors[2], atol=1e-6)
    np.testing.assert_allclose(vectors[4], vectors[5], atol=1e-6)
    assert np.abs(vectors[1] - vectors[3]).max() > 1e-3
    read = made._model().tokenizer(_apart("red [PAD] fox", _control_tokens(made._model().tokenizer)))["input_ids"]
    assert made._model().tokenizer.pad_token_id not in read


def test_the_revision_of_a_hub_model_counts_and_is_kept(tiny_dataset, tmp_path, monkeypatch):
    for place in ("constants", "file_download.constants"):
        monkeypatch.setattr(f"huggingface_hub.{place}.HF_HUB_CACHE", str(tmp_path), raising=False)
    items = from_dataset(tiny_dataset)
    options = parse({"encoder": {"name": "sentence-transformers", "model": "small"}})
    keys = []
    for commit in ("a" * 40, "b" * 40):
        repository = tmp_path / "models--sentence-transformers--small"
        (repository / "refs").mkdir(parents=True, exist_ok=True)
        (repository / "refs" / "main").write_text(commit)
        (repository / "snapshots" / commit).mkdir(parents=True)
        (repository / "snapshots" / commit / "config.json").write_text("{}")
        keys.append(cache_key(options, items))
    assert keys[0] != keys[1]
    state, arrays = SentenceTransformers(SentenceOptions(model="small"), commit="a" * 40).state()
    assert state["commit"] == "a" * 40 and SentenceTransformers.from_state(state, arrays).commit == "a" * 40
    assert SentenceTransformers(SentenceOptions(model="small")).commit == "b" * 40
