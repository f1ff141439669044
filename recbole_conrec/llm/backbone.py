"""Any language model by one option, with every code of the semantic IDs as one token of its vocabulary."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import model_validator
from transformers import PreTrainedTokenizerBase, set_seed

from recbole_conrec.llm import loading
from recbole_conrec.llm.adapters import LoraOptions, add_lora
from recbole_conrec.llm.fields import Attention, Dtype
from recbole_conrec.llm.head import Head, unwrap
from recbole_conrec.llm.shared_prompt import check_attention
from recbole_conrec.llm.sid_tokens import Start, add_sid_tokens, init_sid_rows
from recbole_conrec.llm.tiny import TinyOptions, build_model, build_tokenizer
from recbole_conrec.llm.words import Words, opening
from recbole_conrec.options.schema import Options
from recbole_conrec.utils.errors import UserError

if TYPE_CHECKING:
    from recbole_conrec.tokenizer.semantic_ids import SemanticIds

SID = re.compile(r"<[a-z]_\d+>")
NO_TOKENIZER = "this backbone reads token ids, not text: it has no tokenizer"


class BackboneOptions(Options):
    """How a language model is loaded: the option `llm_options`."""

    tiny: TinyOptions = TinyOptions()
    """Sizes of the offline backbone; read where `llm` is tiny."""
    lora: LoraOptions | None = None
    """Train adapters instead of all weights; {} for their defaults."""
    sid_init: Start = "mean"
    """How the SID tokens' rows start: near the vocabulary's mean, or (text) from the texts of each code's items."""
    dtype: Dtype = "float32"
    """Type of the weights; auto: as the model was saved."""
    device_map: str | dict[str, int | str] | None = None
    """As transformers takes it, e.g. auto, to spread a model over several GPUs; null: one device."""
    attn_implementation: Attention = "sdpa"
    """Attention; others, flash attention among them, take no mask in which beams share a prompt."""
    quantize: Literal["8bit", "4bit"] | None = None
    """Quantise the weights by bitsandbytes; needs `lora`."""
    pad_token: str | None = None
    """The token that a model without a padding token pads with."""
    cache_dir: str | None = None
    """Folder where the weights of a GGUF file are unpacked to; null: Hugging Face's cache."""

    @model_validator(mode="after")
    def _quantised_weights_do_not_train(self):
        if self.quantize and self.lora is None:
            raise ValueError("quantize: quantised weights cannot be trained; set lora as well, e.g. lora: {}")
        return self


@dataclass
class Backbone:
    """A language model whose vocabulary holds semantic IDs.

    Attributes:
        model: a transformers causal model (or T5), possibly inside PEFT.
        tokenizer: its fast tokenizer, padding on the left; None for a model whose prompts are made of ids alone, see
            `t5.load_t5`.
        sid_tokens: int64 [sum(sizes)]; vocabulary id of `semantic_ids.tokens()[i]`.
        semantic_ids: the IDs for which it was made.
    """

    model: torch.nn.Module
    tokenizer: PreTrainedTokenizerBase | None
    sid_tokens: torch.Tensor
    semantic_ids: "SemanticIds"

    @cached_property
    def level_tokens(self) -> list[torch.Tensor]:
        """Per level, the vocabulary ids [sizes[level]] of its codes."""
        return list(self.sid_tokens.split(list(self.semantic_ids.sizes)))

    @property
    def pad_id(self) -> int:
        """Vocabulary id of the padding."""
        return self._text_config.pad_token_id if self.tokenizer is None else self.tokenizer.pad_token_id

    @property
    def eos_id(self) -> int:
        """Vocabulary id of the end of a text."""
        return self._text_config.eos_token_id if self.tokenizer is None else self.tokenizer.eos_token_id

    @property
    def device(self) -> torch.device:
        """Where the model is (its first parameters, if it is spread over several devices)."""
        return unwrap(self.model).device

    @property
    def max_length(self) -> int:
        """Tokens in the model's context."""
        names = ("max_position_embeddings", "n_positions")  # GPT-2 and T5 have the latter
        return next((length for name in names if (length := getattr(self._text_config, name, None))), 512)

    @property
    def _text_config(self) -> Any:
        return unwrap(self.model).config.get_text_config()

    @cached_property
    def item_tokens(self) -> torch.Tensor:
        """int64 [n_items, depth]: vocabulary ids of each item's SID; items without an ID (row 0) are padding."""
        codes = torch.tensor(self.semantic_ids.codes)
        offset = torch.as_tensor(self.semantic_ids.level_offset)
        tokens = self.sid_tokens[(codes.clamp(min=0) + offset)]
        return tokens.masked_fill(codes < 0, self.pad_id)

    @cached_property
    def start(self) -> list[int]:
        """What every prompt begins with: the tokens that the tokenizer puts first, such as <bos>; often none."""
        return [] if self.tokenizer is None else opening(self.tokenizer)

    @cached_property
    def words(self) -> Words:
        """Token ids of texts that people wrote: names of tokens in them, <eos> or <a_1>, are words like others."""
        if self.tokenizer is None:
            raise UserError(NO_TOKENIZER)
        return Words(self.tokenizer)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of texts of one's own, without special tokens around them. SIDs may appear in the text; what users
        wrote, such as titles, is read by `words`.

        Raises UserError for a text with a SID token that the semantic IDs do not have (it would become several
        tokens), and for a backbone without a tokenizer.
        """
        if self.tokenizer is None:
            raise UserError(NO_TOKENIZER)
        known = set(self.semantic_ids.tokens())
        for n, text in enumerate(texts):
            strange = next((name for name in SID.findall(text) if name not in known), None)
            if strange is not None:
                raise UserError(f"text {n}: {strange} is no token of these semantic IDs; were they made again?")
        return self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]


def load_backbone(
    llm: str,
    semantic_ids: "SemanticIds",
    texts: Iterable[str] = (),
    options: BackboneOptions | None = None,
    *,
    item_texts: Sequence[str] | None = None,
    device: str | torch.device = "cpu",
    seed: int = 0,
) -> Backbone:
    """The backbone named by `llm:`, with the codes of `semantic_ids` in its vocabulary.

    Args:
        llm: 'tiny' (a Qwen3 with fresh weights, a tokenizer made of `texts`), a hub id, a folder or a `.gguf` file.
        semantic_ids: the IDs of the catalogue.
        texts: item texts and prompt templates; only `tiny` reads them.
        options: see there; None for the defaults.
        item_texts: text of each item, index = item id; read for `sid_init: text`.
        device: where the model goes, unless `options.device_map` says otherwise.
        seed: of fresh weights.

    Raises UserError for a model that cannot be found or loaded, what is not installed, does not fit into memory or
    cannot share a prompt between beams, and for options that do not fit the model.
    """
    options = options or BackboneOptions()
    model: Any
    tokenizer: PreTrainedTokenizerBase
    if llm == "tiny":
        if options.quantize:
            raise UserError("llm_options.quantize: the backbone tiny cannot be quantised; leave it out")
        tokenizer = build_tokenizer(texts, options.tiny)
        sid_tokens = add_sid_tokens(tokenizer, semantic_ids)
        model = build_model(
            len(tokenizer),
            options.tiny,
            seed=seed,
            dtype=loading.dtype_of(options.dtype),
            attn_implementation=options.attn_implementation,
        )
        model.to(device)
    else:
        model, tokenizer = loading.load(
            llm,
            dtype=options.dtype,
            device=device,
            device_map=options.device_map,
            attn_implementation=options.attn_implementation,
            quantize=options.quantize,
            cache_dir=options.cache_dir,
        )
        _set_pad_token(model, tokenizer, options.pad_token, llm)
        sid_tokens = add_sid_tokens(tokenizer, semantic_ids)
    if llm != "tiny" or options.sid_init != "mean":  # fresh rows are as good as any others
        init_sid_rows(model, tokenizer, sid_tokens, semantic_ids, options.sid_init, item_texts, seed)
    check_attention(model)
    Head(model).check()
    if options.lora is not None:
        set_seed(seed)
        model = add_lora(model, sid_tokens, options.lora, quantized=options.quantize is not None)
    return Backbone(model, tokenizer, sid_tokens, semantic_ids)


def _set_pad_token(model, tokenizer: PreTrainedTokenizerBase, pad_token: str | None, llm: str) -> None:
    """Make model and tokenizer agree on a padding token. Raises UserError if there is none and none is named."""
    if pad_token is not None:
        if pad_token not in tokenizer.get_vocab():
            raise UserError(f"llm_options.pad_token: {llm} has no token {pad_token!r}; name one of its tokens")
        tokenizer.pad_token = pad_token
    if tokenizer.pad_token is None:
        example = tokenizer.eos_token or "one of its tokens"
        raise UserError(f"llm: {llm} has no padding token; name one of its tokens, e.g. pad_token: {example!r}")
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
