"""What there is, by name: methods, data sets, boards and so on, without importing them.

The names and descriptions of this package, and the options of each subcommand, are in ``catalogue.json``, made by
:mod:`recbole_conrec.catalogue`; those of other packages and of the working folder are looked up.
"""

import functools
import importlib.metadata
import importlib.resources
import json
from pathlib import Path

KINDS = ("models", "datasets", "boards", "tokenizers", "rewards", "metrics")


@functools.cache
def catalogue() -> dict:
    """The content of catalogue.json.

    ``options``: {command: [[name, type, default, text]]}; ``names``: {kind: {name: text}}.
    """
    file = importlib.resources.files("recbole_conrec") / "catalogue.json"
    return json.loads(file.read_text(encoding="utf-8"))


def named(kind: str) -> dict[str, str]:
    """Name -> one line about it, of one of KINDS."""
    found = dict(catalogue()["names"][kind])
    if kind in ("models", "metrics"):
        for entry in importlib.metadata.entry_points(group=f"recbole_conrec.{kind}"):
            found[entry.name] = f"of an installed package: {entry.value}"
    if kind == "datasets":
        for file in sorted(Path("dataset").glob("*/*.inter")):
            if file.stem == file.parent.name:
                found.setdefault(file.stem, f"in {file.parent}/")
    return found
