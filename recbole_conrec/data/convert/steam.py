"""Steam: reviews of games that end in "recommended" or "not recommended".

Layouts:

- ``steam``: Kaggle's "Game Recommendations on Steam" (antonkozyriev): ``recommendations.csv`` (app_id, helpful, funny,
  date, is_recommended, hours, user_id, review_id), ``games.csv`` (app_id, title, date_release, ...) and
  ``games_metadata.json`` (app_id, description, tags; one object per line).
- ``steam-australia``: McAuley Lab's ``australian_user_reviews.json`` (Python literals: user_id, reviews: a list of
  posted, item_id, recommend ...) and ``steam_games.json`` (id, app_name or title, genres). A date reads "Posted
  November 5, 2011.", or "Posted June 24." for the year of the crawl, which is not stated: those are dropped, unless
  ``year`` is given.

The larger ``steam_reviews.json`` of McAuley Lab does not say who recommends a game and is of no use here.
Dates are days: a user's reviews of one day keep the order of the file.
"""

import re
from calendar import timegm
from collections.abc import Iterator
from pathlib import Path
from time import strptime
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from recbole_conrec.data.convert.chunk import Chunk
from recbole_conrec.data.convert.draft import Draft, text_tables
from recbole_conrec.data.convert.finding import find
from recbole_conrec.data.convert.json_lines import literal_lines
from recbole_conrec.data.convert.options import ConvertOptions
from recbole_conrec.data.convert.reading import csv_chunks
from recbole_conrec.data.convert.times import times
from recbole_conrec.data.convert.writing import clean, protocol_options
from recbole_conrec.utils.errors import UserError

INTER = ["user_id:token", "item_id:token", "recommended:float", "hours:float", "timestamp:float"]
ITEM = ["item_id:token", "title:token_seq", "genre:token", "tags:token_seq"]
_MONTH_NAMES = "January February March April May June July August September October November December"
_MONTHS = _MONTH_NAMES.split()
_POSTED = re.compile(r"Posted (\w+ \d{1,2})(?:, (\d{4}))?\.?$")


def _protocol(draft: Draft) -> None:
    draft.protocol(
        "Steam: reviews by day. Players review rarely: the window is 30 days.",
        protocol_options("recommended == 0", "recommended == 1", ["title", "tags"], "genre", days=30),
    )


def convert(options: ConvertOptions, draft: Draft) -> None:
    raw = Path(options.raw)
    _protocol(draft)
    path = find(raw, "recommendations.csv", what="reviews")
    games, metadata = find(raw, "games.csv", what="titles"), find(raw, "games_metadata.json", what="tags")
    columns = ["app_id", "date", "is_recommended", "hours", "user_id"]
    draft.events(INTER, draft.tables(csv_chunks(path, columns, faults=draft.faults), _events))
    tags = {str(game.get("app_id")): game.get("tags") or [] for _, game in literal_lines(metadata)}
    draft.items(ITEM, text_tables(_games(games, tags)))


def _events(chunk: Chunk) -> pa.Table:
    recommended = pc.utf8_lower(chunk.column("is_recommended"))
    chunk.refuse("is_recommended", pc.invert(pc.is_in(recommended, pa.array(["true", "false"]))), "true or false")
    return pa.table(
        {
            "user_id": chunk.ids("user_id"),
            "item_id": chunk.ids("app_id"),
            "recommended": pc.equal(recommended, "true").cast(pa.int8()),
            "hours": chunk.numbers("hours"),
            "timestamp": times(chunk, "date", "iso"),
        }
    )


def _games(path: Path, tags: dict[str, list[str]]) -> Iterator[tuple]:
    for chunk in csv_chunks(path, ["app_id", "title"]):
        for game, title in zip(chunk.ids("app_id").to_pylist(), chunk.text("title"), strict=True):
            words = tags.get(game, [])
            yield game, title, words[0] if words else "", " ".join(word.replace(" ", "-") for word in words)


class AustraliaOptions(ConvertOptions):
    """The options of ``steam-australia``."""

    year: Annotated[int, Field(ge=1970, le=9999)] | None = None
    """Year of the reviews whose date has none; null: these reviews are dropped."""


def convert_australia(options: AustraliaOptions, draft: Draft) -> None:
    raw = Path(options.raw)
    _protocol(draft)
    path = find(raw, "australian_user_reviews.json", what="reviews")
    games = find(raw, "steam_games.json", "output_steam_games.json", what="games")
    draft.summary["reviews without a year dropped"] = 0
    draft.events(INTER, _reviews(path, draft, options.year))
    draft.items(ITEM, text_tables(_old_games(games)))


def _reviews(path: Path, draft: Draft, year: int | None) -> Iterator[pa.Table]:
    rows = []
    for number, user in literal_lines(path):
        for review in user.get("reviews", ()):
            try:
                match = _POSTED.match(review["posted"].strip())
                good, item, name = bool(review["recommend"]), clean(review["item_id"]), clean(user["user_id"])
            except (KeyError, AttributeError):
                raise UserError(
                    f"{path}, row {number}: no 'user_id', or a review lacks 'posted', 'recommend' or 'item_id'"
                ) from None
            if match is None:
                raise UserError(
                    f"{path}, row {number}: 'posted' is {review['posted']!r}; expected 'Posted June 24, 2014.'"
                )
            if match[2] is None and year is None:
                draft.summary["reviews without a year dropped"] += 1
                continue
            rows.append((name, item, int(good), 0.0, _day(path, number, match[1], match[2] or year)))
    columns = zip(*rows, strict=True) if rows else [()] * len(INTER)
    yield pa.table([pa.array(column) for column in columns], names=[column.split(":")[0] for column in INTER])


def _day(path: Path, number: int, day: str, year: str | int | None) -> int:
    """The time of midnight (UTC) of a day such as 'June 24', in English whatever the language of the machine."""
    name, date = day.split()
    if name not in _MONTHS:
        raise UserError(f"{path}, row {number}: '{name}' is not an English month")
    try:
        return timegm(strptime(f"{year}-{_MONTHS.index(name) + 1}-{date}", "%Y-%m-%d"))
    except ValueError:
        raise UserError(f"{path}, row {number}: there is no {day}, {year}") from None


def _old_games(path: Path) -> Iterator[tuple]:
    for _, game in literal_lines(path):
        genres = game.get("genres") or []
        if game.get("id"):
            words = [*genres, *(tag for tag in game.get("tags") or () if tag not in genres)]
            yield (
                str(game["id"]),
                game.get("app_name") or game.get("title"),
                genres[0] if genres else "",
                " ".join(word.replace(" ", "-") for word in words),
            )
