"""One vector per item out of one or several encoders, centred, in the space that the codebooks quantise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from recbole_conrec.tokenizer import exact
from recbole_conrec.tokenizer.encoder import Encoder, EncoderOptions
from recbole_conrec.tokenizer.encoders import ENCODERS
from recbole_conrec.tokenizer.inputs import Items
from recbole_conrec.utils.arrays import unit_rows
from recbole_conrec.utils.errors import UserError

PCA_ITERATIONS = 40  # of the subspace; the square matrix is small
Layers = list[tuple[np.ndarray, np.ndarray]]
"""A multi-layer perceptron: (weight [out, in], bias [out]) per layer, ReLU between them."""


@dataclass
class Part:
    """A fitted encoder, and how its vectors enter: (unit length - mean) * scale."""

    name: str
    encoder: Encoder
    mean: np.ndarray
    scale: float

    def transform(self, items: Items) -> np.ndarray:
        """float32 [n, dim]. UserError if the encoder no longer gives vectors of the dimension that it had."""
        vectors = self.encoder.transform(items)
        if vectors.shape[1] != len(self.mean):
            raise UserError(
                f"tokenizer.encoder: '{self.name}' gives vectors of {vectors.shape[1]} dimensions, but these semantic "
                f"IDs were made from {len(self.mean)}; its model or file has changed since: delete the folder of the "
                "IDs and make them again"
            )
        return _centred(vectors, self.mean) * self.scale


@dataclass
class Features:
    """X = principal components of the parts side by side; then the tokenizer's network, if it trained one.

    The vectors of each encoder are scaled to unit length and their mean is subtracted: cosines of uncentred text
    vectors are all positive, and a threshold on them separates little. A part is scaled so that its mean squared length
    is its weight. Where an encoder knows nothing of an item its part is zero, so an item without any information is the
    average item: such items share one ID until collisions are resolved.

    A few dozen principal components quantise better than hundreds of dimensions: the few bits of an ID then go to what
    items share, and codes of level 1 group items.
    """

    parts: list[Part]
    basis: np.ndarray  # [principal components kept, dimensions of the parts]
    layers: Layers = field(default_factory=list)

    def encode(self, items: Items) -> np.ndarray:
        """X, float32 [n, dim], of any items, in the catalogue or not."""
        return _product(np.concatenate([part.transform(items) for part in self.parts], axis=1), self.basis)

    def transform(self, items: Items) -> np.ndarray:
        """X through the network: vectors of the codebooks' space."""
        return forward(self.encode(items), self.layers)

    def state(self) -> tuple[dict, dict[str, np.ndarray]]:
        """Plain JSON and arrays from which :meth:`from_state` makes the same object."""
        parts, arrays = [], {"basis": self.basis}
        for index, part in enumerate(self.parts):
            state, own = part.encoder.state()
            parts.append({"name": part.name, "scale": part.scale, "state": state})
            arrays |= {f"{index}.{key}": value for key, value in own.items()} | {f"mean.{index}": part.mean}
        for index, (weight, bias) in enumerate(self.layers):
            arrays |= {f"weight.{index}": weight, f"bias.{index}": bias}
        return {"parts": parts, "layers": len(self.layers)}, arrays

    @classmethod
    def from_state(cls, state: dict, arrays: dict[str, np.ndarray]) -> Features:
        """The features that :meth:`state` described."""
        parts = []
        for index, part in enumerate(state["parts"]):
            own = {key.partition(".")[2]: value for key, value in arrays.items() if key.startswith(f"{index}.")}
            encoder = ENCODERS[part["name"]].from_state(part["state"], own)
            parts.append(Part(part["name"], encoder, arrays[f"mean.{index}"], part["scale"]))
        layers = [(arrays[f"weight.{i}"], arrays[f"bias.{i}"]) for i in range(state["layers"])]
        return cls(parts, arrays["basis"], layers)


def fit(
    encoders: Sequence[EncoderOptions], items: Items, *, dim: int | None = None, centre: bool = True, seed: int = 0
) -> tuple[Features, np.ndarray]:
    """Fit encoders on a catalogue and keep ``dim`` principal components of their vectors (None: all dimensions).

    Returns the features and the catalogue's vectors [n_items, dim]; row 0 (padding) is zero.
    """
    parts, columns = [], []
    for options in encoders:
        encoder = ENCODERS[options.name](options, seed)
        vectors = encoder.fit(items)
        known = (vectors != 0).any(axis=1)
        mean = unit_rows(vectors[known]).mean(axis=0) if centre and known.any() else np.zeros(vectors.shape[1])
        mean = mean.astype(np.float32)
        centred = _centred(vectors, mean)
        spread = (centred[known] ** 2).sum(axis=1).mean() if known.any() else 0.0
        scale = float(np.sqrt(options.weight / spread)) if spread > 0 else 1.0
        parts.append(Part(options.name, encoder, mean, scale))
        columns.append(centred * scale)
    vectors = np.concatenate(columns, axis=1)
    vectors[0] = 0
    basis = principal(vectors, dim)
    return Features(parts, basis), _product(vectors, basis)


def principal(vectors: np.ndarray, dim: int | None) -> np.ndarray:
    """The ``dim`` directions [dim, all] of largest mean square, each signed so that its largest entry is positive.

    The unit matrix where ``dim`` is None or not below the number of dimensions.
    """
    if dim is None or dim >= vectors.shape[1]:
        return np.eye(vectors.shape[1], dtype=np.float32)
    parts = np.array_split(vectors, -(-len(vectors) // 65_536))
    square = np.sum([exact.matmul(part.T, part) for part in parts], axis=0)
    basis = exact.top_eigenvectors(
        lambda columns: exact.matmul(square, columns), len(square), dim, seed=0, iterations=PCA_ITERATIONS
    ).T
    largest = np.take_along_axis(basis, np.abs(basis).argmax(axis=1)[:, None], axis=1)
    return (basis * np.sign(largest)).astype(np.float32)


def forward(vectors: np.ndarray, layers: Layers) -> np.ndarray:
    """``vectors`` [n, in] through a multi-layer perceptron; unchanged if there are no layers."""
    for index, (weight, bias) in enumerate(layers):
        vectors = _product(vectors, weight) + bias
        if index < len(layers) - 1:
            vectors = np.maximum(vectors, 0)
    return vectors


def _product(vectors: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """float32 [n, out]: ``vectors`` [n, in] times the transpose of ``weight`` [out, in], see :mod:`.exact`."""
    return exact.matmul(vectors, weight.T).astype(np.float32)


def _centred(vectors: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Rows of unit length minus ``mean``; a row of zeros stays zero."""
    known = (vectors != 0).any(axis=1, keepdims=True)
    return np.where(known, unit_rows(vectors) - mean, 0).astype(np.float32)
