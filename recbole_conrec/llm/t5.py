"""A small T5 with fresh weights whose vocabulary is the semantic IDs' codes and a few ids more: no words, no network.

For models whose prompt is made of ids alone (TIGER, P5-CID). `Backbone.tokenizer` is None; the vocabulary is

    0 padding, which also starts the decoder | 1 the end | 2 .. extra + 1 the model's own | then one id per code
"""

from typing import TYPE_CHECKING

import torch
from transformers import T5Config, T5ForConditionalGeneration, set_seed

from recbole_conrec.llm.backbone import Backbone
from recbole_conrec.llm.fields import Attention, Dropout, Dtype
from recbole_conrec.llm.loading import dtype_of
from recbole_conrec.options.schema import Count, Options

if TYPE_CHECKING:
    from recbole_conrec.tokenizer.semantic_ids import SemanticIds

PAD, EOS, FIRST_EXTRA = 0, 1, 2


class T5Options(Options):
    """Sizes of the T5; the defaults are TIGER's (Rajput et al. 2023, arXiv:2305.05065)."""

    d_model: Count = 128
    """Dimensions of the hidden states."""
    heads: Count = 6
    """Attention heads; heads * d_kv need not be d_model."""
    d_kv: Count = 64
    """Dimensions of keys and values, per head."""
    d_ff: Count = 1024
    """Dimensions inside the feed-forward layers."""
    layers: Count = 4
    """Layers of the encoder, and of the decoder."""
    dropout: Dropout = 0.1
    """Dropout of every layer's output and of the attention weights."""
    max_length: Count = 512
    """Tokens in a prompt."""
    dtype: Dtype = "float32"
    """Type of the weights."""
    attn_implementation: Attention = "eager"
    """Attention. On a CPU eager trains faster: T5's bias rules out the fused kernels."""


def load_t5(
    semantic_ids: "SemanticIds",
    options: T5Options | None = None,
    *,
    extra: int = 0,
    device: str | torch.device = "cpu",
    seed: int = 0,
) -> Backbone:
    """A T5 for prompts of ids alone.

    Args:
        semantic_ids: the IDs of the catalogue.
        options: see there; None for the defaults.
        extra: ids for what a prompt holds besides items: users, kinds of feedback. They are FIRST_EXTRA and following.
        device: where the model goes.
        seed: of the weights.
    """
    options = options or T5Options()
    first = FIRST_EXTRA + extra
    vocabulary = first + sum(semantic_ids.sizes)
    config = T5Config(  # type: ignore[call-arg]  # its base class takes any keyword
        vocab_size=vocabulary,
        d_model=options.d_model,
        num_heads=options.heads,
        d_kv=options.d_kv,
        d_ff=options.d_ff,
        num_layers=options.layers,
        dropout_rate=options.dropout,
        n_positions=options.max_length,
        pad_token_id=PAD,
        decoder_start_token_id=PAD,
        eos_token_id=EOS,
    )
    set_seed(seed)
    model = T5ForConditionalGeneration._from_config(
        config, dtype=dtype_of(options.dtype), attn_implementation=options.attn_implementation
    ).to(device)
    return Backbone(model, None, torch.arange(first, vocabulary), semantic_ids)
