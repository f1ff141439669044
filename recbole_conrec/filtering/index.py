"""Parquet parts -> the arrays that the filter maps into memory."""

from pathlib import Path

import numpy as np
from pyarrow import parquet

from recbole_conrec.filtering import folder as layout
from recbole_conrec.filtering.ids import Ids
from recbole_conrec.filtering.online import unit


def ids_and_vectors(run) -> tuple[np.ndarray, np.ndarray]:
    """Ids [n] and rebuilt embeddings float32 [n, dim] of the catalogue of a TrainedRun, without the padding item."""
    items = np.arange(1, run.data.item_num)
    return run.data.id2token(run.data.iid_field, items).astype(str), run.semantic_ids.embeddings(items)


def build_index(out: Path, parts: list[str], item_ids, vectors: np.ndarray) -> dict[str, int]:
    """Write ``out/index/`` from its parts, read one after the other: only users' ids and the sets' rows are held.

    Returns counts: users, empty (users without a set), items, predicted (items over all sets).
    """
    folder = out / layout.INDEX
    folder.mkdir(exist_ok=True)
    users, lengths, rows, activity = [], [], [], []
    for name in parts:
        with parquet.ParquetFile(out / name) as file:
            for batch in file.iter_batches(columns=["user_id", "activity", "rows"]):
                users.append(batch["user_id"].to_numpy(zero_copy_only=False).astype(str))
                activity.append(batch["activity"].to_numpy())
                lengths.append(batch["rows"].value_lengths().to_numpy())
                rows.append(batch["rows"].flatten().to_numpy())
    lengths, rows = np.concatenate(lengths), np.concatenate(rows).astype(np.int32)
    write_index(
        folder,
        users=np.concatenate(users),
        items=item_ids,
        vectors=vectors,
        lengths=lengths,
        rows=rows,
        activity=np.concatenate(activity),
    )
    return {"users": len(lengths), "empty": int((lengths == 0).sum()), "items": len(vectors), "predicted": len(rows)}


def write_index(folder: Path, *, users, items, vectors, lengths, rows, activity) -> None:
    """The index's files: users and items (ids), vectors float [n, dim], and by user the length of his set, its rows
    (all users' one after the other) and his activity."""
    Ids.of(users, "user").save(folder, "user")
    Ids.of(items, "item").save(folder, "item")
    np.save(folder / "vectors.npy", unit(np.asarray(vectors, dtype=np.float32)))
    np.save(folder / "ptr.npy", np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    np.save(folder / "rows.npy", np.asarray(rows, dtype=np.int32))
    np.save(folder / "activity.npy", np.asarray(activity, dtype=np.int32))
