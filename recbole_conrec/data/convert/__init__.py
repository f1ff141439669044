"""Converters from official downloads to RecBole atomic files: ``convert(name, raw, out)``; one file per data set.

Each converter streams: events go through sorted runs on disk (:mod:`.sorting`), so memory does not grow with them. The
data set appears whole or not at all. docs/datasets.md says where each download is and what "negative" means in it.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from recbole_conrec.config import nearest
from recbole_conrec.data.convert import movielens
from recbole_conrec.data.convert.draft import Draft
from recbole_conrec.data.convert.writing import new_dataset
from recbole_conrec.errors import UserError


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
        parameters = list(inspect.signature(self.run).parameters.values())[2:]
        return {p.name: p.default for p in parameters if p.name not in self.fixed}


CONVERTERS = {
    "ml-100k": Converter(movielens.convert_100k, "MovieLens-100K: u.data, u.item, u.user"),
    "ml-1m": Converter(movielens.convert_dat, "MovieLens-1M: ratings.dat, movies.dat, users.dat"),
    "ml-10m": Converter(movielens.convert_dat, "MovieLens-10M: ratings.dat, movies.dat", {"encoding": "utf-8"}),
    "ml-20m": Converter(movielens.convert_csv, "MovieLens-20M: ratings.csv, movies.csv"),
    "ml-25m": Converter(movielens.convert_csv, "MovieLens-25M: ratings.csv, movies.csv"),
    "ml-32m": Converter(movielens.convert_csv, "MovieLens-32M: ratings.csv, movies.csv"),
}


def convert(name: str, raw, out, *, dataset: str | None = None, overwrite: bool = False, **options) -> dict[str, int]:
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
            known = ", ".join(converter.options) or "none"
            raise UserError(f"convert {name}: unknown option '{option}'{nearest(option, converter.options)}; its "
                            f"options: {known}")
    dataset = dataset or name
    with new_dataset(out, dataset, overwrite) as folder:
        draft = Draft(folder, dataset)
        converter.run(Path(raw), draft, **converter.fixed, **options)
    return draft.summary
