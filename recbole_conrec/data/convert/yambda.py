"""Yambda, from huggingface.co/datasets/yandex/yambda: listens, likes and dislikes of tracks of a music service.

Layout, Parquet, of one size (50m, 500m, 5b), in the folder ``flat/SIZE``: ``listens.parquet`` (uid, item_id, timestamp,
is_organic, played_ratio_pct, track_length_seconds), ``likes.parquet``, ``dislikes.parquet``, ``undislikes.parquet``
(uid, item_id, timestamp, is_organic), or all of it as ``multi_event.parquet`` with an ``event_type``. Times are seconds
from an undisclosed start, in steps of 5. ``artist_item_mapping.parquet`` and ``album_item_mapping.parquet``, one folder
or more above in the download, may lie anywhere below --raw. There is no text.

A dislike is "do not recommend this track again". One that the user takes back at once is a slip of the finger.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from recbole_conrec.data.convert.chunk import Chunk
from recbole_conrec.data.convert.draft import Draft, text_tables
from recbole_conrec.data.convert.finding import find, find_optional
from recbole_conrec.data.convert.options import ConvertOptions
from recbole_conrec.data.convert.reading import parquet_chunks
from recbole_conrec.data.convert.writing import protocol_options

FIELDS = ["uid", "item_id", "timestamp", "is_organic"]
KINDS = ("listen", "like", "dislike", "undislike")
HEADER = ["user_id:token", "item_id:token", "event:token", "played_ratio:float", "is_organic:float", "timestamp:float"]


class YambdaOptions(ConvertOptions):
    """The options of the three sizes."""

    misclick_seconds: Annotated[int, Field(ge=-1, le=2**31)] = 10
    """A dislike that is taken back within this number of seconds is dropped; -1: all are kept."""


def convert(options: YambdaOptions, draft: Draft) -> None:
    raw = Path(options.raw)
    draft.protocol(
        "Yambda: seconds from an undisclosed start, in steps of 5.",
        protocol_options(
            "event == dislike", "event == like or played_ratio >= 50", ["artist", "album"], "artist", days=7
        ),
    )
    files = _files(raw)
    misclicks = _misclicks(files, options.misclick_seconds)
    draft.summary["misclicks dropped"] = len(misclicks)
    draft.events(HEADER, (_table(kind, chunk, misclicks) for kind, chunk in _chunks(files, KINDS[:3])))
    draft.items(["item_id:token", "artist:token_seq", "album:token_seq"], text_tables(_tracks(raw, draft)))


def _files(raw: Path) -> dict[str, Path]:
    """One file for each kind of event, or one for all under the key ''; the former if the folder has both."""
    if not find_optional(raw, "listens.parquet", what="listens of Yambda, flat"):
        file = find_optional(raw, "multi_event.parquet", what="events of Yambda")
        if file:
            return {"": file}
    return {kind: find(raw, f"{kind}s.parquet", what=f"{kind}s of Yambda, flat") for kind in KINDS}


def _chunks(files: dict[str, Path], kinds: tuple[str, ...]) -> Iterator[tuple[str, Chunk]]:
    for kind, path in files.items():
        if kind in kinds:
            for chunk in parquet_chunks(path, FIELDS, optional=("played_ratio_pct",)):
                yield kind, chunk
        elif kind == "":
            for chunk in parquet_chunks(path, [*FIELDS, "event_type", "played_ratio_pct"]):
                event = chunk.column("event_type").cast(pa.string())
                for one in kinds:
                    yield one, chunk.keep(np.asarray(pc.fill_null(pc.equal(event, one), False)))


def _table(kind: str, chunk: Chunk, misclicks: np.ndarray) -> pa.Table:
    played = (
        chunk.numbers("played_ratio_pct", pa.int32()).combine_chunks()
        if kind == "listen"
        else pa.array(np.zeros(len(chunk), np.int32))
    )
    table = pa.table(
        {
            "user_id": chunk.ids("uid"),
            "item_id": chunk.ids("item_id"),
            "event": pa.array([kind] * len(chunk), pa.string()),
            "played_ratio": played,
            "is_organic": chunk.numbers("is_organic", pa.int8()),
            "timestamp": chunk.numbers("timestamp", pa.int64()),
        }
    )
    if kind == "dislike" and len(misclicks):
        table = table.filter(pa.array(~np.isin(_keys(chunk), misclicks)))
    return table


def _keys(chunk: Chunk) -> np.ndarray:
    """(user, track, time) of each event as a structured array; Yambda's ids are numbers."""
    keys = np.empty(len(chunk), dtype=[("user", "i8"), ("item", "i8"), ("time", "i8")])
    for field, column in zip(("user", "item", "time"), FIELDS, strict=False):
        keys[field] = chunk.numbers(column, pa.int64()).to_numpy()
    return keys


def _misclicks(files: dict[str, Path], seconds: int) -> np.ndarray:
    """Keys of the dislikes that their user took back within ``seconds``. Dislikes are few and fit in memory."""
    parts: dict[str, list[np.ndarray]] = {"dislike": [], "undislike": []}
    for kind, chunk in _chunks(files, ("dislike", "undislike")):
        parts[kind].append(_keys(chunk))
    if seconds < 0 or not all(parts.values()):
        return np.empty(0)
    made, undone = (np.concatenate(parts[kind]) for kind in ("dislike", "undislike"))
    pairs = np.unique(np.concatenate([made, undone])[["user", "item"]], return_inverse=True)[1]
    span = max(made["time"].max(initial=0), undone["time"].max(initial=0)) + seconds + 2
    position = pairs * span  # one axis, on which the times of different pairs of user and track do not overlap
    made_at, undone_at = position[: len(made)] + made["time"], np.sort(position[len(made) :] + undone["time"])
    following = np.append(undone_at, np.iinfo(np.int64).max)[np.searchsorted(undone_at, made_at)]
    return np.unique(made[following - made_at <= seconds])


def _tracks(raw: Path, draft: Draft) -> Iterator[tuple]:
    """(track, its artists, its albums) for every track in a mapping."""
    names: dict[str, dict[str, list[str]]] = {}
    for kind in ("artist", "album"):
        path = find_optional(raw, f"{kind}_item_mapping.parquet", what=f"{kind}s of tracks")
        for chunk in parquet_chunks(path, ["item_id", f"{kind}_id"]) if path else ():
            ids = chunk.ids("item_id")
            kept = pa.array(draft.has_items(ids))
            for track, name in zip(
                ids.filter(kept).to_pylist(), chunk.ids(f"{kind}_id").filter(kept).to_pylist(), strict=True
            ):
                names.setdefault(track, {}).setdefault(kind, []).append(f"{kind}{name}")
    for track, kinds in names.items():
        yield track, " ".join(kinds.get("artist", ())), " ".join(kinds.get("album", ()))
