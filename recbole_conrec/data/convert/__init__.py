"""Converters from official downloads to RecBole atomic files: ``convert("ml-1m", raw="ml-1m/")``; a module for each.

Each converter streams: events go through sorted runs on disk (:mod:`.sorting`), so memory does not grow with them. The
data set appears whole or not at all. docs/datasets.md says where each download is and what "negative" means in it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from recbole_conrec.data.convert import (
    amazon,
    generic,
    kuairand,
    movielens,
    movietweetings,
    recif,
    steam,
    vk_lsvd,
    yambda,
)
from recbole_conrec.data.convert.draft import Draft
from recbole_conrec.data.convert.faults import Faults
from recbole_conrec.data.convert.options import ConvertOptions
from recbole_conrec.data.convert.writing import new_dataset
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.names import nearest


@dataclass(frozen=True)
class Converter:
    """One layout of one data set.

    Attributes:
        run: ``run(options, draft)`` reads the folder ``options.raw`` and writes into the :class:`Draft`.
        description: one line for the command's help.
        options: what a user may set.
    """

    run: Callable[..., None]
    description: str
    options: type[ConvertOptions] = ConvertOptions


def _movielens(run: Callable[..., None], description: str, **fixed: str) -> Converter:
    return Converter(partial(run, **fixed), f"MovieLens-{description}")


def _amazon(year: int, reviews: str) -> Converter:
    run = partial(amazon.convert, year=year)
    return Converter(run, f"Amazon reviews, {year}: {reviews} or ratings", amazon.AmazonOptions)


CONVERTERS = {
    "ml-100k": _movielens(movielens.convert_100k, "100K: u.data, u.item, u.user"),
    "ml-1m": _movielens(
        movielens.convert_dat,
        "1M: ratings.dat, movies.dat, users.dat",
        encoding="latin-1",
        title="movie_title",
        genre="genre",
    ),
    "ml-10m": _movielens(
        movielens.convert_dat, "10M: ratings.dat, movies.dat", encoding="utf-8", title="movie_name", genre="type"
    ),
    "ml-20m": _movielens(movielens.convert_csv, "20M: ratings.csv, movies.csv", title="movie_name", genre="type"),
    "ml-25m": _movielens(movielens.convert_csv, "25M: ratings.csv, movies.csv", title="movie_title", genre="genre"),
    "ml-32m": _movielens(movielens.convert_csv, "32M: ratings.csv, movies.csv", title="movie_title", genre="genre"),
    "movietweetings": Converter(
        movietweetings.convert, "MovieTweetings, every snapshot: ratings.dat, movies.dat; tweets of ratings"
    ),
    "kuairand-pure": Converter(
        kuairand.convert, "KuaiRand-Pure: short videos, is_hate; 7,583 videos", kuairand.KuaiRandOptions
    ),
    "kuairand-1k": Converter(
        kuairand.convert, "KuaiRand-1K: short videos, is_hate; all that 1,000 users saw", kuairand.KuaiRandOptions
    ),
    "kuairand-27k": Converter(
        kuairand.convert, "KuaiRand-27K: short videos, is_hate; 322 million exposures", kuairand.KuaiRandOptions
    ),
    "yambda-50m": Converter(yambda.convert, "Yambda 50M: listens, likes and dislikes of music", yambda.YambdaOptions),
    "yambda-500m": Converter(yambda.convert, "Yambda 500M: ten times the users of 50M", yambda.YambdaOptions),
    "yambda-5b": Converter(yambda.convert, "Yambda 5B: all of it", yambda.YambdaOptions),
    "vk-lsvd": Converter(vk_lsvd.convert, "VK-LSVD or one of its samples: short videos, dislikes, order by weeks"),
    "recif": Converter(recif.convert, "OpenOneRec RecIF-Bench: short videos, not_interested, order instead of time"),
    "amazon-2014": _amazon(2014, "reviews_CATEGORY.json"),
    "amazon-2018": _amazon(2018, "CATEGORY.json"),
    "amazon-2023": _amazon(2023, "CATEGORY.jsonl"),
    "steam": Converter(steam.convert, "Steam, Kaggle's Game Recommendations: is_recommended"),
    "steam-australia": Converter(
        steam.convert_australia, "Steam, McAuley Lab's Australian reviews: recommend", steam.AustraliaOptions
    ),
    "generic": Converter(
        generic.convert, "any CSV, JSON lines or Parquet, by a mapping in YAML", generic.GenericOptions
    ),
}


def convert(name: str, /, **given) -> dict[str, int]:
    """Convert a download.

    Args:
        name: a key of ``CONVERTERS``.
        given: the options of the converter, see its ``options``.

    Returns:
        counts: events, users, items, negatives, positives, repeats (rows equal to an earlier one, dropped), bad rows
        left out ...

    Raises:
        UserError: for an unknown name or option, a missing or malformed file, an existing data set.
    """
    if name not in CONVERTERS:
        raise UserError(f"no converter '{name}'{nearest(name, CONVERTERS)}; there are {', '.join(CONVERTERS)}")
    converter = CONVERTERS[name]
    given = {key.replace("-", "_"): value for key, value in given.items()}  # --skip-bad
    options = converter.options.read(given, f"convert {name}")
    dataset = options.dataset or name
    with new_dataset(options.out, dataset, overwrite=options.overwrite, option="dataset") as folder:
        draft = Draft(folder, dataset, Faults(options.skip_bad))
        converter.run(options, draft)
        draft.finish()
    return draft.summary
