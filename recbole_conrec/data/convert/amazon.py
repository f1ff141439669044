"""Amazon reviews (McAuley Lab, UCSD), the releases of 2014, 2018 and 2023: stars that buyers gave.

Layouts, gzipped or not:

- 2014: ``reviews_CATEGORY.json`` or ``reviews_CATEGORY_5.json`` (reviewerID, asin, overall, unixReviewTime; some of
  them Python literals), or
  ``ratings_CATEGORY.csv`` (user, item, rating, timestamp; no header); ``meta_CATEGORY.json``, Python literals (asin,
  title, brand, categories: a list of paths).
- 2018: ``CATEGORY.json`` or ``CATEGORY_5.json`` with the fields of 2014, or ``CATEGORY.csv`` (item, user, rating,
  timestamp: item first; no header); ``meta_CATEGORY.json`` (asin, title, brand, category: one path, main_cat).
- 2023: ``CATEGORY.jsonl`` (user_id, parent_asin, rating, timestamp in milliseconds), or the CSV of its benchmark (with
  a header); ``meta_CATEGORY.jsonl`` (parent_asin, title, store, main_category, categories: one path). An item is a
  ``parent_asin``: colours and sizes of one product are one item.
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from recbole_conrec.data.convert.chunk import Chunk
from recbole_conrec.data.convert.draft import Draft, text_tables
from recbole_conrec.data.convert.faults import Fault, Faults
from recbole_conrec.data.convert.finding import find, matching
from recbole_conrec.data.convert.json_lines import is_json, json_chunks, literal_chunks, literal_lines
from recbole_conrec.data.convert.options import ConvertOptions
from recbole_conrec.data.convert.reading import csv_chunks
from recbole_conrec.data.convert.times import times
from recbole_conrec.data.convert.writing import plain_text, protocol_options, words
from recbole_conrec.options.schema import Text
from recbole_conrec.utils.errors import UserError

OLD = {"reviewerID": "user", "asin": "item", "overall": "rating", "unixReviewTime": "time"}
NEW = {"user_id": "user", "parent_asin": "item", "rating": "rating", "timestamp": "time"}
NAMELESS = {2014: ["user", "item", "rating", "time"], 2018: ["item", "user", "rating", "time"]}
KINDS = {"user": pa.string(), "item": pa.string(), "rating": pa.float64(), "time": pa.int64()}


class AmazonOptions(ConvertOptions):
    """The options of the three releases."""

    category: Text = "*"
    """The category to convert, such as Beauty or All_Beauty, if there are several in the folder."""


def convert(options: AmazonOptions, draft: Draft, *, year: int) -> None:
    raw, category = Path(options.raw), options.category
    draft.protocol(
        f"Amazon reviews {year}. Buyers review rarely: the window is 30 days.",
        protocol_options("rating <= 2", "rating >= 4", ["title", "brand", "categories"], "categories", days=30),
    )
    reviews = _reviews(raw, year, category)
    meta = find(raw, f"meta_{category}.json", f"meta_{category}.jsonl", what="features of items")
    draft.events(["user_id:token", "item_id:token", "rating:float", "timestamp:float"], _events(reviews, year, draft))
    header = ["item_id:token", "title:token_seq", "brand:token", "categories:token_seq"]
    draft.items(header, text_tables(_items(meta, year, draft.faults)))


def _reviews(raw: Path, year: int, category: str) -> Path:
    prefixes = ("reviews_", "ratings_") if year == 2014 else ("",)
    patterns = [
        f"{prefix}{category}{ending}"
        for prefix in prefixes
        for ending in ("_5.json", ".json", ".jsonl", "_5.csv", ".csv")
    ]
    for pattern in patterns:
        files = [path for path in matching(raw, pattern) if not path.name.startswith("meta_")]
        if len(files) > 1:
            raise UserError(
                f"{raw}: {len(files)} files of reviews ({', '.join(path.name for path in files[:4])}); choose "
                f"one by --category"
            )
        if files:
            return files[0]
    raise UserError(f"{raw}: no file {' or '.join(patterns)} (reviews of Amazon {year}); unpack the download there")


def _events(path: Path, year: int, draft: Draft) -> Iterator[pa.Table]:
    fields, faults = NEW if year == 2023 else OLD, draft.faults
    if ".json" in path.name:
        read = json_chunks if is_json(path) else literal_chunks  # some of 2014 are Python literals
        chunks = read(path, {field: KINDS[meaning] for field, meaning in fields.items()}, faults)
        names = {meaning: field for field, meaning in fields.items()}
    elif year == 2023:
        chunks = csv_chunks(path, list(fields), faults=faults)
        names = {meaning: field for field, meaning in fields.items()}
    else:
        chunks = csv_chunks(path, NAMELESS[year], names=NAMELESS[year], faults=faults)
        names = {name: name for name in KINDS}

    def make(chunk: Chunk) -> pa.Table:
        return pa.table(
            {
                "user_id": chunk.ids(names["user"]),
                "item_id": chunk.ids(names["item"]),
                "rating": chunk.numbers(names["rating"]),
                "timestamp": times(chunk, names["time"], "ms" if year == 2023 else "s", whole=True),
            }
        )

    return draft.tables(chunks, make)


def _items(path: Path, year: int, faults: Faults) -> Iterator[tuple]:
    for number, item in literal_lines(path, faults):
        key = "parent_asin" if year == 2023 else "asin"
        if not item.get(key):
            faults.add([Fault(path, number, f"no '{key}'; expected the id of an item")])
        else:
            yield (
                item[key],
                _title(item.get("title")),
                _words(item.get("store" if year == 2023 else "brand")),
                _path(item),
            )


def _title(title) -> str:
    """A title without HTML. Some of 2018's titles are a script of the page instead: ''."""
    text = _words(title)
    return "" if "getTime()" in text else text


def _words(value) -> str:
    """The text of a value without HTML."""
    return plain_text(words(value))


def _path(item: dict) -> str:
    """The steps of an item's first path of categories, one word each: 'Beauty Skin-Care Face'; without a path, its main
    category.
    """
    paths = item.get("categories") or item.get("category") or []
    path = paths if isinstance(paths, list) else [paths]
    path = path[0] if path and isinstance(path[0], list) else path
    main = item.get("main_category") or item.get("main_cat")  # 2023, 2018
    return " ".join("-".join(_words(step).split()) for step in path or [main] if step)
