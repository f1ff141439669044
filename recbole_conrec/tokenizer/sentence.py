"""Sentence embeddings of the items' texts by a model of the sentence-transformers family."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from recbole_conrec.options.schema import Count, Text
from recbole_conrec.tokenizer.encoder import Encoder, EncoderOptions
from recbole_conrec.tokenizer.inputs import Items
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.model_files import fetch, revision

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

WHERE = "tokenizer.encoder (sentence-transformers)"


class SentenceOptions(EncoderOptions):
    """Options of the encoder ``sentence-transformers``."""

    reads_text = True
    revision = 2  # 0 skipped the modules after pooling, 1 read names of control tokens in texts as these

    name: Literal["sentence-transformers"] = "sentence-transformers"
    """Which encoder."""
    model: Text
    """Hub id or folder of the model."""
    prefix: str = ""
    """Put before every text, e.g. 'passage: ' for E5; empty: the model's own default prompt, if it has one."""
    max_length: Count | None = None
    """Longest text in tokens, longer ones are cut; null: the model's own limit."""
    batch: Count = 64
    """Texts at a time."""
    device: str | None = None
    """Where the model runs, e.g. cpu or cuda; null: an accelerator if there is one."""

    def files(self) -> list[Path]:
        """All files of a model in a folder."""
        folder = Path(self.model)
        return sorted(f for f in folder.rglob("*") if f.is_file()) if folder.is_dir() else []

    def commits(self) -> list[str]:
        """The revision of a model of the hub, which is brought into the local cache if it is not there."""
        fetch(self.model)
        commit = revision(self.model)
        return [] if commit is None else [commit]


class SentenceTransformers(Encoder):
    """``SentenceTransformer(model).encode(texts, normalize_embeddings=True)``: all modules of the model, unit length.

    Needs the package sentence-transformers. An item without text is zero. Names of the model's control tokens in a
    text, such as [SEP] or </s>, are words like others: a blank after its first character takes each apart.
    """

    Options = SentenceOptions

    def __init__(self, options: SentenceOptions, seed: int = 0, commit: str | None = None):
        self.options = options
        self.commit = commit or revision(options.model)  # of a model of the hub
        self._loaded: SentenceTransformer | None = None

    def fit(self, items: Items) -> np.ndarray:
        """The catalogue's vectors; nothing is learned. Raises UserError if no item has a text."""
        if not any(t.strip() for t in items.texts):
            raise UserError(
                "tokenizer.encoder: no item has a text for 'sentence-transformers'; name item fields that "
                "have one in tokenizer.fields"
            )
        return self.transform(items)

    def transform(self, items: Items) -> np.ndarray:
        """float32 [n, the model's dimensions]. Raises UserError if the package or the model is missing."""
        model = self._model()
        control = _control_tokens(getattr(model, "tokenizer", None))
        texts = list(dict.fromkeys(text for text in items.texts if text.strip()))  # equal texts are encoded once
        encoded = model.encode(
            [_apart(text, control) for text in texts] or ["a"],  # without texts only the dimensions are needed
            prompt=self.options.prefix or None,
            batch_size=self.options.batch,
            show_progress_bar=sys.stderr.isatty(),
            normalize_embeddings=True,
        )
        row = {text: index for index, text in enumerate(texts)}
        vectors = np.zeros((len(items), encoded.shape[1]), dtype=np.float32)
        for item, text in enumerate(items.texts):
            if text in row:
                vectors[item] = encoded[row[text]]
        return vectors

    def _model(self) -> SentenceTransformer:
        if self._loaded is None:
            try:
                from sentence_transformers import SentenceTransformer  # seconds to import, so only where it is used
            except ImportError as error:
                raise UserError(
                    f"{WHERE}: needs the package sentence-transformers ({error}); "
                    'pip install "recbole-conrec[sentence-transformers]"'
                ) from None
            try:
                model = SentenceTransformer(self.options.model, device=self.options.device, revision=self.commit)
            except Exception as error:  # whatever a library raises for a folder, hub id or device that is none
                reason = next(iter(str(error).splitlines()), type(error).__name__)
                raise UserError(
                    f"{WHERE}.model: '{self.options.model}' cannot be loaded as a hub id or a folder ({reason})"
                ) from error
            if self.options.max_length is not None:
                model.max_seq_length = min(self.options.max_length, model.max_seq_length or self.options.max_length)
            self._loaded = model
        return self._loaded

    def state(self) -> tuple[dict, dict[str, np.ndarray]]:
        """The model's name and revision and how it is used; the weights stay where they are."""
        used = self.options.model_dump(include={"model", "prefix", "max_length", "batch"})
        return used | ({"commit": self.commit} if self.commit else {}), {}

    @classmethod
    def from_state(cls, state: dict, arrays: dict[str, np.ndarray]) -> SentenceTransformers:
        """The encoder that :meth:`state` described; the model is loaded when it is first used."""
        options = {key: value for key, value in state.items() if key != "commit"}
        return cls(SentenceOptions.model_validate(options), commit=state.get("commit"))


def _control_tokens(tokenizer: Any) -> re.Pattern | None:
    """Finds the names of a tokenizer's special tokens in a text; None if it has none."""
    added = getattr(tokenizer, "added_tokens_decoder", None)
    if added is None and hasattr(tokenizer, "get_added_tokens_decoder"):  # of the library tokenizers
        added = tokenizer.get_added_tokens_decoder()
    names = {token.content for token in (added or {}).values() if token.special}
    names |= set(getattr(tokenizer, "all_special_tokens", ()))
    longest_first = sorted((name for name in names if len(name) > 1), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


def _apart(text: str, control: re.Pattern | None) -> str:
    """The text with a blank after the first character of each name that ``control`` finds."""
    return text if control is None else control.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
