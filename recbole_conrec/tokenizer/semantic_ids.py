"""SemanticIds: the object from which models, decoders, rewards and the filter take the items' IDs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike

from recbole_conrec.tokenizer import store
from recbole_conrec.tokenizer.collisions import Strategy, place
from recbole_conrec.tokenizer.features import Features
from recbole_conrec.tokenizer.inputs import Items
from recbole_conrec.tokenizer.quantise import decode, encode
from recbole_conrec.tokenizer.trie import Trie
from recbole_conrec.utils.errors import UserError

FORMAT = 1
TOKEN = re.compile(r"<([a-z])_(\d+)>")


class SemanticIds:
    """The IDs of a catalogue and the vectors behind them; not to be changed in place.

    Row 0 is RecBole's padding item, which has no ID.

    Args:
        codes: int64 [n_items, depth]; row 0 is -1.
        codebooks: one float32 [size, dim] per level, all in one space, so that the sum of an ID's code vectors is the
            item's reconstructed vector X^. The vectors of a level that only separates collisions are zero.
        collisions: the strategy that made the IDs (see :mod:`.collisions`); it also decides where new items go.
        features: turns new items into vectors of that space; None for IDs that were made elsewhere.
        info: what is worth keeping beside the IDs (options, errors before and after collisions); plain JSON.

    Attributes:
        sizes: codes per level.
        n_items: items, padding included.
        depth: levels.

    Raises ValueError for codes outside their codebook or a row 0 that is not padding.
    """

    def __init__(
        self,
        codes: ArrayLike,
        codebooks: Sequence[ArrayLike],
        *,
        collisions: Strategy = "nearest_free",
        features: Features | None = None,
        info: dict | None = None,
    ):
        self.codes = np.ascontiguousarray(codes, dtype=np.int64)
        self.codebooks = [np.ascontiguousarray(c, dtype=np.float32) for c in codebooks]
        self.sizes = tuple(len(c) for c in self.codebooks)
        self.n_items, self.depth = self.codes.shape
        self.collisions: Strategy = collisions
        self.features, self.info = features, info or {}
        if self.depth != len(self.sizes) or not 1 <= self.depth <= 26:
            raise ValueError(f"codes have {self.depth} levels and there are {len(self.sizes)} codebooks (1 to 26)")
        items = self.codes[1:]
        if (self.codes[0] != -1).any() or (items < 0).any() or (items >= np.array(self.sizes)).any():
            raise ValueError("row 0 of the codes must be -1, and every other code must be a row of its codebook")

    # ---- item -> codes -> text, and back

    @cached_property
    def trie(self) -> Trie:
        """All valid IDs; also codes -> items (:meth:`items_of`)."""
        return Trie.from_codes(self.codes)

    @cached_property
    def level_offset(self) -> np.ndarray:
        """int64 [depth]: the position in :meth:`tokens` of each level's code 0."""
        return np.cumsum((0, *self.sizes[:-1]))

    def tokens(self) -> list[str]:
        """'<a_0>', '<a_1>', ..., '<b_0>', ...: all tokens, level by level; position = level_offset[level] + code."""
        return [f"<{chr(97 + level)}_{code}>" for level, size in enumerate(self.sizes) for code in range(size)]

    def text(self, item: int) -> str:
        """An item's ID as it is written in a prompt: '<a_5><b_2><c_9>'; '' for item 0 (padding)."""
        return "".join(f"<{chr(97 + level)}_{code}>" for level, code in enumerate(self.codes[item]) if code >= 0)

    def parse(self, text: str) -> np.ndarray:
        """int64 [depth]: codes of the first ID in ``text``. Raises UserError unless it names one code per level."""
        found = TOKEN.findall(text)[: self.depth]
        if [letter for letter, _ in found] != [chr(97 + level) for level in range(self.depth)]:
            raise UserError(f"'{text}' is no semantic ID of {self.depth} levels; expected e.g. '{self.text(1)}'")
        return np.array([int(code) for _, code in found])

    def items_of(self, codes: ArrayLike | str) -> np.ndarray:
        """Items (int64, ascending) with the ID ``codes`` [depth], or with that text; empty if there is none."""
        wanted = self.parse(codes) if isinstance(codes, str) else np.asarray(codes)
        leaf = int(self.trie.find(torch.as_tensor(wanted)[None])[0])
        if leaf < 0:
            return np.zeros(0, dtype=np.int64)
        return self.trie.leaf_items[self.trie.leaf_ptr[leaf] : self.trie.leaf_ptr[leaf + 1]].numpy()

    # ---- codes -> vectors

    def embeddings(self, items: ArrayLike | None = None) -> np.ndarray:
        """float32 [n, dim]: X^, the sums of the codes' vectors; of all items by default; zero for padding."""
        return decode(self.codes if items is None else self.codes[np.asarray(items)], self.codebooks)

    # ---- new items

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """Codes [m, depth] nearest to ``vectors`` [m, dim] (of the codebooks' space), whether or not they are taken."""
        return encode(np.asarray(vectors, dtype=np.float32), self.codebooks)

    @property
    def fitted_features(self) -> Features:
        """``features``; UserError if these IDs came without."""
        if self.features is None:
            raise UserError("these semantic IDs were saved without their encoder: give vectors instead of items")
        return self.features

    def vectors(self, items: Items) -> np.ndarray:
        """float32 [m, dim]: new items as vectors of the codebooks' space."""
        return self.fitted_features.transform(items)

    def extend(self, vectors: np.ndarray) -> SemanticIds:
        """These IDs and, at rows n_items.., those of m new items; nothing is retrained and no old ID changes.

        A new item gets the nearest ID that no item has (``shared``: the nearest ID). Raises UserError if none is left.

        Args:
            vectors: [m, dim], of the codebooks' space.
        """
        vectors = np.asarray(vectors, dtype=np.float32)
        codes = np.concatenate([self.codes[1:], self.encode(vectors)])
        if self.collisions != "shared":
            fixed = np.arange(len(codes)) < self.n_items - 1
            codes = place(np.concatenate([self.embeddings()[1:], vectors]), codes, self.codebooks, fixed)
        return SemanticIds(
            np.concatenate([self.codes[:1], codes]),
            self.codebooks,
            collisions=self.collisions,
            features=self.features,
            info=self.info,
        )

    # ---- identity and storage

    @cached_property
    def fingerprint(self) -> str:
        """sha256 hex of codes and codebooks."""
        digest = hashlib.sha256(repr((self.codes.shape, self.sizes)).encode())
        digest.update(self.codes.tobytes())
        for codebook in self.codebooks:
            digest.update(codebook.tobytes())
        return digest.hexdigest()

    def save(self, folder: Path | str) -> None:
        """Write ``semantic_ids.{json,safetensors}`` and, with an encoder, ``features.{json,safetensors}``."""
        folder = Path(folder)
        if self.features is not None:
            state, arrays = self.features.state()
            store.write(folder / "features", state, arrays)
        arrays = {"codes": self.codes} | {f"codebook_{i}": c for i, c in enumerate(self.codebooks)}
        store.write(
            folder / "semantic_ids",
            {
                "format": FORMAT,
                "collisions": self.collisions,
                "sizes": self.sizes,
                "fingerprint": self.fingerprint,
                "info": self.info,
            },
            arrays,
        )

    @classmethod
    def load(cls, folder: Path | str) -> SemanticIds:
        """Read what :meth:`save` wrote. Raises UserError for a missing, foreign or damaged folder."""
        folder = Path(folder)
        state, arrays = store.read(folder / "semantic_ids")
        if state.get("format") != FORMAT:
            raise UserError(
                f"{folder}: semantic IDs of format {state.get('format')}, expected {FORMAT}; make them again"
            )
        known = (folder / "features.json").exists()
        try:
            features = Features.from_state(*store.read(folder / "features")) if known else None
            ids = cls(
                arrays["codes"],
                [arrays[f"codebook_{i}"] for i in range(len(state["sizes"]))],
                collisions=state["collisions"],
                features=features,
                info=state["info"],
            )
            fingerprint = state["fingerprint"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(
                f"{folder}: damaged ({type(error).__name__}: {error}); delete the folder and make the IDs again"
            ) from None
        if ids.fingerprint != fingerprint:
            raise UserError(
                f"{folder}: the codes are not the ones that were saved (fingerprint differs); "
                "delete the folder and make them again"
            )
        return ids
