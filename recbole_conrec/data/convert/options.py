"""The options that every converter takes; a converter that takes more extends them beside its code."""

import re
from typing import Annotated

from pydantic import AfterValidator

from recbole_conrec.options.schema import Natural, Options, Text


def _names_a_folder(name: str) -> str:
    if not re.fullmatch(r"[\w.+-]+", name) or name.startswith("."):
        raise ValueError(f"{name!r}; expected letters, digits, '-', '_', '.' or '+', and no '.' at the beginning")
    return name


DatasetName = Annotated[Text, AfterValidator(_names_a_folder)]
"""An option that names a new data set."""


class ConvertOptions(Options):
    """What ``recbole-conrec convert`` takes for every data set."""

    raw: Text
    """Folder into which the download was unpacked."""
    out: Text = "dataset"
    """Folder of data sets, in which a folder for the new one is made."""
    dataset: DatasetName | None = None
    """Name of the new data set; null: the converter's name."""
    overwrite: bool = False
    """Replace a data set of that name."""
    skip_bad: Natural = 0
    """Bad rows that may be left out (--skip-bad=N); NAME.bad-rows.csv in the data set lists them."""
