"""Texts that people wrote as tokens: names of control tokens in them, such as <eos> or <a_1>, are words like others."""

import json
from collections.abc import Sequence

from tokenizers import Encoding, Tokenizer
from transformers import PreTrainedTokenizerBase


class Words:
    """Text -> token ids, none of which is a control token: a special token, an added one, or a semantic ID's code.

    Args:
        tokenizer: a tokenizer of transformers, with the codes of the semantic IDs if it has any.

    A text without such names gets the same tokens as from `tokenizer(text, add_special_tokens=False)`.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        self.tokenizer = tokenizer
        self.unknown = tokenizer.unk_token_id
        added = {token.content: number for number, token in tokenizer.added_tokens_decoder.items()}
        # runs of blanks and the like, which some vocabularies add, are no names
        self.control = {number for content, number in added.items() if any(map(str.isalnum, content))}
        self.control |= set(tokenizer.all_special_ids)
        self.names = dict(zip(self.control, tokenizer.convert_ids_to_tokens(list(self.control)), strict=True))
        self.plain = self._without_control()

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special tokens around them."""
        plain = self.plain
        if plain is None:  # a tokenizer in Python
            encoded = self.tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)["input_ids"]
            return [[token for token in row if token == self.unknown or token not in self.control] for row in encoded]
        encodings = plain.encode_batch(list(texts), add_special_tokens=False)
        return [self._words(plain, text, one) for text, one in zip(texts, encodings, strict=True)]

    def _without_control(self) -> Tokenizer | None:
        """The tokenizer's model without its control tokens; None for one that is not of the library tokenizers."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, Tokenizer):
            return None
        state = json.loads(backend.to_str())
        state["added_tokens"] = [token for token in state["added_tokens"] if token["id"] not in self.control]
        state["truncation"] = state["padding"] = None
        return Tokenizer.from_str(json.dumps(state))

    def _words(self, plain: Tokenizer, text: str, encoding: Encoding) -> list[int]:
        """The ids of a text; a control token that the model's own vocabulary spells (as a Unigram model's does) is read
        in two halves.
        """
        if self.control.isdisjoint(encoding.ids):
            return encoding.ids
        for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            if token in self.control and (token != self.unknown or text[start:end].strip() == self.names[token]):
                if len(text) < 2:
                    return [] if self.unknown is None else [self.unknown]
                middle = min(max((start + end) // 2, 1), len(text) - 1)
                halves = [text[:middle], text[middle:]]
                pieces = zip(halves, plain.encode_batch(halves, add_special_tokens=False), strict=True)
                return [word for half, one in pieces for word in self._words(plain, half, one)]
        return encoding.ids


def opening(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What the tokenizer puts before a text, such as the token of its beginning; [] for nothing."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    starts = (n for n in range(len(whole) - len(bare) + 1) if whole[n : n + len(bare)] == bare)
    return whole[: next(starts, 0)]
