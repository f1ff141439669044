"""MovieTweetings, from github.com/sidooms/MovieTweetings: ratings of films from 0 to 10, tweeted from IMDb.

Layout, in UTF-8, of the snapshots (100K, 200K, 400K ...) and of the growing ``latest``: ``ratings.dat``
(user::film::rating::timestamp), ``movies.dat`` (id::title (year)::genre|genre) and ``users.dat`` (user::id at Twitter).
A film's id is IMDb's, with its leading zeros. ``users.dat`` is not read: it says nothing but who a user is.
"""

from collections.abc import Iterator
from pathlib import Path

from recbole_conrec.data.convert.draft import Draft, text_tables
from recbole_conrec.data.convert.faults import Fault, Faults
from recbole_conrec.data.convert.finding import find
from recbole_conrec.data.convert.movielens import INTER, ratings, split_title
from recbole_conrec.data.convert.options import ConvertOptions
from recbole_conrec.data.convert.streams import lines
from recbole_conrec.data.convert.writing import protocol_options


def convert(options: ConvertOptions, draft: Draft) -> None:
    raw = Path(options.raw)
    draft.protocol(
        "MovieTweetings: films rated one by one, as they are seen; times are seconds.",
        protocol_options("rating <= 5", "rating >= 8", ["title", "genres", "year"], "genres", days=7),
    )
    data = find(raw, "ratings.dat", what="ratings of MovieTweetings")
    path = find(raw, "movies.dat", what="films of MovieTweetings")
    names = ["user", "item", "rating", "time"]
    draft.events(INTER, ratings(draft, data, *names, names=names, separator="::"))
    header = ["item_id:token", "title:token_seq", "year:token", "genres:token_seq"]
    draft.items(header, text_tables(_films(path, draft.faults)))


def _films(path: Path, faults: Faults) -> Iterator[tuple]:
    """(id, title, year, genres joined by blanks) of each film; a title may hold '::'."""
    for number, line in lines(path, "utf-8"):
        film, _, rest = line.partition("::")
        title, separator, genres = rest.rpartition("::")
        if separator:
            yield film.strip(), *split_title(title), genres.replace("|", " ")
        else:
            faults.add([Fault(path, number, f"{line[:80]!r}; expected id::title (year)::genre|genre")])
