"""Any language model by one option, with every code of the semantic IDs as one token of its vocabulary."""

import inspect
import re
from dataclasses import dataclass, field
from functools import cached_property

import torch
from transformers import PreTrainedTokenizerBase, set_seed

from recbole_conrec.llm import loading
from recbole_conrec.llm import tiny as tiny_model
from recbole_conrec.llm.adapters import add_lora
from recbole_conrec.llm.head import Head, unwrap
from recbole_conrec.llm.shared_prompt import check_attention, check_implementation
from recbole_conrec.llm.sid_tokens import add_sid_tokens, init_sid_rows
from recbole_conrec.utils.errors import UserError

SID = re.compile(r"<[a-z]_\d+>")


@dataclass
class Backbone:
    """A language model that speaks semantic IDs.

    Attributes:
        model: a transformers causal model (or T5), possibly inside PEFT.
        tokenizer: its fast tokenizer, padding on the left; None for a model whose prompts are made of ids alone, see
            `t5.load_t5`.
        sid_tokens: int64 [sum(sizes)]; vocabulary id of `semantic_ids.tokens()[i]`.
        semantic_ids: the IDs it was made for.
        source: the options it was loaded with, as plain JSON, for `save_backbone`.
    """

    model: torch.nn.Module
    tokenizer: PreTrainedTokenizerBase | None
    sid_tokens: torch.Tensor
    semantic_ids: object
    source: dict = field(default_factory=dict)

    @cached_property
    def level_tokens(self) -> list[torch.Tensor]:
        """Per level, the vocabulary ids [sizes[level]] of its codes."""
        return list(self.sid_tokens.split(list(self.semantic_ids.sizes)))

    @property
    def pad_id(self) -> int:
        return (self.tokenizer or unwrap(self.model).config.get_text_config()).pad_token_id

    @property
    def eos_id(self) -> int:
        return (self.tokenizer or unwrap(self.model).config.get_text_config()).eos_token_id

    @property
    def device(self) -> torch.device:
        return unwrap(self.model).device

    @property
    def max_length(self) -> int:
        """Tokens in the model's context."""
        config = unwrap(self.model).config.get_text_config()
        return getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", 512)

    @cached_property
    def item_tokens(self) -> torch.Tensor:
        """int64 [n_items, depth]: vocabulary ids of each item's SID; items without an ID (row 0) are padding."""
        codes = torch.tensor(self.semantic_ids.codes)
        offset = torch.as_tensor(self.semantic_ids.level_offset)
        tokens = self.sid_tokens[(codes.clamp(min=0) + offset)]
        return tokens.masked_fill(codes < 0, self.pad_id)

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Token ids of texts, without special tokens around them. SIDs may appear in the text.

        Raises UserError for a text with a SID token that the semantic IDs do not have: it would fall into pieces.
        """
        known = set(self.semantic_ids.tokens())
        for n, text in enumerate(texts):
            strange = next((name for name in SID.findall(text) if name not in known), None)
            if strange is not None:
                raise UserError(f"text {n}: {strange} is no token of these semantic IDs; were they made anew?")
        return self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]


def load_backbone(
    llm: str,
    semantic_ids,
    texts=(),
    *,
    item_texts: list[str] | None = None,
    tiny: dict | None = None,
    lora: dict | None = None,
    sid_init: str = "mean",
    dtype: str = "float32",
    device="cpu",
    device_map=None,
    attn_implementation: str = "sdpa",
    quantize: str | None = None,
    pad_token: str | None = None,
    cache_dir=None,
    seed: int = 0,
    **unknown,
) -> Backbone:
    """The backbone named by `llm:`, with the codes of `semantic_ids` in its vocabulary.

    Args:
        llm: 'tiny' (a Qwen3 with fresh weights, a tokenizer made of `texts`), a hub id, a folder or a `.gguf` file.
        texts: item texts and prompt templates; only `tiny` reads them.
        item_texts: text of each item, index = item id; `sid_init: text` reads them.
        tiny: sizes, see `tiny.DEFAULTS`.
        lora: train adapters (see `adapters.DEFAULTS`; {} for the defaults) instead of all weights.
        sid_init: how SID tokens start, 'mean' or 'text', see `init_sid_rows`.
        dtype: float32, bfloat16, float16, or auto (as the model was saved).
        device_map: as transformers takes it, e.g. auto, to spread a model over several GPUs.
        attn_implementation: sdpa or eager; others take no mask in which beams share a prompt.
        quantize: 8bit or 4bit, where bitsandbytes is installed; needs `lora`.
        pad_token: which of its tokens a model without one pads with.
        cache_dir: where a GGUF file's weights are unpacked to.
        seed: of fresh weights.

    Raises UserError for an option that does not exist, what is not installed, does not fit into memory or cannot share
    a prompt.
    """
    if unknown:
        known = [name for name, p in inspect.signature(load_backbone).parameters.items() if p.kind is p.KEYWORD_ONLY]
        raise UserError(f"llm_options: unknown option {min(unknown)!r}; known are {', '.join(known)}")
    size = tiny_model.resolve(tiny)
    check_implementation(attn_implementation)  # before a package for it is looked for
    if llm == "tiny":
        tokenizer = tiny_model.build_tokenizer(texts, size["tokenizer"], size["vocab_size"])
        sid_tokens = add_sid_tokens(tokenizer, semantic_ids)
        model = tiny_model.build_model(
            len(tokenizer), size, seed=seed, dtype=loading.dtype_of(dtype), attn_implementation=attn_implementation
        ).to(device)
        if sid_init != "mean":  # fresh rows are as good as any others
            init_sid_rows(model, tokenizer, sid_tokens, semantic_ids, sid_init, item_texts, seed)
    else:
        if quantize and lora is None:
            raise UserError("quantize: quantised weights cannot be trained; set lora as well, e.g. lora: {}")
        model, tokenizer = loading.load(
            llm,
            dtype=dtype,
            device=device,
            device_map=device_map,
            attn_implementation=attn_implementation,
            quantize=quantize,
            cache_dir=cache_dir,
        )
        set_pad_token(model, tokenizer, pad_token, llm)
        sid_tokens = add_sid_tokens(tokenizer, semantic_ids)
        init_sid_rows(model, tokenizer, sid_tokens, semantic_ids, sid_init, item_texts, seed)
    check_attention(model)
    Head(model).check()
    if lora is not None:
        set_seed(seed)
        model = add_lora(model, sid_tokens, lora, quantized=quantize is not None)
    source = {
        "llm": str(llm),
        "dtype": dtype,
        "attn_implementation": attn_implementation,
        "quantize": quantize,
        "cache_dir": None if cache_dir is None else str(cache_dir),
    }
    return Backbone(model, tokenizer, sid_tokens, semantic_ids, source)


def set_pad_token(model, tokenizer, pad_token: str | None, llm: str) -> None:
    """Model and tokenizer agree on a padding token; UserError if there is none and none is named."""
    if pad_token is not None:
        if pad_token not in tokenizer.get_vocab():
            raise UserError(f"pad_token: {llm} has no token {pad_token!r}; name one of its tokens")
        tokenizer.pad_token = pad_token
    if tokenizer.pad_token is None:
        hint = tokenizer.eos_token or "one of its tokens"
        raise UserError(f"llm: {llm} has no padding token; name one of its tokens, e.g. pad_token: {hint!r}")
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
