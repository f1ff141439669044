"""RecIF-Bench, from huggingface.co/datasets/OpenOneRec/OpenOneRec-RecIF: videos shown to users of a short-video app.

Layout, Parquet: ``onerec_bench_release.parquet``, one row per user: ``uid``, the list ``hist_video_pid`` (oldest first)
with lists of 0 and 1 of its length, ``hist_video_longview``, ``_like``, ``_follow``, ``_forward``, ``_not_interested``,
then the same with ``target_`` for what came after; and ``pid2caption.parquet`` (``pid``, and ``caption`` or
``dense_caption``, in Chinese).

There are no times: an event's time is its place in its user's sequence, so the times of two users cannot be compared.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from recbole_conrec.data.convert.chunk import Chunk
from recbole_conrec.data.convert.draft import Draft
from recbole_conrec.data.convert.finding import find
from recbole_conrec.data.convert.options import ConvertOptions
from recbole_conrec.data.convert.reading import parquet_chunks
from recbole_conrec.data.convert.writing import protocol_options
from recbole_conrec.utils.errors import UserError

SIGNALS = ["not_interested", "like", "longview", "follow", "forward"]
COLUMNS = [f"{part}_video_{field}" for part in ("hist", "target") for field in ("pid", *SIGNALS)]


def convert(options: ConvertOptions, draft: Draft) -> None:
    raw = Path(options.raw)
    draft.protocol(
        "RecIF-Bench: exposures; times are places in each user's sequence, so cut and count per user.",
        protocol_options(
            "not_interested == 1",
            "like == 1 and not_interested == 0 or longview == 1 and not_interested == 0",
            ["caption"],
            events=100,
        ),
    )
    path = find(raw, "onerec_bench_release.parquet", what="users' sequences")
    captions = find(raw, "pid2caption.parquet", what="captions")
    header = ["user_id:token", "item_id:token", *(f"{signal}:float" for signal in SIGNALS), "timestamp:float"]
    chunks = parquet_chunks(path, ["uid", *COLUMNS], rows=2000)  # a user has hundreds of events
    draft.events(header, map(_events, chunks), order=None)
    draft.items(["item_id:token", "caption:token_seq"], _captions(captions, draft))


def _events(chunk: Chunk) -> pa.Table:
    """The users' lists one below the other, history before target: one row per exposure."""
    users = chunk.ids("uid").to_pylist()
    parts, begin = [], np.zeros(len(users), dtype=np.int64)
    for part in ("hist", "target"):
        size, items = _flat(chunk, f"{part}_video_pid")
        owner = np.repeat(np.arange(len(users)), size)
        place = np.arange(len(owner)) - np.repeat(np.cumsum(size) - size, size) + begin[owner]
        signals = []
        for signal in SIGNALS:
            length, values = _flat(chunk, f"{part}_video_{signal}")
            if (length != size).any():
                at = int(np.flatnonzero(length != size)[0])
                raise UserError(
                    f"{chunk.path}, row {chunk.rows[at]}: '{part}_video_{signal}' has {length[at]} values, "
                    f"'{part}_video_pid' {size[at]}; expected as many"
                )
            signals.append(values)
        parts.append(np.stack([owner, place, items, *signals]))
        begin += size
    owner, place, items, *signals = np.concatenate(parts, axis=1)
    order = np.lexsort((place, owner))
    return pa.table(
        {
            "user_id": pa.array(users).take(pa.array(owner[order])),
            "item_id": pa.array(items[order]).cast(pa.string()),
            **{name: pa.array(values[order]) for name, values in zip(SIGNALS, signals, strict=True)},
            "timestamp": pa.array(place[order]),
        }
    )


def _flat(chunk: Chunk, field: str) -> tuple[np.ndarray, np.ndarray]:
    """A column of lists as (their lengths, all values in order); null is an empty list. Both int64."""
    column = chunk.column(field).combine_chunks()
    lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    values = column.flatten()
    if values.null_count:
        raise UserError(
            f"{chunk.path}, at or after row {chunk.rows[0]}: '{field}' has an empty value; expected numbers"
        )
    return lengths, values.cast(pa.int64()).to_numpy()


def _captions(path: Path, draft: Draft) -> Iterator[pa.Table]:
    for chunk in parquet_chunks(path, ["pid"], optional=("caption", "dense_caption")):
        part = chunk.keep(draft.has_items(chunk.ids("pid")))
        field = "dense_caption" if part.has("dense_caption") else "caption"
        yield pa.table([part.ids("pid"), pa.array(part.text(field), pa.string())], names=["item", "caption"])
