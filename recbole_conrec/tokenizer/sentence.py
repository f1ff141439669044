"""Sentence embeddings of the items' texts by a model of the sentence-transformers family."""

import json
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from recbole_conrec.tokenizer.inputs import Items
from recbole_conrec.utils.errors import UserError


class SentenceTransformers:
    """Token states of a transformer, pooled as the model's own ``1_Pooling/config.json`` says (else their mean).

    Read by transformers alone; the package sentence-transformers is not needed. An empty text is zero.

    Args:
        model: hub id or folder.
        prefix: put before every text, e.g. 'passage: ' for E5.
        max_length: tokens of a text that are read.
        batch: texts at a time.
        device: where it runs; null: an accelerator if there is one.
    """

    reads_text = True

    def __init__(
        self,
        *,
        model: str,
        prefix: str = "",
        max_length: int = 256,
        batch: int = 64,
        device: str | None = None,
        seed: int = 0,
    ):
        self.model, self.prefix, self.max_length, self.batch = str(model), prefix, max_length, batch
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._loaded = None

    def fit(self, items: Items) -> np.ndarray:
        if not any(t.strip() for t in items.texts):
            raise UserError(
                "tokenizer.encoder: no item has a text for 'sentence-transformers'; name item fields that "
                "have one in tokenizer.fields"
            )
        return self.transform(items)

    @torch.inference_mode()
    def transform(self, items: Items) -> np.ndarray:
        tokenizer, model, pooling = self._load()
        vectors = np.zeros((len(items), model.config.hidden_size), dtype=np.float32)
        texts = {}  # equal texts are read once
        for row, text in enumerate(items.texts):
            if text.strip():
                texts.setdefault(text, []).append(row)
        order = sorted(texts, key=len, reverse=True)  # batches of like lengths, the longest first
        for begin in tqdm(range(0, len(order), self.batch), desc="sentence embeddings", leave=False, disable=None):
            chosen = order[begin : begin + self.batch]
            inputs = tokenizer(
                [self.prefix + t for t in chosen],
                padding=True,
                truncation=True,
                max_length=self.max_length,
                return_tensors="pt",
            ).to(self.device)
            states, mask = model(**inputs).last_hidden_state.float(), inputs["attention_mask"].unsqueeze(-1)
            pooled = states[:, 0] if pooling == "cls" else (states * mask).sum(dim=1) / mask.sum(dim=1)
            pooled = torch.nn.functional.normalize(pooled, dim=1).cpu().numpy()
            for text, vector in zip(chosen, pooled, strict=True):
                vectors[texts[text]] = vector
        return vectors

    def _load(self):
        from transformers import AutoModel, AutoTokenizer  # seconds to import, so only where it is used
        from transformers.utils import cached_file

        if self._loaded is None:
            try:
                tokenizer = AutoTokenizer.from_pretrained(self.model)
                model = AutoModel.from_pretrained(self.model).to(self.device).eval()
                file = cached_file(
                    self.model,
                    "1_Pooling/config.json",
                    _raise_exceptions_for_missing_entries=False,
                    _raise_exceptions_for_connection_errors=False,
                )
            except (OSError, ValueError) as error:
                raise UserError(
                    f"tokenizer.encoder (sentence-transformers).model: '{self.model}' cannot be loaded as "
                    f"a hub id or a folder ({str(error).splitlines()[0]})"
                ) from None
            self._loaded = tokenizer, model, self._pooling(file)
        return self._loaded

    def _pooling(self, file: str | None) -> str:
        settings = json.loads(Path(file).read_text(encoding="utf-8")) if file else {"pooling_mode_mean_tokens": True}
        modes = [mode for mode, on in settings.items() if mode.startswith("pooling_mode") and on]
        known = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean"}
        if len(modes) != 1 or modes[0] not in known:
            raise UserError(
                f"tokenizer.encoder (sentence-transformers).model: '{self.model}' pools by "
                f"{' and '.join(modes) or 'no mode'}; expected one of {', '.join(known)}"
            )
        return known[modes[0]]

    def state(self) -> tuple[dict, dict]:
        return {"model": self.model, "prefix": self.prefix, "max_length": self.max_length, "batch": self.batch}, {}

    @staticmethod
    def files(spec: dict) -> list[Path]:
        """All files of a local model; a hub id stands for itself."""
        folder = Path(spec.get("model") or "")
        return sorted(f for f in folder.rglob("*") if f.is_file()) if spec.get("model") and folder.is_dir() else []

    @classmethod
    def from_state(cls, state: dict, arrays: dict) -> "SentenceTransformers":
        return cls(**state)
