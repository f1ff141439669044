"""KuaiRand, from kuairand.com: logs of a short-video app, every row an exposure, ``is_hate`` among its feedback.

Layout (the same in Pure, 1K and 27K; the last parts its large files): ``log_standard_4_08_to_4_21_*.csv``,
``log_standard_4_22_to_5_08_*.csv``, ``log_random_4_22_to_5_08_*.csv`` (videos shown at random) and
``video_features_basic_*.csv``. The texts are a later download, for all versions at once, next to the others or in any
folder below: ``kuairand_video_captions.csv`` (final_video_id, caption, show_cover_text) and
``kuairand_video_categories.csv`` (final_video_id, first_level_category_name ... in Chinese).
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from recbole_conrec.data.convert.chunk import Chunk
from recbole_conrec.data.convert.draft import Draft
from recbole_conrec.data.convert.finding import find, find_all, find_optional
from recbole_conrec.data.convert.options import ConvertOptions
from recbole_conrec.data.convert.reading import csv_chunks
from recbole_conrec.data.convert.times import times
from recbole_conrec.data.convert.writing import protocol_options

SIGNALS = ["is_hate", "is_click", "is_like", "long_view", "is_rand"]
CAPTIONS, CATEGORIES = ["caption", "show_cover_text"], ["first_level_category_name"]
UNKNOWN = {"-124", "-124.0", "UNKNOWN", "UNKNOW"}  # the files' words for a video without a category or tag


class KuaiRandOptions(ConvertOptions):
    """The options of the three sizes."""

    random: bool = True
    """Keep the videos that were shown at random."""


def convert(options: KuaiRandOptions, draft: Draft) -> None:
    raw = Path(options.raw)
    captions = find_optional(raw, "kuairand_video_captions*.csv", what="captions")
    categories = find_optional(raw, "kuairand_video_categories*.csv", what="categories")
    draft.protocol(
        "KuaiRand: a log of exposures over a month; a dislike is `is_hate`.",
        protocol_options(
            "is_hate == 1",
            "is_click == 1 and is_hate == 0",
            ["caption", "cover_text", "category"] if captions else ["tag", "author", "video_type"],
            "category" if categories else "tag",
            days=7,
        ),
    )
    logs = find_all(raw, "log_standard_*.csv", what="logs of standard recommendation")
    logs += find_all(raw, "log_random_*.csv", what="log of random exposures") if options.random else []
    basic = find(raw, "video_features_basic_*.csv", what="features of videos")
    header = ["user_id:token", "item_id:token", *(f"{signal}:float" for signal in SIGNALS), "timestamp:float"]
    draft.events(header, (table for log in logs for table in _events(log, draft)), order="time_ms")
    texts = [
        _Texts(csv_chunks(path, ["final_video_id", *fields], multiline=True) if path else [], fields, draft)
        for path, fields in ((captions, CAPTIONS), (categories, CATEGORIES))
    ]
    draft.items(
        [
            "item_id:token",
            "caption:token_seq",
            "cover_text:token_seq",
            "category:token",
            "author:token",
            "video_type:token",
            "tag:token_seq",
        ],
        _items(basic, texts, draft),
    )


def _events(log: Path, draft: Draft) -> Iterator[pa.Table]:
    def make(chunk: Chunk) -> pa.Table:
        return pa.table(
            {
                "user_id": chunk.ids("user_id"),
                "item_id": chunk.ids("video_id"),
                **{signal: chunk.numbers(signal, pa.int8()) for signal in SIGNALS},
                "timestamp": times(chunk, "time_ms", "ms", whole=True),
                "time_ms": chunk.numbers("time_ms", pa.int64()),
            }
        )

    columns = ["user_id", "video_id", "time_ms", *SIGNALS]
    return draft.tables(csv_chunks(log, columns, quoted=False, faults=draft.faults), make)


def _items(basic: Path, texts: list["_Texts"], draft: Draft) -> Iterator[pa.Table]:
    def make(chunk: Chunk) -> pa.Table:
        videos = chunk.numbers("video_id", pa.int64()).to_numpy()
        columns = [column for text in texts for column in text.of(videos)]
        tags = [_known(tag.replace(",", " ")) for tag in chunk.text("tag")]
        return pa.table(
            [
                chunk.ids("video_id"),
                *columns,
                pa.array(chunk.text("author_id"), pa.string()),
                pa.array(chunk.text("video_type"), pa.string()),
                pa.array(tags, pa.string()),
            ],
            names=[str(number) for number in range(len(columns) + 4)],
        )

    columns = ["video_id", "author_id", "video_type", "tag"]
    return draft.tables(csv_chunks(basic, columns, faults=draft.faults), make)


def _known(text: str) -> str:
    return "" if text in UNKNOWN else text


class _Texts:
    """Texts of the videos that have events, found by id; in Arrow's arrays, because 27K has 32 million videos."""

    def __init__(self, chunks: Iterable[Chunk], fields: list[str], draft: Draft):
        parts, columns = [np.empty(0, np.int64)], [pa.table({field: pa.array([], pa.string()) for field in fields})]
        for chunk in chunks:
            part = chunk.keep(draft.has_items(chunk.ids("final_video_id")))
            parts.append(part.numbers("final_video_id", pa.int64()).to_numpy())
            columns.append(pa.table({field: pa.array(map(_known, part.text(field)), pa.string()) for field in fields}))
        ids = np.concatenate(parts)
        order = np.argsort(ids, kind="stable")
        self._ids, self._columns = ids[order], pa.concat_tables(columns).take(pa.array(order))

    def of(self, ids: np.ndarray) -> list[pa.ChunkedArray]:
        """One column per field, '' where a video has no text."""
        if len(self._ids) == 0:
            return [pa.array([""] * len(ids), pa.string())] * self._columns.num_columns
        places = np.searchsorted(self._ids, ids).clip(max=len(self._ids) - 1)
        found = pa.array(places, mask=self._ids[places] != ids)
        return [column.take(found).fill_null("") for column in self._columns.columns]
