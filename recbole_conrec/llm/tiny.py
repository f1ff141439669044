"""The offline backbone: a small Qwen3 with fresh weights and a tokenizer made from the data set's own text."""

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM, set_seed

from recbole_conrec.utils.errors import UserError

PAD, EOS, UNK = "<pad>", "<eos>", "<unk>"

# Every key of the option `tiny:`, with its default
DEFAULTS = {
    "layers": 4,
    "hidden": 128,
    "heads": 4,
    "kv_heads": 4,
    "intermediate": 384,
    "max_length": 4096,  # tokens in a context
    "dropout": 0.0,  # of the attention weights
    "tokenizer": "word",  # word: whole lower-case words, the shortest prompts; bpe: no unknown words
    "vocab_size": 8192,  # the most frequent words (or BPE pieces) that get a token of their own
}


def build_tokenizer(texts, kind: str = "word", vocab_size: int = 8192) -> PreTrainedTokenizerFast:
    """A lower-casing tokenizer trained on `texts` (any iterable of str), padding on the left. 'word' or 'bpe'."""
    special = [PAD, EOS, UNK]
    if kind == "word":
        tokenizer = Tokenizer(models.WordLevel(unk_token=UNK))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        trainer = trainers.WordLevelTrainer(vocab_size=vocab_size, special_tokens=special, show_progress=False)
    elif kind == "bpe":
        tokenizer = Tokenizer(models.BPE(unk_token=UNK))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    else:
        raise UserError(f"tiny.tokenizer: {kind!r} is none of word, bpe")
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS, unk_token=UNK, padding_side="left"
    )


def build_model(vocab_size: int, options: dict, *, seed: int = 0, **kwargs) -> Qwen3ForCausalLM:
    """A Qwen3 with random weights, tied embeddings and `vocab_size` rows. `options`: see DEFAULTS."""
    size = resolve(options)
    config = Qwen3Config(
        vocab_size=vocab_size,
        hidden_size=size["hidden"],
        intermediate_size=size["intermediate"],
        num_hidden_layers=size["layers"],
        num_attention_heads=size["heads"],
        num_key_value_heads=size["kv_heads"],
        head_dim=size["hidden"] // size["heads"],
        max_position_embeddings=size["max_length"],
        attention_dropout=size["dropout"],
        tie_word_embeddings=True,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    set_seed(seed)
    return Qwen3ForCausalLM._from_config(config, **kwargs)


def resolve(options: dict | None) -> dict:
    """`options` over the defaults; an unknown key is a UserError that lists the known ones."""
    unknown = set(options or {}) - set(DEFAULTS)
    if unknown:
        raise UserError(f"tiny: unknown option {sorted(unknown)[0]!r}; known are {', '.join(DEFAULTS)}")
    return DEFAULTS | (options or {})
