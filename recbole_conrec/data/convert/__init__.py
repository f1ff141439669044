"""Converters from official downloads to RecBole atomic files: ``convert(name, raw, out)``; one file per data set.

Each converter streams: events go through sorted runs on disk (:mod:`.sorting`), so memory does not grow with them. The
data set appears whole or not at all. docs/datasets.md says where each download is and what "negative" means in it.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from recbole_conrec.data.convert import amazon, generic, kuairand, movielens, recif, steam, vk_lsvd, yambda
from recbole_conrec.data.convert.draft import Draft
from recbole_conrec.data.convert.writing import new_dataset
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.names import nearest


@dataclass(frozen=True)
class Converter:
    """One layout of one data set.

    Attributes:
        run: ``run(raw, draft, **options)`` reads the folder ``raw`` and writes into the :class:`Draft`.
        description: one line for the command's help.
        fixed: options that the layout decides.
    """

    run: Callable[..., None]
    description: str
    fixed: dict = field(default_factory=dict)

    @property
    def options(self) -> dict:
        """Options that a user may give, with their defaults."""
        return {p.name: p.default for p in self._parameters()}

    @property
    def kinds(self) -> dict:
        """What a user's options must be instances of."""
        return {p.name: p.annotation for p in self._parameters()}

    def _parameters(self) -> list[inspect.Parameter]:
        parameters = list(inspect.signature(self.run).parameters.values())[2:]
        return [p for p in parameters if p.name not in self.fixed]


CONVERTERS = {
    "ml-100k": Converter(movielens.convert_100k, "MovieLens-100K: u.data, u.item, u.user"),
    "ml-1m": Converter(
        movielens.convert_dat,
        "MovieLens-1M: ratings.dat, movies.dat, users.dat",
        {"encoding": "latin-1", "title": "movie_title", "genre": "genre"},
    ),
    "ml-10m": Converter(
        movielens.convert_dat,
        "MovieLens-10M: ratings.dat, movies.dat",
        {"encoding": "utf-8", "title": "movie_name", "genre": "type"},
    ),
    "ml-20m": Converter(
        movielens.convert_csv, "MovieLens-20M: ratings.csv, movies.csv", {"title": "movie_name", "genre": "type"}
    ),
    "ml-25m": Converter(
        movielens.convert_csv, "MovieLens-25M: ratings.csv, movies.csv", {"title": "movie_title", "genre": "genre"}
    ),
    "ml-32m": Converter(
        movielens.convert_csv, "MovieLens-32M: ratings.csv, movies.csv", {"title": "movie_title", "genre": "genre"}
    ),
    "kuairand-pure": Converter(kuairand.convert, "KuaiRand-Pure: short videos, is_hate; 7,583 videos"),
    "kuairand-1k": Converter(kuairand.convert, "KuaiRand-1K: short videos, is_hate; all that 1,000 users saw"),
    "kuairand-27k": Converter(kuairand.convert, "KuaiRand-27K: short videos, is_hate; 322 million exposures"),
    "yambda-50m": Converter(yambda.convert, "Yambda 50M: listens, likes and dislikes of music"),
    "yambda-500m": Converter(yambda.convert, "Yambda 500M: ten times the users of 50M"),
    "yambda-5b": Converter(yambda.convert, "Yambda 5B: all of it"),
    "vk-lsvd": Converter(vk_lsvd.convert, "VK-LSVD or one of its samples: short videos, dislikes, order by weeks"),
    "recif": Converter(recif.convert, "OpenOneRec RecIF-Bench: short videos, not_interested, order instead of time"),
    "amazon-2014": Converter(amazon.convert, "Amazon reviews, 2014: reviews_CATEGORY.json or ratings", {"year": 2014}),
    "amazon-2018": Converter(amazon.convert, "Amazon reviews, 2018: CATEGORY.json or ratings", {"year": 2018}),
    "amazon-2023": Converter(amazon.convert, "Amazon reviews, 2023: CATEGORY.jsonl or ratings", {"year": 2023}),
    "steam": Converter(steam.convert, "Steam, Kaggle's Game Recommendations: is_recommended"),
    "steam-australia": Converter(steam.convert_australia, "Steam, McAuley Lab's Australian reviews: recommend"),
    "generic": Converter(generic.convert, "any CSV, JSON lines or Parquet, by a mapping in YAML"),
}


def convert(
    name: str, raw, out, /, *, dataset: str | None = None, overwrite: bool = False, **options
) -> dict[str, int]:
    """Convert a download.

    Args:
        name: a key of ``CONVERTERS``.
        raw: the folder into which the download was unpacked.
        out: folder of data sets; ``out/dataset`` is written.
        dataset: name of the new data set; ``name`` if not given.
        overwrite: replace a data set of that name.
        options: of the converter.

    Returns:
        counts: events, users, items, negatives, positives, repeats (rows equal to an earlier one, dropped) ...

    Raises:
        UserError: for an unknown name or option, a missing or malformed file, an existing data set.
    """
    if name not in CONVERTERS:
        raise UserError(f"no converter '{name}'{nearest(name, CONVERTERS)}; there are {', '.join(CONVERTERS)}")
    converter = CONVERTERS[name]
    for option in options:
        if option not in converter.options:
            known = ["raw", "out", "dataset", "overwrite", *converter.options]
            raise UserError(
                f"convert {name}: unknown option '{option}'{nearest(option, known)}; its options: {', '.join(known)}"
            )
        _check_type(name, option, options[option], converter.kinds[option])
    for option, default in converter.options.items():
        if default is inspect.Parameter.empty and option not in options:
            raise UserError(f"convert {name}: --{option} is needed")
    dataset = dataset or name
    with new_dataset(out, dataset, overwrite, option="dataset") as folder:
        draft = Draft(folder, dataset)
        converter.run(Path(raw), draft, **converter.fixed, **options)
    return draft.summary


def _check_type(name: str, option: str, value, kind) -> None:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        expected = {bool: "true or false", str: "text"}.get(kind, "a whole number")
        raise UserError(f"convert {name}: {option} = {value!r}; expected {expected}")
