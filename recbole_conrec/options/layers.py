"""Layers of options: the YAML files of ``properties/`` and how a later layer changes an earlier one.

A mapping in a later layer changes the keys that it names and keeps the others (``split`` and ``feedback`` are replaced
as a whole); a key with dots, such as ``window.length``, reaches into a mapping. ``stages`` is a list of named mappings:
a list replaces it, a mapping changes its entries by name, see :func:`change_named`.
"""

import fnmatch
import importlib.resources
from pathlib import Path

from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import is_there
from recbole_conrec.utils.names import nearest
from recbole_conrec.utils.yaml_files import read_yaml

# Mappings that a later layer replaces as a whole: their keys only make sense together.
WHOLE = {"feedback", "split"}
# The key of a data set's YAML that names another one, whose options come first.
EXTENDS = "extends"
# Lists of mappings with a `name`, which a later layer may change by name.
NAMED = {"stages"}


def properties(kind: str, name: str) -> dict:
    """Our YAML ``properties/<kind>/<name>.yaml``, or {} if there is none."""
    file = importlib.resources.files("recbole_conrec.properties") / kind / f"{name}.yaml"
    return read_yaml(file) if file.is_file() else {}


def dataset_options(name: str, data_path) -> dict:
    """The options of a data set: our YAML, and laid on it the one beside its files (``convert`` and ``simulate`` write
    it).

    A data set's YAML may extend another one of this package: ``extends: amazon``. Raises UserError for an unknown name
    or a circle.
    """
    own = read_yaml(file) if (file := beside(name, data_path)) else {}
    return lay(_extended(properties("dataset", name), (name,)), _extended(own, ()))


def beside(name: str, data_path) -> Path | None:
    """The YAML beside the files of a data set, if it is there."""
    file = Path(data_path) / name / f"{name}.yaml"
    return file if is_there(file) else None


def dataset_keys() -> set[str]:
    """Every option that one of our data sets' YAML files sets."""
    return {key for name in dataset_names() for key in properties("dataset", name)} - {EXTENDS}


def dataset_names() -> list[str]:
    """The names of the data sets that have a YAML here."""
    folder = importlib.resources.files("recbole_conrec.properties") / "dataset"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def _extended(options: dict, chain: tuple[str, ...]) -> dict:
    """A data set's options laid on those of the data set that they extend; ``chain``: what led here."""
    own = {key: value for key, value in options.items() if key != EXTENDS}
    base = options.get(EXTENDS)
    if base is None:
        return own
    known = dataset_names()
    if base not in known:
        raise UserError(f"{EXTENDS}: {base!r} is no data set of properties/dataset{nearest(str(base), known)}")
    if base in chain:
        raise UserError(f"{EXTENDS}: {' -> '.join([*chain, base])} is a circle; remove one `{EXTENDS}`")
    return lay(_extended(properties("dataset", base), (*chain, base)), own)


def overall() -> dict:
    return read_yaml(importlib.resources.files("recbole_conrec.properties") / "overall.yaml")


def merge(base: dict, over: dict) -> dict:
    """``over`` laid on ``base``: nested mappings key by key, named lists by name, anything else replaced."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if key in NAMED and isinstance(value, dict) and isinstance(below, list):
            merged[key] = change_named(below, value, key)
        else:
            merged[key] = merge(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return merged


def change_named(entries: list[dict], changes: dict, option: str) -> list[dict]:
    """A list of mappings, each with a ``name``, with some of them changed.

    Args:
        changes: {name or pattern such as ``grpo-*``: a mapping laid on every entry of that name, or None to leave them
            out}, applied in this order.

    Raises UserError for a name that no entry has, or a change that is no mapping.
    """
    for pattern, change in changes.items():
        names = [str(entry.get("name")) if isinstance(entry, dict) else "" for entry in entries]
        matching = fnmatch.filter(names, str(pattern))
        if not matching:
            raise UserError(
                f"{option}: there is no '{pattern}'{nearest(str(pattern), names)}; there are {', '.join(names)}"
            )
        if not isinstance(change, dict | None):
            raise UserError(f"{option}.{pattern}: {change!r} must be a mapping of what changes, or null (left out)")
        entries = [
            merge(entry, change or {}) if name in matching else entry
            for entry, name in zip(entries, names, strict=True)
            if change is not None or name not in matching
        ]
    return entries


def lay(base: dict, over: dict) -> dict:
    """A layer of options on the ones below; keys with dots reach into mappings, and come last."""
    for key in sorted(over, key=lambda name: "." in name):
        first, *rest = key.split(".")
        value = over[key]
        for part in reversed(rest):
            value = {part: value}
        whole = first in WHOLE and not rest
        base = {**base, first: value} if whole else merge(base, {first: value})
    return base
