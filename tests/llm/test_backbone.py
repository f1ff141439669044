"""Backbones: tiny, folders, GGUF; SID tokens whole and well started; one-line errors."""

import numpy as np
import pytest
import torch
from llmtools import TEXT, options_of, prompts, random_ids, tiny_backbone
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from recbole_conrec.llm import loading, tiny
from recbole_conrec.llm.backbone import BackboneOptions, load_backbone
from recbole_conrec.llm.batch import left_pad, trim
from recbole_conrec.llm.decoding import beam_search
from recbole_conrec.llm.sid_tokens import init_sid_rows
from recbole_conrec.utils.errors import UserError

IDS = random_ids(60, (5, 6, 7))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder with a small pretrained Llama and a word tokenizer."""
    folder = tmp_path_factory.mktemp("base")
    tokenizer = tiny.build_tokenizer(TEXT, tiny.TinyOptions())
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        tie_word_embeddings=False,
        max_position_embeddings=64,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["word", "bpe"])
def test_every_code_is_one_token_wherever_it_stands(kind):
    backbone = load_backbone("tiny", IDS, TEXT, options_of(tiny={"tokenizer": kind}))
    text = "The user disliked" + IDS.text(3) + " next " + IDS.text(4) + IDS.text(5) + "?"
    tokens = backbone.encode([text])[0]
    sids = [t for t in tokens if t in set(backbone.sid_tokens.tolist())]
    assert sids == [
        *backbone.item_tokens[3].tolist(),
        *backbone.item_tokens[4].tolist(),
        *backbone.item_tokens[5].tolist(),
    ]
    decoded = backbone.tokenizer.decode(tokens, skip_special_tokens=True)
    assert "".join(decoded.split()).lower() == "".join(text.split()).lower()  # lower-casing is the tokenizer's
    assert (backbone.item_tokens[0] == backbone.pad_id).all()
    for level, tokens in enumerate(backbone.level_tokens):
        names = backbone.tokenizer.convert_ids_to_tokens(tokens.tolist())
        assert names == [f"<{'abc'[level]}_{code}>" for code in range(IDS.sizes[level])]


def test_tiny_is_tiny_and_the_same_for_the_same_seed():
    first, second, third = (load_backbone("tiny", IDS, TEXT, seed=seed).model for seed in (1, 1, 2))
    assert 0.5e6 < sum(p.numel() for p in first.parameters()) < 5e6
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.model.embed_tokens.weight, third.model.embed_tokens.weight)
    assert first.get_output_embeddings().weight is first.get_input_embeddings().weight


def test_a_folder_loads_and_finds_valid_items_only(base):
    backbone = load_backbone(str(base), IDS)
    assert backbone.max_length == 64 and backbone.model.dtype == torch.float32
    leaves, _ = beam_search(backbone, IDS.trie, *left_pad(prompts(backbone, (5, 9)), backbone.pad_id), width=59)
    assert sorted(leaves[0].tolist()) == list(range(59))
    half = load_backbone(str(base), IDS, options=BackboneOptions(dtype="bfloat16"))
    assert half.model.dtype == torch.bfloat16


def test_new_rows_start_near_the_vocabularys_mean(base):
    """With rows of another scale a code's likelihood would depend on its random row."""
    backbone = load_backbone(str(base), IDS)
    for matrix in (backbone.model.get_input_embeddings().weight, backbone.model.get_output_embeddings().weight):
        words, sids = matrix[:-18], matrix[-18:]
        assert (sids - words.mean(0)).norm(dim=1).max() < 0.5 * (words - words.mean(0)).norm(dim=1).mean()
        assert len(torch.unique(sids, dim=0)) == 18


def test_sid_rows_started_from_text_are_near_those_of_items_with_like_text():
    """Codes 0 and 1 of a level hold items of one genre, 2 and 3 of another: rows of a genre point in one direction."""
    words = ["dragon castle sword quest", "engine race car tyre"]
    codes = np.array([[-1]] + [[n % 4] for n in range(4)])
    ids = type(IDS)(np.vstack([codes]), [np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)])
    texts = ["", *(words[n // 2] + f" number{n}" for n in range(4))]
    backbone = load_backbone("tiny", ids, texts, options_of(sid_init="text"), item_texts=texts)
    matrix = backbone.model.get_input_embeddings().weight.detach()
    rows = torch.nn.functional.normalize(matrix[backbone.sid_tokens] - matrix[: backbone.sid_tokens[0]].mean(0))
    cosine = rows @ rows.T
    assert min(cosine[0, 1], cosine[2, 3]) > 0.3 > -0.3 > cosine[:2, 2:4].max()
    assert rows[4].isfinite().all()  # a code that no item has
    spread = matrix[: backbone.sid_tokens[0]].std(0).norm()
    torch.testing.assert_close(
        (matrix[backbone.sid_tokens] - matrix[: backbone.sid_tokens[0]].mean(0)).norm(dim=1), spread.expand(5)
    )


def write_gguf(path, arch="llama"):
    """A GGUF file of a one-layer Llama with random weights, of any claimed architecture."""
    gguf = pytest.importorskip("gguf")
    words = ["<unk>", "<s>", "</s>", *"abcdefghijklmnopqrstuvwxyz", "Ġ", "ab"]
    writer = gguf.GGUFWriter(path, arch)
    for key, value in {
        "block_count": 1,
        "context_length": 64,
        "embedding_length": 32,
        "feed_forward_length": 48,
        "attention.head_count": 4,
        "attention.head_count_kv": 4,
        "vocab_size": len(words),
        "rope.dimension_count": 8,
    }.items():
        writer.add_uint32(f"{arch}.{key}", value)
    writer.add_float32(f"{arch}.attention.layer_norm_rms_epsilon", 1e-6)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(words)
    writer.add_token_types([3, 3, 3] + [1] * (len(words) - 3))
    writer.add_token_merges(["a b"])
    for name, token in (("bos", 1), ("eos", 2), ("unknown", 0), ("padding", 2)):
        writer.add_uint32(f"tokenizer.ggml.{name}_token_id", token)
    rng = np.random.default_rng(0)

    def tensor(name, *shape):
        writer.add_tensor(name, (rng.normal(size=shape) * 0.1 + ("norm" in name)).astype(np.float32))

    tensor("token_embd.weight", len(words), 32)
    tensor("output_norm.weight", 32)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        tensor(f"blk.0.{name}.weight", 32, 32)
    tensor("blk.0.ffn_gate.weight", 48, 32)
    tensor("blk.0.ffn_up.weight", 48, 32)
    tensor("blk.0.ffn_down.weight", 32, 48)
    tensor("blk.0.attn_norm.weight", 32)
    tensor("blk.0.ffn_norm.weight", 32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def load_gguf(folder, name):
    return load_backbone(str(folder / name), IDS, options=BackboneOptions(cache_dir=str(folder / "cache")))


def test_a_gguf_file_is_unpacked_once_and_can_be_saved(tmp_path, monkeypatch):
    write_gguf(tmp_path / "small.gguf")
    backbone = load_gguf(tmp_path, "small.gguf")
    monkeypatch.setattr(loading, "find_spec", lambda name: pytest.fail("read again"))
    again = load_gguf(tmp_path, "small.gguf")
    padded = left_pad(prompts(backbone, (5, 9)), backbone.pad_id)
    assert torch.equal(
        beam_search(backbone, IDS.trie, *padded, width=5)[1], beam_search(again, IDS.trie, *padded, width=5)[1]
    )
    backbone.model.save_pretrained(tmp_path / "out")


def test_a_gguf_of_an_unsupported_architecture_is_named(tmp_path):
    write_gguf(tmp_path / "odd.gguf", arch="parrot")
    with pytest.raises(UserError, match="odd.gguf cannot be read: .*parrot.*Use a GGUF of a Llama, Qwen or Mistral"):
        load_gguf(tmp_path, "odd.gguf")
    (tmp_path / "noise.gguf").write_bytes(b"no such thing as a model")
    with pytest.raises(UserError, match="noise.gguf cannot be read"):
        load_gguf(tmp_path, "noise.gguf")


def test_gguf_without_the_package_says_what_to_install(tmp_path, monkeypatch):
    write_gguf(tmp_path / "small.gguf")
    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs the package gguf; install it with: pip install gguf"):
        load_gguf(tmp_path, "small.gguf")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"llm": "nowhere/no-such-folder"}, "is neither 'tiny', nor a .gguf file, nor a folder"),
        ({"llm": "no-such-file.gguf"}, "there is no file no-such-file.gguf"),
        ({"dtype": "float64"}, "llm_options.dtype: 'float64'; expected one of float32, bfloat16, float16, auto"),
        ({"quantize": "2bit", "lora": {}}, "llm_options.quantize: '2bit'; expected one of 8bit, 4bit or null"),
        ({"quantize": "4bit"}, "llm_options: quantize: quantised weights cannot be trained; set lora as well"),
        (
            {"llm": "tiny", "quantize": "4bit", "lora": {}},
            "llm_options.quantize: the backbone tiny cannot be quantised",
        ),
        ({"sid_init": "luck"}, "llm_options.sid_init: 'luck'; expected one of mean, text"),
        ({"sid_init": "text"}, "sid_init: text needs the items' texts"),
        ({"pad_token": "<nope>"}, "has no token '<nope>'"),
        (
            {"dtyp": "float32"},
            "llm_options: unknown option 'dtyp'; did you mean 'dtype'; its options: tiny, lora, sid_",
        ),
        (
            {"attn_implementation": "flash_attention_2"},
            "attn_implementation: 'flash_attention_2'; expected one of sdpa",
        ),
        ({"device_map": "nowhere"}, "with device_map: nowhere cannot be loaded"),
        ({"lora": {"target": ["nope"]}}, "lora: .*'nope'.* does not fit this model"),
        ({"lora": {"r": "many"}}, "llm_options.lora.r: 'many'; expected a whole number of at least 1"),
        ({"lora": {"rank": 4}}, "llm_options.lora: unknown option 'rank'; .*its options: r, alpha"),
        ({"lora": {"dropout": 1}}, "llm_options.lora.dropout: 1; expected a number of at least 0 and below 1"),
        ({"tiny": {"depth": 3}}, "llm_options.tiny: unknown option 'depth'; its options: layers"),
        ({"tiny": {"tokenizer": "char"}}, "llm_options.tiny.tokenizer: 'char'; expected one of word, bpe"),
        ({"tiny": {"hidden": 36, "heads": 4}}, "tiny: hidden is 36 and heads is 4; expected a hidden divisible by 2"),
        ({"tiny": {"heads": 4, "kv_heads": 3}}, "tiny: heads is 4 and kv_heads is 3; expected heads divisible by kv"),
    ],
)
def test_wrong_options_are_named(base, monkeypatch, options, message):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    llm = options.get("llm", str(base))
    options = {name: value for name, value in options.items() if name != "llm"}
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        load_backbone(llm, IDS, TEXT, BackboneOptions.read(options, "llm_options"))


def test_quantisation_without_its_library_says_so(base, monkeypatch):
    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="quantize: 4bit needs the package bitsandbytes"):
        load_backbone(str(base), IDS, options=BackboneOptions(quantize="4bit", lora={}))


def test_a_model_without_a_pad_token_says_how_to_name_one(base, tmp_path):
    model = LlamaForCausalLM.from_pretrained(base)
    model.save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="has no padding token; name one of its tokens, e.g. pad_token: '<eos>'"):
        load_backbone(str(tmp_path), IDS)
    backbone = load_backbone(str(tmp_path), IDS, options=BackboneOptions(pad_token="<eos>"))
    assert backbone.pad_id == backbone.eos_id == backbone.model.config.pad_token_id


@pytest.mark.parametrize(
    "error, message",
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "no GPU memory left while loading x; buy"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "no memory left while loading x; buy"),
        (MemoryError(), "no memory left while loading x; buy"),
    ],
)
def test_no_memory_is_one_line(error, message):
    with pytest.raises(UserError, match=message), loading.out_of_memory("loading x", "buy"):
        raise error
    with pytest.raises(RuntimeError, match="something else"), loading.out_of_memory("loading x", "buy"):
        raise RuntimeError("something else")


def test_a_token_out_of_the_vocabulary_is_named():
    backbone = tiny_backbone(IDS)
    with pytest.raises(UserError, match="a token that is not in the vocabulary of"):
        beam_search(backbone, IDS.trie, torch.tensor([[5, 9999]]), torch.ones(1, 2, dtype=torch.int64), width=2)
    with pytest.raises(UserError, match="text 1: <a_99> is no token of these semantic IDs"):
        backbone.encode(["fine <a_0>", "not fine <a_99>"])


def test_an_attention_that_cannot_share_a_prompt_is_named(base):
    backbone = tiny_backbone(IDS)
    backbone.model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(UserError, match="'flash_attention_2' takes no mask in which beams share a prompt"):
        beam_search(backbone, IDS.trie, torch.tensor([[5]]), torch.ones(1, 1, dtype=torch.int64), width=2)


def test_a_model_with_unknown_logits_is_refused(base, monkeypatch):
    forward = LlamaForCausalLM.forward

    def squared(self, *args, **kwargs):
        out = forward(self, *args, **kwargs)
        out.logits = out.logits**2
        return out

    monkeypatch.setattr(LlamaForCausalLM, "forward", squared)
    with pytest.raises(UserError, match="LlamaForCausalLM post-processes its logits in a way that is not supported"):
        load_backbone(str(base), IDS)


def test_padding():
    ids, mask = left_pad([[1, 2, 3], [4], []], 9)
    assert ids.tolist() == [[1, 2, 3], [9, 9, 4], [9, 9, 9]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1], [0, 0, 0]]
    ids, mask = trim(ids[1:2], mask[1:2])
    assert ids.tolist() == [[4]] and mask.tolist() == [[1]]


def test_sid_rows_can_be_started_again():
    backbone = tiny_backbone(IDS)
    rows = backbone.model.get_input_embeddings().weight
    before = rows.detach().clone()
    init_sid_rows(backbone.model, backbone.tokenizer, backbone.sid_tokens, IDS, "mean")
    first = int(backbone.sid_tokens[0])
    assert torch.equal(before[:first], rows[:first]) and not torch.equal(before[first:], rows[first:])
    assert rows.shape == before.shape
