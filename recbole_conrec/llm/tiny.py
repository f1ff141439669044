"""The offline backbone: a small Qwen3 with fresh weights and a tokenizer made from the data set's own text."""

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import model_validator
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM, set_seed

from recbole_conrec.llm.fields import Dropout
from recbole_conrec.options.schema import Count, Options

PAD, EOS, UNK = "<pad>", "<eos>", "<unk>"


class TinyOptions(Options):
    """Sizes of the offline backbone and of its vocabulary."""

    layers: Count = 4
    """Transformer layers."""
    hidden: Count = 128
    """Dimensions of the hidden states; an even number per head."""
    heads: Count = 4
    """Attention heads; they divide `hidden`."""
    kv_heads: Count = 4
    """Heads of keys and values; they divide `heads`."""
    intermediate: Count = 384
    """Dimensions inside the feed-forward layers."""
    max_length: Count = 4096
    """Tokens in a context."""
    dropout: Dropout = 0.0
    """Dropout of the attention weights."""
    tokenizer: Literal["word", "bpe"] = "word"
    """word: whole lower-case words, the shortest prompts; bpe: byte pairs, no unknown words."""
    vocab_size: Count = 8192
    """The number of most frequent words (or byte pairs) that get a token of their own."""

    @model_validator(mode="after")
    def _heads_divide(self):
        if self.hidden % (2 * self.heads):
            raise ValueError(
                f"hidden is {self.hidden} and heads is {self.heads}; expected a hidden divisible by 2 * heads"
            )
        if self.heads % self.kv_heads:
            raise ValueError(
                f"heads is {self.heads} and kv_heads is {self.kv_heads}; expected heads divisible by kv_heads"
            )
        return self


def build_tokenizer(texts: Iterable[str], options: TinyOptions) -> PreTrainedTokenizerFast:
    """A lower-casing tokenizer trained on `texts`, padding on the left."""
    special = [PAD, EOS, UNK]
    trainer: Any
    if options.tokenizer == "word":
        tokenizer = Tokenizer(models.WordLevel(unk_token=UNK))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        trainer = trainers.WordLevelTrainer(vocab_size=options.vocab_size, special_tokens=special, show_progress=False)
    else:
        tokenizer = Tokenizer(models.BPE(unk_token=UNK))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=options.vocab_size,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS, unk_token=UNK, padding_side="left"
    )


def build_model(vocab_size: int, options: TinyOptions, *, seed: int = 0, **kwargs) -> Qwen3ForCausalLM:
    """A Qwen3 with random weights, tied embeddings and `vocab_size` rows. kwargs: dtype, attn_implementation."""
    config = Qwen3Config(
        vocab_size=vocab_size,
        hidden_size=options.hidden,
        intermediate_size=options.intermediate,
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        num_key_value_heads=options.kv_heads,
        head_dim=options.hidden // options.heads,
        max_position_embeddings=options.max_length,
        attention_dropout=options.dropout,
        tie_word_embeddings=True,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    set_seed(seed)
    return Qwen3ForCausalLM._from_config(config, **kwargs)
