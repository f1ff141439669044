"""Vectors that were made elsewhere (images, audio, several modalities), found by the items' own ids."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from safetensors import SafetensorError
from safetensors.numpy import load_file

from recbole_conrec.options.schema import Text
from recbole_conrec.tokenizer.encoder import Encoder, EncoderOptions
from recbole_conrec.tokenizer.inputs import Items
from recbole_conrec.utils.errors import UserError

WHERE = "tokenizer.encoder (file)"
COLUMNS = ("embed", "normalized_embed", "embedding")  # of a .parquet; the first that it has is used


class FileOptions(EncoderOptions):
    """Options of the encoder ``file``."""

    name: Literal["file"] = "file"
    """Which encoder."""
    path: Text
    """The file with vectors [n, dim]: .npy, .safetensors (tensor 'vectors'), .npz (array 'embedding') or .parquet."""
    ids: Text | None = None
    """Text file with the item id of each vector, one a line; null where the vectors' file holds them: whole numbers in
    the tensor 'ids' of a .safetensors, the array or column 'item_id' of a .npz or .parquet."""

    def files(self) -> list[Path]:
        """The vectors and the ids, as far as they are there."""
        return [Path(f) for f in (self.path, self.ids) if f and Path(f).is_file()]


class VectorsFile(Encoder):
    """Rows of a .npy, of the tensor ``vectors`` in a .safetensors, of the array ``embedding`` in a .npz (VK-LSVD's), or
    of a column of lists in a .parquet (see COLUMNS; Yambda's). An item that the file lacks is zero.
    """

    Options = FileOptions

    def __init__(self, options: FileOptions, seed: int = 0):
        self.path, self.ids = options.path, options.ids

    def fit(self, items: Items) -> np.ndarray:
        """The catalogue's vectors; nothing is learned. Raises UserError if the file has none of them."""
        vectors = self.transform(items)
        if not vectors.any():
            raise UserError(f"{WHERE}: none of the data set's items is among the ids of {self.ids or self.path}")
        return vectors

    def transform(self, items: Items) -> np.ndarray:
        """float32 [n, dim]. Raises UserError for items without ids and for a file that cannot be used."""
        if len(items.ids) != len(items):
            raise UserError(f"{WHERE}: new items need their ids (Items.ids) to be found in {self.path}")
        vectors, ids = self._read(items)
        row = {item: index for index, item in enumerate(ids)}
        found = np.array([row.get(item, -1) for item in items.ids], dtype=np.int64)
        wanted = np.zeros((len(items), vectors.shape[1]), dtype=np.float32)
        wanted[found >= 0] = vectors[found[found >= 0]]
        return wanted

    def _read(self, items: Items) -> tuple[np.ndarray, list[str]]:
        """Vectors [n, dim] and the item id of each, checked."""
        path = Path(self.path)
        try:
            vectors, ids = self._parts(path, items)
            if self.ids is not None:
                ids = Path(self.ids).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError as error:
            raise UserError(f"{WHERE}: {error.filename}: no such file") from None
        except (SafetensorError, ValueError, EOFError, BadZipFile, pa.ArrowException) as error:
            raise UserError(f"{WHERE}: {path}: cannot be read ({error})") from None
        if ids is None:
            raise UserError(
                f"{WHERE}.ids: name a text file with the item id of each row of {path}, one a line; the file itself "
                "holds no ids"
            )
        if vectors is None or vectors.ndim != 2 or len(vectors) != len(ids):
            shape = None if vectors is None else vectors.shape
            raise UserError(f"{WHERE}: {path}: expected vectors [{len(ids)}, dim] for {len(ids)} ids, found {shape}")
        if not np.isfinite(vectors).all():
            row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
            raise UserError(f"{WHERE}: {path}: the vector of item '{ids[row]}' holds a value that is no finite number")
        names = [str(i) for i in ids]
        doubles = [item for item, count in Counter(names).most_common(1) if count > 1]
        if doubles:
            raise UserError(
                f"{WHERE}: item id '{doubles[0]}' occurs twice in {self.ids or path}; give each item one row"
            )
        return vectors, names

    def _parts(self, path: Path, items: Items) -> tuple[np.ndarray | None, np.ndarray | list[str] | None]:
        """Vectors and ids as the file has them; None for what it lacks."""
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False), None
        if path.suffix == ".safetensors":
            tensors = load_file(path)
            return tensors.get("vectors"), tensors.get("ids")
        if path.suffix == ".npz":
            return _npz(path, items if self.ids is None else None)
        if path.suffix == ".parquet":
            if self.ids is not None:
                raise UserError(f"{WHERE}.ids: leave it out: {path} holds its own ids in the column 'item_id'")
            return _parquet(path, items)
        raise UserError(f"{WHERE}.path: '{path}' ends in none of .npy, .safetensors, .npz and .parquet")

    def state(self) -> tuple[dict, dict[str, np.ndarray]]:
        """The files' paths; the vectors stay where they are."""
        return {"path": self.path, "ids": self.ids}, {}

    @classmethod
    def from_state(cls, state: dict, arrays: dict[str, np.ndarray]) -> VectorsFile:
        """The encoder that :meth:`state` described."""
        return cls(FileOptions.model_validate(state))


def _npz(path: Path, items: Items | None) -> tuple[np.ndarray, np.ndarray | None]:
    """The arrays ``embedding`` and, if there, ``item_id``.

    Only the rows of ``items`` (None: all) are kept, since the ids of a whole catalogue as Python's strings would not
    fit into memory.
    """
    with np.load(path, allow_pickle=False) as arrays:
        if "embedding" not in arrays:
            raise UserError(f"{WHERE}: {path}: no array 'embedding'; it holds {', '.join(arrays)}")
        vectors, ids = arrays["embedding"], arrays.get("item_id")
    if items is not None and ids is not None and ids.shape == vectors.shape[:1]:
        kept = _among(pa.array(ids), items).to_numpy(zero_copy_only=False)
        vectors, ids = vectors[kept], ids[kept]
    return vectors, ids


def _parquet(path: Path, items: Items) -> tuple[np.ndarray, list[str]]:
    """The rows of ``items``, read in parts; a row without a vector is left out."""
    with path.open("rb") as handle:
        file = pa.parquet.ParquetFile(handle)
        names = file.schema_arrow.names
        column = next((name for name in COLUMNS if name in names), None)
        if column is None or "item_id" not in names:
            raise UserError(
                f"{WHERE}: {path}: expected the columns 'item_id' and one of {', '.join(COLUMNS)}; found "
                f"{', '.join(names)}"
            )
        parts: list[np.ndarray] = []
        ids: list[str] = []
        lengths: set[int] = set()
        for batch in file.iter_batches(columns=["item_id", column]):
            rows = pa.Table.from_batches([batch]).filter(pc.is_valid(batch[column]))
            lengths |= set(pc.list_value_length(rows[column]).unique().to_pylist())
            rows = rows.filter(_among(rows["item_id"], items))
            ids += rows["item_id"].cast(pa.string()).to_pylist()
            parts.append(pc.list_flatten(rows[column]).cast(pa.float32()).to_numpy())
    if len(lengths) != 1:
        raise UserError(f"{WHERE}: {path}: '{column}' holds lists of {len(lengths)} lengths; expected one")
    return np.concatenate(parts).reshape(len(ids), -1 if ids else lengths.pop()), ids


def _among(ids, items: Items):
    """Which of an Arrow array's ids are those of ``items``: an Arrow array of bool."""
    return pc.is_in(ids.cast(pa.string()), pa.array(items.ids, pa.string()))
