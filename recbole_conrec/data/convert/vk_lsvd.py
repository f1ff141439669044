"""VK-LSVD, from huggingface.co/datasets/deepvk/VK-LSVD: what short videos were shown to whom, with dislikes.

Layout, Parquet: ``interactions/{train,validation,test}/week_XX.parquet`` or a sample of them,
``subsamples/NAME/{train,validation,test}/week_XX.parquet`` (user_id, item_id, place, platform, agent, timespent, like,
dislike, share, bookmark, click_on_author, open_comments), and ``metadata/items_metadata.parquet`` (item_id, author_id,
duration, ...). Each row is one exposure. There are no times: files follow each other by weeks, rows within a file by
time. There is no text; ``metadata/item_embeddings.npz`` suits the tokenizer's encoder ``file``.

We spread the rows of a week evenly over its seven days, so that cuts in time and windows of days are correct to within
a week; the order is the owners', the seconds are not.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from recbole_conrec.data.convert.draft import Draft
from recbole_conrec.data.convert.finding import find_all, find_optional
from recbole_conrec.data.convert.options import ConvertOptions
from recbole_conrec.data.convert.reading import parquet_chunks
from recbole_conrec.data.convert.writing import protocol_options
from recbole_conrec.utils.errors import UserError

WEEK = 7 * 86_400
SIGNALS = ["dislike", "like", "share", "bookmark", "timespent"]


def convert(options: ConvertOptions, draft: Draft) -> None:
    raw = Path(options.raw)
    draft.protocol(
        "VK-LSVD: exposures; times are the order within weeks, spread over each week.",
        protocol_options("dislike == 1", "like == 1 and dislike == 0", ["author"], "author", days=7),
    )
    header = ["user_id:token", "item_id:token", *(f"{signal}:float" for signal in SIGNALS), "timestamp:float"]
    weeks = _weeks(raw)
    path = find_optional(raw, "items_metadata.parquet", what="features of videos")
    if path is None:
        raise UserError(f"{raw}: no items_metadata.parquet; put the download's folder `metadata` there too")
    draft.events(header, (table for week, file in weeks for table in _events(week, file)), order=None)
    draft.items(
        ["item_id:token", "author:token", "duration:float"],
        (
            pa.table(
                [
                    chunk.ids("item_id"),
                    pa.array([f"author{name}" for name in chunk.ids("author_id").to_pylist()]),
                    chunk.numbers("duration").cast(pa.string()),
                ],
                names=["item", "author", "duration"],
            )
            for chunk in parquet_chunks(path, ["item_id", "author_id", "duration"])
        ),
    )


def _weeks(raw: Path) -> list[tuple[int, Path]]:
    """(week number, file), in order; all of one sample."""
    files = find_all(raw, "week_*.parquet", what="weeks of interactions")
    samples = sorted({path.parent.parent for path in files})
    if len(samples) > 1:
        raise UserError(
            f"{raw}: weeks of several samples ({', '.join(map(str, samples[:4]))}); keep one of them below "
            f"--raw, beside `metadata`"
        )
    weeks = []
    for path in files:
        number = path.stem.removeprefix("week_")
        if not number.isdigit():
            raise UserError(f"{path}: expected a name like week_07.parquet")
        weeks.append((int(number), path))
    weeks.sort()
    for (week, path), (other, twin) in pairwise(weeks):
        if week == other:
            raise UserError(f"{path} and {twin} are the same week; keep one")
    return weeks


def _events(week: int, path: Path) -> Iterator[pa.Table]:
    size = pa.parquet.read_metadata(path).num_rows
    for chunk in parquet_chunks(path, ["user_id", "item_id", *SIGNALS]):
        place = chunk.rows - 1
        yield pa.table(
            {
                "user_id": chunk.ids("user_id"),
                "item_id": chunk.ids("item_id"),
                **{signal: chunk.numbers(signal, pa.int16()) for signal in SIGNALS},
                "timestamp": pa.array(week * WEEK + place * WEEK // size),
            }
        )
