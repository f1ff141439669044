"""Parsed events on disk: an Arrow file, mapped into memory, so that a second run reads no text.

The file is written under a temporary name and renamed. What is read is trusted only if it is whole: the key (of the
file's content and of all that decides how it is read) and a checksum of the columns stand in the file itself.
"""

import contextlib
import hashlib
import json
import os
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from recbole_conrec.utils.errors import UserError

FORMAT = 1  # raise when the same files and rules would give other columns than before


def key(parts: dict) -> str:
    """32 hex digits of sha256 over JSON values."""
    return hashlib.sha256(json.dumps([FORMAT, parts], sort_keys=True).encode()).hexdigest()[:32]


def save(path: Path, key: str, events: pd.DataFrame) -> None:
    """Write columns of numbers and of pd.Categorical words. UserError if the disk does not take them."""
    arrays = [_arrow(events[name]) for name in events]
    about = {"key": key, "crc": str(_checksum(arrays))}
    batch = pa.RecordBatch.from_arrays(
        arrays,
        schema=pa.schema(
            [pa.field(name, array.type) for name, array in zip(events, arrays, strict=True)], metadata=about
        ),
    )
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with pa.OSFile(str(temporary), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
            writer.write_batch(batch)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise UserError(
            f"{path}: the parsed events cannot be kept ({error.strerror or error}); choose another `checkpoint_dir`"
        ) from None


def load(path: Path, key: str) -> pd.DataFrame | None:
    """What :func:`save` wrote for this key, its numbers read-only views of the file. None if there is no such file, or
    if it is cut short, damaged or of another key."""
    if not path.is_file():
        return None
    try:
        batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
    except (pa.ArrowException, OSError):
        return None
    about = batch.schema.metadata or {}
    if about.get(b"key") != key.encode() or about.get(b"crc") != str(_checksum(batch.columns)).encode():
        return None
    return pd.DataFrame({name: _pandas(batch[name]) for name in batch.schema.names}, copy=False)


def _arrow(column: pd.Series) -> pa.Array:
    if isinstance(column.dtype, pd.CategoricalDtype):
        words = pa.array(column.cat.categories, pa.string())
        return pa.DictionaryArray.from_arrays(pa.array(column.cat.codes.to_numpy()), words, safe=False)  # -1: no word
    return pa.array(column.to_numpy())


def _pandas(array: pa.Array):
    if pa.types.is_dictionary(array.type):
        words = pd.CategoricalDtype(array.dictionary.to_pandas())
        return pd.Categorical.from_codes(array.indices.to_numpy(), dtype=words, validate=False)
    return array.to_numpy()


def _checksum(arrays) -> int:
    crc = 0
    for array in arrays:
        parts = (array.indices, array.dictionary) if pa.types.is_dictionary(array.type) else (array,)
        for buffer in (buffer for part in parts for buffer in part.buffers() if buffer is not None):
            crc = zlib.crc32(np.frombuffer(buffer, dtype=np.uint8), crc)
    return crc
