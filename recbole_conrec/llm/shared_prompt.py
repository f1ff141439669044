"""One prompt, computed once, and the W beams (or samples, or candidates) of a user that continue it.

The W continuations are W query tokens of one row. A 4-D mask lets each see the prompt and its own earlier tokens only,
and positions are counted from the prompt's end, so that a beam computes exactly what it would compute alone while the
prompt's keys and values are neither repeated nor reordered.
"""

from typing import TypeAlias, get_args

import torch
import torch.nn.functional as F
from transformers import DynamicCache, EncoderDecoderCache

from recbole_conrec.llm.fields import Attention
from recbole_conrec.llm.head import unwrap
from recbole_conrec.utils.errors import UserError

SharedPrompt: TypeAlias = "CausalPrompt | T5Prompt"


def open_prompt(model, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SharedPrompt:
    """Compute left-padded prompts [B, T] once, of a model inside any wrappers."""
    model = unwrap(model)
    kind = T5Prompt if model.config.is_encoder_decoder else CausalPrompt
    return kind(model, input_ids, attention_mask)


class CausalPrompt:
    """The prompts of B users in a decoder-only model, and the continuations that were fed so far.

    Args:
        model: a transformers model without wrappers.
        input_ids, attention_mask: int64 [B, T], prompts padded on the left.

    Attributes:
        hidden: [B, 1, H], the hidden states at the prompts' ends, which predict the first code.
        size: T.
    """

    def __init__(self, model, input_ids: torch.Tensor, attention_mask: torch.Tensor):
        check_attention(model)
        self.body = model.base_model
        self.config = model.config.get_text_config(decoder=True)
        batch, self.size = input_ids.shape
        self.length = attention_mask.sum(1)  # [B]
        # Rows begin at the left while the prompt is computed: attention is then plainly causal and needs no mask.
        place = torch.arange(self.size, device=input_ids.device).expand(batch, -1)
        self.mask = place < self.length[:, None]  # [B, T]
        self.cache = DynamicCache()  # without a config: whole layers, also where the model slides a window
        out = self.body(
            input_ids=input_ids.gather(1, (place + self.size - self.length[:, None]).clamp(max=self.size - 1)),
            past_key_values=self.cache,
            use_cache=True,
        ).last_hidden_state
        last = (self.length - 1).clamp(min=0).to(out.device)[:, None, None]
        self.hidden = out.gather(1, last.expand(-1, -1, out.shape[2]))
        self.rewind()

    def rewind(self) -> "CausalPrompt":
        """The same prompts without what was fed since their end."""
        if fed := self.cache.get_seq_length() - self.size:
            self.cache.crop(-fed)
        self.position = torch.arange(self.size, device=self.mask.device).expand(len(self.mask), -1)  # of every key
        # [B, W, fed tokens]: which fed tokens each current beam descends from, itself included
        self.ancestry: torch.Tensor | None = None
        self.steps = 0
        return self

    def extend(self, tokens: torch.Tensor, parent: torch.Tensor) -> torch.Tensor:
        """Feed one more token to W beams: tokens [B, W]; parent [B, W]: which beam of the last call each continues.

        Returns the hidden states [B, W, H] that predict the next code. The first call's parents are all 0.
        """
        self.ancestry = extend_ancestry(self.ancestry, parent)
        position = (self.length + self.steps)[:, None].expand_as(tokens)
        self.steps += 1
        return self._feed(tokens, self.ancestry, position)

    def follow(self, texts: torch.Tensor) -> torch.Tensor:
        """Feed C texts that do not see each other, [B, C, L] (any token after a text's end), right after the prompt.

        Returns the hidden states [B, C, L + 1, H] at the prompt's end and at every token.
        """
        batch, count, length = texts.shape
        place = torch.arange(count * length, device=texts.device)
        text, step = place // length, place % length
        own = (text[:, None] == text) & (step[:, None] >= step)
        out = self._feed(texts.flatten(1), own.expand(batch, -1, -1), self.length[:, None] + step)
        first = self.hidden[:, :, None].expand(-1, count, -1, -1)
        return torch.cat([first, out.unflatten(1, (count, length))], 2)

    def _feed(self, tokens: torch.Tensor, fed: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        """Hidden states [B, Q, H] of tokens [B, Q] at these positions [B, Q].

        They see all of the prompt, and of what was fed since its end (themselves included) what `fed` [B, Q, keys]
        marks.
        """
        self.position = torch.cat([self.position, position], 1)
        allowed = torch.cat([self.mask[:, None].expand(-1, tokens.shape[1], -1), fed], 2)
        out = self.body(
            input_ids=tokens,
            attention_mask=attention_masks(self.body, self.config, allowed, position, self.position),
            position_ids=position,
            past_key_values=self.cache,
            use_cache=True,
        )
        return out.last_hidden_state


class T5Prompt:
    """The prompts of B users in the encoder of a T5, and the continuations in its decoder. See `CausalPrompt`.

    T5 takes distances from the place of a token in its row, where all beams of a level are side by side. The mask is
    additive there, so it carries the difference between the bias of the true distance and the one T5 will add.
    """

    def __init__(self, model, input_ids: torch.Tensor, attention_mask: torch.Tensor):
        if model.config.model_type not in ("t5", "mt5"):
            raise UserError(f"llm: encoder-decoder type {model.config.model_type!r} is not supported; use T5")
        check_attention(model)
        self.decoder = model.decoder
        self.encoded = model.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        self.encoder_mask = attention_mask
        self.size = input_ids.shape[1]
        self.cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        self.start = input_ids.new_full((len(input_ids), 1), model.config.decoder_start_token_id)
        self.rewind()

    def rewind(self) -> "T5Prompt":
        """As `CausalPrompt.rewind`."""
        self.cache.self_attention_cache = DynamicCache()
        self.ancestry: torch.Tensor | None = None
        self.steps = 0
        self.key_step = self.start.new_zeros(0)  # the step at which each key was fed
        self.hidden = self._decode(self.start, torch.zeros_like(self.start))
        return self

    def extend(self, tokens: torch.Tensor, parent: torch.Tensor) -> torch.Tensor:
        """As `CausalPrompt.extend`."""
        return self._decode(tokens, parent)

    def _decode(self, tokens: torch.Tensor, parent: torch.Tensor) -> torch.Tensor:
        fed = 0 if self.ancestry is None else self.ancestry.shape[2]
        ancestry = self.ancestry = extend_ancestry(self.ancestry, parent)  # [B, W, keys]
        # the keys that a beam sees are its ancestors, one of each step, so that a key's step is its position
        self.key_step = F.pad(self.key_step, (0, tokens.shape[1]), value=self.steps)
        attention = self.decoder.block[0].layer[0].SelfAttention
        true = _t5_bias(attention, self.key_step[None] - self.steps)  # [1, heads, 1, keys]
        added = attention.compute_bias(tokens.shape[1], len(self.key_step), tokens.device, past_seen_tokens=fed)
        bias = (true - added).to(self.encoded.dtype)
        mask = bias.masked_fill(~ancestry[:, None], torch.finfo(bias.dtype).min)
        out = self.decoder(
            input_ids=tokens,
            attention_mask=mask,
            encoder_hidden_states=self.encoded,
            encoder_attention_mask=self.encoder_mask,
            past_key_values=self.cache,
            use_cache=True,
        )
        self.steps += 1
        return out.last_hidden_state


def extend_ancestry(ancestry: torch.Tensor | None, parent: torch.Tensor) -> torch.Tensor:
    """Which fed tokens each beam descends from: its parent's, then itself.

    `ancestry` bool [B, W', S] after the last call, `parent` [B, W] -> bool [B, W, S + W].
    """
    own = torch.eye(parent.shape[1], dtype=torch.bool, device=parent.device).expand(len(parent), -1, -1)
    if ancestry is None:
        return own
    inherited = ancestry.gather(1, parent[:, :, None].expand(-1, -1, ancestry.shape[2]))
    return torch.cat([inherited, own], 2)


def attention_masks(
    body, config, allowed: torch.Tensor, query_position: torch.Tensor, key_position: torch.Tensor
) -> torch.Tensor | dict[str, torch.Tensor]:
    """The mask `allowed` (bool [B, Q, K]) as the attention takes it; a dict where some layers slide a window.

    Positions [B, Q] and [B, K] are those of a token in its own sequence, for the width of the window.
    """
    dtype = body.get_input_embeddings().weight.dtype
    kinds = set(getattr(config, "layer_types", None) or ())
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    if window is None or (kinds and "sliding_attention" not in kinds):
        return _as_mask(config, allowed, dtype)
    distance = query_position[:, :, None] - key_position[:, None]
    sliding = _as_mask(config, allowed & (distance < window), dtype)
    if not kinds:  # every layer slides
        return sliding
    return {"full_attention": _as_mask(config, allowed, dtype), "sliding_attention": sliding}


def _as_mask(config, allowed: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    if config._attn_implementation == "sdpa":
        return allowed[:, None]
    mask = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return mask.masked_fill_(~allowed, torch.finfo(dtype).min)[:, None]


def check_attention(model) -> None:
    """Raise UserError where a prompt cannot be shared: recurrent layers, or an attention that takes no 4-D mask."""
    config = model.config.get_text_config(decoder=True)
    if config._attn_implementation not in get_args(Attention):
        raise UserError(
            f"attn_implementation: {config._attn_implementation!r} takes no mask in which beams share a prompt; "
            "use sdpa or eager"
        )
    odd = set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    if odd:
        raise UserError(f"llm: layers of type {', '.join(sorted(odd))} cannot share a prompt; use full attention")


def _t5_bias(attention, relative_position: torch.Tensor) -> torch.Tensor:
    """The decoder's learned bias [1, heads, Q, K] for relative positions [Q, K] (key minus query, at most 0)."""
    bucket = attention._relative_position_bucket(
        relative_position,
        bidirectional=False,
        num_buckets=attention.relative_attention_num_buckets,
        max_distance=attention.relative_attention_max_distance,
    )
    return attention.relative_attention_bias(bucket).permute(2, 0, 1)[None]
