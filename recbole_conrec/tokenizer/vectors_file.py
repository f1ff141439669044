"""Vectors that were made elsewhere (images, audio, several modalities), found by the items' own ids."""

from collections import Counter
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from recbole_conrec.errors import UserError
from recbole_conrec.tokenizer.inputs import Items

WHERE = "tokenizer.encoder (file)"


class VectorsFile:
    """Rows of a .npy, or of the tensor ``vectors`` in a .safetensors. An item that the file lacks is zero.

    Args:
        path: the file; vectors [n, dim].
        ids: text file with the item id of each row, one a line; a .safetensors may hold whole-number ids in a tensor
            ``ids`` instead.
    """

    reads_text = False

    def __init__(self, *, path: str, ids: str | None = None, seed: int = 0):
        self.path, self.ids = str(path), None if ids is None else str(ids)

    def fit(self, items: Items) -> np.ndarray:
        vectors = self.transform(items)
        if not vectors.any():
            raise UserError(f"{WHERE}: none of the data set's items is among the ids of {self.ids or self.path}")
        return vectors

    def transform(self, items: Items) -> np.ndarray:
        vectors, ids = self._read()
        row = {item: index for index, item in enumerate(ids)}
        found = np.array([row.get(item, -1) for item in items.ids], dtype=np.int64)
        if len(found) != len(items):
            raise UserError(f"{WHERE}: new items need their ids (Items.ids) to be found in {self.path}")
        return np.where(found[:, None] >= 0, vectors[found], 0).astype(np.float32)

    def _read(self) -> tuple[np.ndarray, list[str]]:
        path, ids = Path(self.path), None
        try:
            if path.suffix == ".npy":
                vectors = np.load(path, allow_pickle=False)
            elif path.suffix == ".safetensors":
                tensors = load_file(path)
                vectors, ids = tensors.get("vectors"), tensors.get("ids")
            else:
                raise UserError(f"{WHERE}.path: '{path}' ends neither in .npy nor in .safetensors")
            if self.ids is not None:
                ids = Path(self.ids).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError as error:
            raise UserError(f"{WHERE}: {error.filename}: no such file") from None
        except (SafetensorError, ValueError) as error:
            raise UserError(f"{WHERE}: {path}: cannot be read ({error})") from None
        if ids is None:
            raise UserError(f"{WHERE}.ids: say which item each row of {path} belongs to: a text file, one id a line")
        if vectors is None or vectors.ndim != 2 or len(vectors) != len(ids):
            shape = None if vectors is None else vectors.shape
            raise UserError(f"{WHERE}: {path}: expected vectors [{len(ids)}, dim] for {len(ids)} ids, found {shape}")
        if not np.isfinite(vectors).all():
            row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
            raise UserError(f"{WHERE}: {path}: row {row} (counted from 0) holds a value that is no finite number")
        ids = [str(i) for i in ids]
        double, count = Counter(ids).most_common(1)[0]
        if count > 1:
            raise UserError(f"{WHERE}: item id '{double}' comes twice in {self.ids or path}; give each item one row")
        return vectors, ids

    def state(self) -> tuple[dict, dict]:
        return {"path": self.path, "ids": self.ids}, {}

    @staticmethod
    def files(spec: dict) -> list[Path]:
        return [Path(f) for f in (spec.get("path"), spec.get("ids")) if f and Path(f).is_file()]

    @classmethod
    def from_state(cls, state: dict, arrays: dict) -> "VectorsFile":
        return cls(**state)
