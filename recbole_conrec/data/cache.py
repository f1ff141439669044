"""Parsed events on disk: an Arrow file, mapped into memory, so that a second run parses no text.

A cached file is used only if it is complete: it holds its key (of the content of the .inter file and of all that
decides how it is read) and a checksum of its columns.
"""

import hashlib
import json
import zlib
from pathlib import Path

import pandas as pd
import pyarrow as pa

from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import replacing

FORMAT = 3  # raise when the same files and rules would give other columns than before


def key(parts: dict) -> str:
    """The key of JSON values: the first 32 hex digits of their sha256."""
    return hashlib.sha256(json.dumps([FORMAT, parts], sort_keys=True).encode()).hexdigest()[:32]


def save(path: Path, key: str, events: pd.DataFrame) -> None:
    """Write columns of numbers and of pd.Categorical words. Raises UserError if they cannot be written."""
    arrays = [_arrow(events[name]) for name in events]
    about = {"key": key, "crc": str(_checksum(arrays))}
    batch = pa.RecordBatch.from_arrays(
        arrays,
        schema=pa.schema(
            [pa.field(name, array.type) for name, array in zip(events, arrays, strict=True)], metadata=about
        ),
    )
    try:
        with (
            replacing(path) as temporary,
            pa.OSFile(str(temporary), "wb") as file,
            pa.ipc.new_file(file, batch.schema) as writer,
        ):
            writer.write_batch(batch)
    except OSError as error:
        raise UserError(
            f"{path}: the parsed events cannot be kept ({error.strerror or error}); choose another `checkpoint_dir`"
        ) from None


def load(path: Path, key: str) -> pd.DataFrame | None:
    """What :func:`save` wrote for this key, the numbers as read-only views of the file.

    None if there is no such file, or if it is cut short, damaged or has another key.
    """
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
            crc = zlib.crc32(memoryview(buffer), crc)
    return crc
