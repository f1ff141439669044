"""Any language model by one option, with every code of the semantic IDs as one token of its vocabulary."""

from dataclasses import dataclass
from functools import cached_property

import torch
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerBase

from recbole_conrec.errors import UserError
from recbole_conrec.llm import tiny as tiny_model
from recbole_conrec.llm.head import Head, unwrap


@dataclass
class Backbone:
    """A language model that speaks semantic IDs.

    Attributes:
        model: a transformers causal model (or T5), possibly inside PEFT.
        tokenizer: its fast tokenizer, padding on the left; None for a model whose prompts are made of ids alone.
        sid_tokens: int64 [sum(sizes)]; vocabulary id of `semantic_ids.tokens()[i]`.
        semantic_ids: the IDs it was made for.
    """

    model: torch.nn.Module
    tokenizer: PreTrainedTokenizerBase | None
    sid_tokens: torch.Tensor
    semantic_ids: object

    @cached_property
    def level_tokens(self) -> list[torch.Tensor]:
        """Per level, the vocabulary ids [sizes[level]] of its codes."""
        return list(self.sid_tokens.split(list(self.semantic_ids.sizes)))

    @property
    def pad_id(self) -> int:
        return self.tokenizer.pad_token_id

    @property
    def eos_id(self) -> int:
        return self.tokenizer.eos_token_id

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
        """Token ids of texts, without special tokens around them. SIDs may appear in the text."""
        return self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]


def load_backbone(
    llm: str, semantic_ids, texts=(), *, tiny: dict | None = None, dtype="float32", device="cpu", seed: int = 0,
    attn_implementation: str = "sdpa",
) -> Backbone:
    """The backbone named by `llm:`. 'tiny': a Qwen3 with fresh weights (sizes: see `tiny.DEFAULTS`) and a tokenizer
    made of `texts` (item texts and prompt templates)."""
    if llm != "tiny":
        raise UserError(f"llm: {llm!r} is not known yet")
    size = tiny_model.resolve(tiny)
    tokenizer = tiny_model.build_tokenizer(texts, size["tokenizer"], size["vocab_size"])
    sid_tokens = add_sid_tokens(tokenizer, semantic_ids)
    model = tiny_model.build_model(
        len(tokenizer), size, seed=seed, dtype=getattr(torch, dtype), attn_implementation=attn_implementation
    ).to(device)
    Head(model).check()
    return Backbone(model, tokenizer, sid_tokens, semantic_ids)


def add_sid_tokens(tokenizer, semantic_ids) -> torch.Tensor:
    """Make every code a whole token (not special: TRL drops special tokens on decoding) -> their ids [sum(sizes)]."""
    names = semantic_ids.tokens()
    tokenizer.add_tokens([AddedToken(name, special=False, normalized=False) for name in names])
    ids = tokenizer.convert_tokens_to_ids(names)
    if None in ids or tokenizer.unk_token_id in ids:
        missing = next(n for n, i in zip(names, ids, strict=True) if i is None or i == tokenizer.unk_token_id)
        raise UserError(f"llm: the tokenizer has no token {missing}; use a fast tokenizer that takes added tokens")
    return torch.tensor(ids)
