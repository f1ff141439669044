"""Parts of Predict Sets (Parquet) -> the arrays that the filter maps into memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pyarrow import parquet

from recbole_conrec.filtering import folder as layout
from recbole_conrec.filtering.ids import Ids
from recbole_conrec.utils.arrays import unit_rows

if TYPE_CHECKING:
    from recbole_conrec.runs.restore import TrainedRun


def ids_and_vectors(run: TrainedRun) -> tuple[np.ndarray, np.ndarray]:
    """Ids, text [n], and rebuilt embeddings, float32 [n, dim], of the catalogue of a run, without the padding item."""
    items = np.arange(1, run.data.item_num)
    return run.data.id2token(run.data.iid_field, items).astype(str), run.semantic_ids.embeddings(items)


def build_index(out: Path, parts: list[str], item_ids, vectors: np.ndarray) -> dict[str, int]:
    """Write ``out/index/`` from the parts of the folder ``out``.

    Parts are read one after the other: only the users' ids and the rows of their sets are kept in memory.

    Args:
        parts: names of the parts' files inside ``out``.
        item_ids: text [n]. vectors: float32 [n, dim]. Both of the whole catalogue, without the padding item.

    Returns counts: users, empty (users with an empty set), items, predicted (items over all sets).
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
    sizes, predicted = np.concatenate(lengths), np.concatenate(rows).astype(np.int32)
    write_index(
        folder,
        users=np.concatenate(users),
        items=item_ids,
        vectors=vectors,
        lengths=sizes,
        rows=predicted,
        activity=np.concatenate(activity),
    )
    return {
        "users": len(sizes),
        "empty": int((sizes == 0).sum()),
        "items": len(vectors),
        "predicted": len(predicted),
    }


def write_index(folder: Path, *, users, items, vectors, lengths, rows, activity) -> None:
    """Write the files of an index into ``folder``.

    Args:
        users: ids [U]. items: ids [n].
        vectors: float [n, dim], of any length.
        lengths: int [U], items in each user's set.
        rows: int [sum of lengths], the sets one after the other, as rows of ``vectors``, best first.
        activity: int [U], likes and dislikes of each user before the sets were made.
    """
    Ids.of(users, "user").save(folder, "user")
    Ids.of(items, "item").save(folder, "item")
    np.save(folder / "vectors.npy", unit_rows(np.asarray(vectors, dtype=np.float32)))
    np.save(folder / "ptr.npy", np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    np.save(folder / "rows.npy", np.asarray(rows, dtype=np.int32))
    np.save(folder / "activity.npy", np.asarray(activity, dtype=np.int32))
