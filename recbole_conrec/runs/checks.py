"""Options checked before anything is read or trained: their names, whether the method reads them, their values."""

import importlib.resources
import math
from collections.abc import Iterable, Mapping
from functools import cache, reduce
from pathlib import Path
from typing import Any

import recbole
from recbole.utils.argument_list import (
    dataset_arguments,
    evaluation_arguments,
    general_arguments,
    training_arguments,
)

from recbole_conrec import registry, tokenizer
from recbole_conrec.data.loading import FileOptions
from recbole_conrec.data.protocol import DataOptions, Protocol
from recbole_conrec.options.layers import EXTENDS, beside, dataset_keys, dataset_names, merge, overall, properties
from recbole_conrec.options.schema import Options
from recbole_conrec.runs.options import (
    NOT_HONOURED,
    ChoiceOptions,
    EvaluationOptions,
    HistoryOptions,
    LoopOptions,
    PlaceOptions,
)
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import is_there
from recbole_conrec.utils.names import nearest
from recbole_conrec.utils.yaml_files import read_yaml

FLAT: tuple[type[Options], ...] = (
    PlaceOptions,
    Protocol,
    DataOptions,
    FileOptions,
    EvaluationOptions,
    LoopOptions,
    HistoryOptions,
)
"""Models of options that are no mapping of their own."""


# -- names -----------------------------------------------------------------------------------------------------------
def known_options(model_class: type, defaults: dict) -> set[str]:
    """The names of all options that a run of this model can be given. ``defaults``: its YAML files, merged."""
    own = getattr(model_class, "OPTIONS", None)
    recbole_lists = {*general_arguments, *training_arguments, *evaluation_arguments, *dataset_arguments}
    return {
        *defaults,
        *overall(),
        *dataset_keys(),
        *recbole_lists,
        *recbole_defaults(model_class.__name__),
        *(name for model in FLAT for name in model.model_fields),
        *(own.model_fields if own else ()),
    }


def unread(model_class: type) -> dict[str, str]:
    """The common options that this model does not read -> what it reads instead, '' for nothing."""
    return {**NOT_HONOURED, **getattr(model_class, "UNREAD", {})}


def read_by(model: str | type, options: dict) -> dict:
    """Those of ``options`` (dotted keys allowed) that a model, by name or class, reads."""
    model_class = registry.find_model(model) if isinstance(model, str) else model
    name = model if isinstance(model, str) else model_class.__name__
    known = known_options(model_class, properties("model", name)) - set(unread(model_class))
    return {key: value for key, value in options.items() if key.partition(".")[0] in known}


def check_names(
    given: Iterable[str], known: set[str], not_read: Mapping[str, str], method: str, also: Iterable[str] = ()
) -> None:
    """Raise UserError for an unknown option, or one that this method does not read, naming what it reads instead.

    Args:
        also: more names that an unknown one may be near to.
    """
    readable = known - set(not_read)
    for key in given:
        if key == "stages" and key not in readable:
            raise UserError(
                f"option 'stages': {method} has no stages; leave it out, or take a method that is trained in stages"
            )
        if key in not_read or (key not in known and key in _options_of_methods()):
            instead = f"; set {not_read[key]}" if not_read.get(key) else nearest(key, readable)
            raise UserError(f"option '{key}': {method} does not read it{instead}")
        if key not in known:
            raise UserError(f"unknown option '{key}'{nearest(key, [*also, *readable])}")


def check_names_beside(dataset: str, data_path: str, known: set[str]) -> None:
    """Raise UserError for an option in the YAML beside a data set's files that no method reads."""
    file = beside(dataset, data_path)
    readable = known | _options_of_methods() | {EXTENDS}
    for key in read_yaml(file) if file else ():
        if key.partition(".")[0] not in readable:
            raise UserError(f"{file}: unknown option '{key}'{nearest(key, readable)}")


@cache
def _options_of_methods() -> frozenset[str]:
    """The options that the YAML of any method sets."""
    folder = importlib.resources.files("recbole_conrec.properties") / "model"
    return frozenset(key for file in folder.iterdir() if file.name.endswith(".yaml") for key in read_yaml(file))


@cache
def recbole_defaults(model: str) -> dict:
    """RecBole's own YAML for a model class of this name."""
    folder = Path(recbole.__file__).parent / "properties"
    files = (folder / "overall.yaml", folder / "dataset" / "sample.yaml", folder / "model" / f"{model}.yaml")
    return reduce(merge, [read_yaml(file) for file in files if file.is_file()], {})


# -- data -----------------------------------------------------------------------------------------------------------
def check_data(config: Any) -> None:
    """Raise UserError if the data set of a Config has no events, naming the nearest data sets that have."""
    folder, name = Path(PlaceOptions.of(config).data_path), ChoiceOptions.of(config).dataset
    file = folder / f"{name}.inter"
    if not is_there(file):
        there = [other.parent.name for other in folder.parent.glob("*/*.inter") if other.parent != folder]
        raise UserError(
            f"{file}: there is no such file{nearest(name, [*there, *dataset_names()])}; set `data_path` to the folder "
            f"that holds the folder '{name}', or convert the data set first"
        )


# -- values ----------------------------------------------------------------------------------------------------------
def check_values(given: dict, merged: dict, model_class: type, defaults: dict) -> None:
    """Raise UserError for a value that its option cannot take.

    Args:
        given: the user's options. merged: all of the run's. defaults: the YAML files' alone.
    """
    for model in FLAT:
        model.of(merged)
    whole = merged.get("loss_type") == "CE" and getattr(model_class, "input_type", None) is None
    if whole and merged.get("train_neg_sample_args"):
        raise UserError(
            "train_neg_sample_args: loss_type CE compares with all items and samples none; leave it out, or set "
            "loss_type: BPR"
        )
    tokenizer.parse(merged.get("tokenizer"))
    own = getattr(model_class, "OPTIONS", None)
    if hasattr(model_class, "read_options"):
        model_class.read_options(merged)
    elif own:
        own.of(merged)
    typed = {name for model in (*FLAT, *([own] if own else [])) for name in model.model_fields}
    _check_like_defaults(given, merged, {**recbole_defaults(model_class.__name__), **defaults}, typed)


CHOICES: Mapping[str, tuple[str, ...]] = {
    "loss_type": ("CE", "BPR"),
    "hidden_act": ("gelu", "relu", "swish", "tanh", "sigmoid"),
}
"""Options of RecBole's models that are names."""


def _check_like_defaults(given: dict, merged: dict, defaults: dict, typed: set[str]) -> None:
    """RecBole's other options have no types but their defaults': a number stays a finite number."""
    for key in given:
        value, default = merged.get(key), defaults.get(key)
        if key in CHOICES and key not in typed and value not in CHOICES[key]:
            hint = nearest(str(value), CHOICES[key])
            raise UserError(f"{key}: {value!r}; expected one of {', '.join(CHOICES[key])}{hint}")
        if key in typed or isinstance(default, bool) or not isinstance(default, int | float) or value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise UserError(f"{key}: {value!r}; expected a number, such as {default}")
        if isinstance(default, int) and default > 0 and not (isinstance(value, int) and value > 0):
            raise UserError(f"{key}: {value!r}; expected a whole number of at least 1, such as {default}")
        if "dropout" in key and not 0 <= value < 1:
            raise UserError(f"{key}: {value!r}; expected a number of at least 0 and below 1, such as {default}")
