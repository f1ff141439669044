"""MovieLens, from grouplens.org: star ratings of movies.

Layouts (each README of GroupLens describes its own):

- 100K: ``u.data`` (user, item, rating, timestamp; tabs), ``u.item`` (id | title | release date | video date | URL |
  19 genre flags; latin-1), ``u.user`` (id | age | gender | occupation | zip code).
- 1M and 10M: ``ratings.dat`` (user::movie::rating::timestamp), ``movies.dat`` (id::title::genre|genre; latin-1 in 1M,
  UTF-8 in 10M), 1M also ``users.dat`` (id::gender::age::occupation::zip code).
- 20M, 25M, 32M, latest: ``ratings.csv`` and ``movies.csv`` with headers, titles with commas in double quotes.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from recbole_conrec.data.convert.chunk import Chunk
from recbole_conrec.data.convert.draft import Draft, text_table, text_tables
from recbole_conrec.data.convert.finding import find, find_optional
from recbole_conrec.data.convert.options import ConvertOptions
from recbole_conrec.data.convert.reading import csv_chunks, delimited
from recbole_conrec.data.convert.times import times
from recbole_conrec.data.convert.writing import protocol_options

INTER = ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]
_GENRES = (
    "unknown Action Adventure Animation Children's Comedy Crime Documentary Drama Fantasy Film-Noir Horror Musical "
    "Mystery Romance Sci-Fi Thriller War Western"
)
GENRES = _GENRES.split()
_YEAR = re.compile(r"\s*\((\d{4})\)\s*$")


def convert_100k(options: ConvertOptions, draft: Draft) -> None:
    raw = Path(options.raw)
    header = _protocol(draft, "movie_title", "class")
    data = find(raw, "u.data", what="ratings of MovieLens-100K")
    names = ["user", "item", "rating", "time"]
    path = find(raw, "u.item", what="movies of MovieLens-100K")
    draft.events(INTER, ratings(draft, data, *names, names=names, separator="\t", quoted=False))
    draft.items(header, text_tables(_movies_100k(path)))
    users = find_optional(raw, "u.user", what="users of MovieLens-100K")
    if users:
        fields = ["id", "age", "gender", "occupation", "zip"]
        draft.users(
            ["user_id:token", "age:token", "gender:token", "occupation:token", "zip_code:token"],
            text_tables(tuple(row.values()) for _, row in delimited(users, fields, "|", "latin-1")),
        )


def _protocol(draft: Draft, title: str, genre: str) -> list[str]:
    """Write the YAML. Returns the header of the .item file; its fields are named as in RecBole's own collection."""
    # Most users rate in one sitting: a cut in time would separate users instead of splitting histories.
    draft.protocol(
        "MovieLens. Users rate in one sitting: the split is per user, the window counts events.",
        protocol_options("rating <= 2", "rating >= 4", [title, "release_year", genre], genre, events=20),
    )
    return ["item_id:token", f"{title}:token_seq", "release_year:token", f"{genre}:token_seq"]


def _movies_100k(path: Path) -> Iterator[tuple]:
    fields = ["id", "title", "released", "video", "url", *GENRES]
    for _, row in delimited(path, fields, "|", "latin-1"):
        title, year = split_title(row["title"])
        genres = " ".join(genre for genre in GENRES[1:] if row[genre].strip() == "1")
        yield row["id"], title, year or row["released"][-4:], genres


def convert_dat(options: ConvertOptions, draft: Draft, *, encoding: str, title: str, genre: str) -> None:
    raw = Path(options.raw)
    header = _protocol(draft, title, genre)
    data = find(raw, "ratings.dat", what="ratings of MovieLens-1M or 10M")
    names = ["user", "item", "rating", "time"]
    path = find(raw, "movies.dat", what="movies of MovieLens-1M or 10M")
    draft.events(INTER, ratings(draft, data, *names, names=names, separator="::"))
    rows = delimited(path, ["id", "title", "genres"], "::", encoding)
    draft.items(header, text_tables((row["id"], *split_title(row["title"]), _genres(row["genres"])) for _, row in rows))
    users = find_optional(raw, "users.dat", what="users of MovieLens-1M")
    if users:
        fields = ["id", "gender", "age", "occupation", "zip"]
        draft.users(
            ["user_id:token", "gender:token", "age:token", "occupation:token", "zip_code:token"],
            text_tables(tuple(row.values()) for _, row in delimited(users, fields, "::", encoding)),
        )


def convert_csv(options: ConvertOptions, draft: Draft, *, title: str, genre: str) -> None:
    raw = Path(options.raw)
    header = _protocol(draft, title, genre)
    data = find(raw, "ratings.csv", what="ratings of MovieLens-20M or later")
    names = ["userId", "movieId", "rating", "timestamp"]
    path = find(raw, "movies.csv", what="movies of MovieLens-20M or later")
    draft.events(INTER, ratings(draft, data, *names))
    draft.items(header, _movies_csv(path, draft))


def _movies_csv(path: Path, draft: Draft) -> Iterator[pa.Table]:
    def make(chunk: Chunk) -> pa.Table:
        rows = zip(chunk.ids("movieId").to_pylist(), chunk.text("title"), chunk.text("genres"), strict=True)
        return text_table((item, *split_title(title), _genres(genres)) for item, title, genres in rows)

    return draft.tables(csv_chunks(path, ["movieId", "title", "genres"], faults=draft.faults), make)


def ratings(draft: Draft, path: Path, *columns: str, **layout) -> Iterator[pa.Table]:
    """The ratings; columns: the names of user, item, rating and time in the file."""
    user, item, rating, time = columns

    def make(chunk: Chunk) -> pa.Table:
        return pa.table(
            {
                "user_id": chunk.ids(user),
                "item_id": chunk.ids(item),
                "rating": chunk.numbers(rating),
                "timestamp": times(chunk, time, "s", whole=True),
            }
        )

    return draft.tables(csv_chunks(path, list(columns), faults=draft.faults, **layout), make)


def split_title(title: str) -> tuple[str, str]:
    """'Toy Story (1995)' -> ('Toy Story', '1995'); a title without a year keeps '' for it."""
    match = _YEAR.search(title)
    return (title[: match.start()], match.group(1)) if match else (title.strip(), "")


def _genres(text: str) -> str:
    return "" if text == "(no genres listed)" else text.replace("|", " ")
