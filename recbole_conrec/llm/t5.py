"""A small T5 with fresh weights whose vocabulary is the semantic IDs' codes and a few ids more: no words, no network.

For models whose prompt is made of ids alone (TIGER, P5-CID). `Backbone.tokenizer` is None; the vocabulary is

    0 padding, which also starts the decoder | 1 the end | 2 .. extra + 1 the model's own | then one id per code
"""

import torch
from transformers import T5Config, T5ForConditionalGeneration, set_seed

from recbole_conrec.llm.backbone import Backbone
from recbole_conrec.llm.loading import dtype_of
from recbole_conrec.utils.errors import UserError

PAD, EOS, FIRST_EXTRA = 0, 1, 2

# Every key of the option `t5:`, with its default: TIGER's sizes
DEFAULTS = {
    "d_model": 128,
    "heads": 6,
    "d_kv": 64,  # per head; heads * d_kv need not be d_model
    "d_ff": 1024,
    "layers": 4,  # of the encoder, and as many of the decoder
    "dropout": 0.1,
    "max_length": 512,  # tokens in a prompt
}


def load_t5(
    semantic_ids,
    options: dict | None = None,
    *,
    extra: int = 0,
    dtype: str = "float32",
    device="cpu",
    attn_implementation: str = "eager",
    seed: int = 0,
) -> Backbone:
    """A T5 for prompts of ids alone.

    Args:
        options: see DEFAULTS.
        extra: ids for what a prompt says besides items: users, kinds of feedback. They are FIRST_EXTRA and following.
        attn_implementation: eager or sdpa. On a CPU eager trains faster: T5's bias rules out the fused kernels.
        seed: of the weights.
    """
    unknown = set(options or {}) - set(DEFAULTS)
    if unknown:
        raise UserError(f"t5: unknown option {sorted(unknown)[0]!r}; known are {', '.join(DEFAULTS)}")
    size = DEFAULTS | (options or {})
    for name, value in size.items():
        if name == "dropout":
            good, expected = type(value) in (int, float) and 0 <= value < 1, "a share below 1"
        else:
            good, expected = type(value) is int and value >= 1, "a whole number of at least 1"
        if not good:
            raise UserError(f"t5: {name} is {value!r}; expected {expected}")
    first = FIRST_EXTRA + extra
    vocabulary = first + sum(semantic_ids.sizes)
    config = T5Config(
        vocab_size=vocabulary,
        d_model=size["d_model"],
        num_heads=size["heads"],
        d_kv=size["d_kv"],
        d_ff=size["d_ff"],
        num_layers=size["layers"],
        dropout_rate=size["dropout"],
        n_positions=size["max_length"],
        pad_token_id=PAD,
        decoder_start_token_id=PAD,
        eos_token_id=EOS,
    )
    set_seed(seed)
    model = T5ForConditionalGeneration._from_config(
        config, dtype=dtype_of(dtype), attn_implementation=attn_implementation
    ).to(device)
    source = {"llm": "t5", "dtype": dtype, "attn_implementation": attn_implementation}
    return Backbone(model, None, torch.arange(first, vocabulary), semantic_ids, source)
