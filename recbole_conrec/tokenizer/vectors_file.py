"""Vectors that were made elsewhere (images, audio, several modalities), found by the items' own ids."""

from __future__ import annotations

import string
import warnings
from collections import Counter
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from safetensors import SafetensorError
from safetensors.torch import load_file

from recbole_conrec.options.schema import Text
from recbole_conrec.tokenizer.encoder import Encoder, EncoderOptions
from recbole_conrec.tokenizer.inputs import Items
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.id_files import bare, find, read_ids, some

WHERE = "tokenizer.encoder (file)"
COLUMNS = ("embed", "normalized_embed", "embedding")  # of a .parquet; the first that it has is used
BLANKS = string.whitespace + "\ufeff"  # around an id; they are no part of it


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
        """The catalogue's vectors; nothing is learned.

        Items that the file lacks are counted and named in a warning. Raises UserError if the file has none of them.
        """
        vectors, found, ids = self._look_up(items)
        source = self.ids or self.path
        missing = [name for name, place in zip(items.ids[1:], found[1:], strict=True) if place < 0]
        if len(missing) == len(items) - 1:
            raise UserError(
                f"{WHERE}: none of the data set's items is among the ids of {source}; the data set has "
                f"{some(items.ids[1:])}, the file {some(ids) or 'none'}"
            )
        if not vectors.any():
            raise UserError(f"{WHERE}: {self.path}: the vectors of all items are zero; expected vectors that differ")
        if missing:
            warnings.warn(
                f"{WHERE}: {len(missing):,} of {len(items) - 1:,} items are not among the ids of {source} and get no "
                f"vector: {some(missing)}",
                stacklevel=2,
            )
        return vectors

    def transform(self, items: Items) -> np.ndarray:
        """float32 [n, dim]. Raises UserError for items without ids and for a file that cannot be used."""
        return self._look_up(items)[0]

    def _look_up(self, items: Items) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Vectors [n, dim] of the items, their rows in the file [n] (-1: none), and the ids of the file."""
        if len(items.ids) != len(items):
            raise UserError(f"{WHERE}: new items need their ids (Items.ids) to be found in {self.path}")
        vectors, ids = self._read(items)
        found = find(items.ids, ids)
        wanted = np.zeros((len(items), vectors.shape[1]), dtype=np.float32)
        wanted[found >= 0] = vectors[found[found >= 0]]
        return wanted, found, ids

    def _read(self, items: Items) -> tuple[np.ndarray, list[str]]:
        """Vectors float32 [n, dim] and the item id of each, checked."""
        path = Path(self.path)
        try:
            vectors, ids = self._parts(path, items)
        except FileNotFoundError as error:
            raise UserError(f"{WHERE}: {error.filename}: no such file") from None
        except (SafetensorError, ValueError, EOFError, BadZipFile, RuntimeError, pa.ArrowException) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise UserError(f"{WHERE}: {path}: cannot be read ({reason})") from None
        if self.ids is not None:
            ids = _complete(read_ids(self.ids), self.ids)
        if ids is None:
            raise UserError(
                f"{WHERE}.ids: name a text file with the item id of each row of {path}, one a line; the file itself "
                "holds no ids"
            )
        if vectors is None or vectors.ndim != 2 or len(vectors) != len(ids) or not vectors.shape[1]:
            shape = None if vectors is None else vectors.shape
            raise UserError(f"{WHERE}: {path}: expected vectors [{len(ids)}, dim] for {len(ids)} ids, found {shape}")
        if vectors.dtype.kind not in "fiub":
            raise UserError(f"{WHERE}: {path}: expected numbers, found {vectors.dtype}; save the vectors as float32")
        if isinstance(ids, np.ndarray) and ids.dtype.kind not in "SUOiu":
            raise UserError(f"{WHERE}: {path}: expected ids that are texts or whole numbers, found {ids.dtype}")
        names = [bare(i.decode() if isinstance(i, bytes) else str(i)) for i in ids]
        with np.errstate(over="ignore"):
            vectors = vectors.astype(np.float32, copy=False)
        finite = np.isfinite(vectors).all(axis=1)
        if not finite.all():
            row = int(np.flatnonzero(~finite)[0])
            raise UserError(
                f"{WHERE}: {path}: the vector of item '{names[row]}' holds a value that is no finite float32 number"
            )
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
            vectors, numbers = tensors.get("vectors"), tensors.get("ids")
            if vectors is not None and vectors.is_floating_point():
                vectors = vectors.float()  # NumPy has no bfloat16
            return _array(vectors), _array(numbers)
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


def _array(tensor) -> np.ndarray | None:
    return None if tensor is None else tensor.numpy()


def _complete(ids: list[str], file: str) -> list[str]:
    """``ids``, if no line is empty."""
    if "" in ids:
        raise UserError(
            f"{WHERE}.ids: {file}: line {ids.index('') + 1} is empty; expected the item id of each row of the vectors"
        )
    return ids


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
    """Which of an Arrow array's ids are those of ``items``, apart from blanks: an Arrow array of bool."""
    return pc.is_in(pc.utf8_trim(ids.cast(pa.string()), characters=BLANKS), pa.array(map(bare, items.ids), pa.string()))
