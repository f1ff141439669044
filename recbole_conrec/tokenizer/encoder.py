"""What an encoder is: fitted once on the catalogue, it turns any item into a vector, and is kept as plain data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from recbole_conrec.options.schema import Options, Positive
from recbole_conrec.tokenizer.inputs import Items


class EncoderOptions(Options):
    """Options that every encoder has; one entry of ``tokenizer.encoder``."""

    reads_text: ClassVar[bool] = False
    """Whether the encoder needs the items' texts."""
    revision: ClassVar[int] = 0
    """Raised when the same options would give other vectors than before: cached IDs of that encoder no longer match."""

    name: str
    """Which encoder."""
    weight: Positive = 1.0
    """Mean squared length of this encoder's part of an item's vector."""

    def files(self) -> list[Path]:
        """The files whose content decides the vectors."""
        return []

    def commits(self) -> list[str]:
        """The revisions of the hub's models that decide the vectors."""
        return []

    def content(self) -> dict[str, Any]:
        """The name and the options that were given, without defaults, as plain JSON values."""
        return {"name": self.name, **self.model_dump(exclude_unset=True)}


class Encoder(ABC):
    """Items -> float32 [n, dim]. A row of zeros means that nothing is known of the item."""

    Options: ClassVar[type[EncoderOptions]]
    """Its options, as an entry of ``tokenizer.encoder``."""

    def __init__(self, options: Any, seed: int = 0):
        """An encoder that is not yet fitted; options: its own typed options; seed: fixes the vectors."""
        self.options, self.seed = options, seed

    @abstractmethod
    def fit(self, items: Items) -> np.ndarray:
        """Learn from a catalogue; returns its vectors. Raises UserError if the catalogue has nothing to learn from."""

    @abstractmethod
    def transform(self, items: Items) -> np.ndarray:
        """Vectors of any items, in the catalogue or not."""

    @abstractmethod
    def state(self) -> tuple[dict, dict[str, np.ndarray]]:
        """Plain JSON and arrays from which :meth:`from_state` makes the same encoder."""

    @classmethod
    @abstractmethod
    def from_state(cls, state: dict, arrays: dict[str, np.ndarray]) -> Encoder:
        """The encoder that :meth:`state` described."""
