"""The reference page of all options, from their models: ``python -m recbole_conrec.reference > docs/options.md``."""

import importlib.resources
import inspect
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from recbole_conrec import registry
from recbole_conrec.data.convert import CONVERTERS
from recbole_conrec.data.convert.options import ConvertOptions
from recbole_conrec.generative.staged_recommender import StagedRecommender
from recbole_conrec.options.layers import overall, properties
from recbole_conrec.options.schema import Options, describe
from recbole_conrec.runs.checks import FLAT
from recbole_conrec.tokenizer.encoders import ENCODERS
from recbole_conrec.utils.names import load

HEAD = """\
# All options

This page is made from the typed options in the code by `python -m recbole_conrec.reference > docs/options.md`; a test
keeps it up to date.

An option is given as `--NAME=VALUE`, in a YAML file (`--config_files=FILE`) or in a dict. Dots reach into mappings
(`--window.length=3`), and stages are changed by name (`--stages.grpo-1.beta=0.1`). The defaults below are those of the
code and of `properties/overall.yaml`, which agree. `properties/dataset/NAME.yaml` changes some of them for a data set,
and `properties/model/NAME.yaml` for a method: see there. An option that is not listed here is passed on to RecBole if
it or its model knows it, and refused otherwise.
"""
METHODS = """\
The options that several methods have in common come first, then each method. A model of RecBole takes the options that
RecBole documents; of these models only the defaults that differ from RecBole's are listed.
"""
TABLE = ("| option | value | default | |", "| --- | --- | --- | --- |")
ELSEWHERE = {"tokenizer": "see [`tokenizer`](#tokenizer-semantic-ids)"}
"""Mappings with a section of their own."""

RUN = (
    ("Where to run", "recbole_conrec.runs.options:PlaceOptions", ""),
    ("The protocol: instances, truth and candidates", "recbole_conrec.data.protocol:Protocol", ""),
    ("What a method sees of the data", "recbole_conrec.data.protocol:DataOptions", ""),
    ("How files are read", "recbole_conrec.data.loading:FileOptions", ""),
    ("What is measured", "recbole_conrec.runs.options:EvaluationOptions", ""),
    (
        "RecBole's training loop (not read by methods that are trained in stages)",
        "recbole_conrec.runs.options:LoopOptions",
        "",
    ),
    ("Histories of RecBole's sequential models", "recbole_conrec.runs.options:HistoryOptions", ""),
    ("`tokenizer`: semantic IDs", "recbole_conrec.tokenizer.options:TokenizerOptions", "tokenizer."),
)
COMMANDS = (
    ("--leaderboard=NAME", "recbole_conrec.leaderboard.commands:LeaderboardOptions"),
    ("--slurm=FILE.yaml", "recbole_conrec.cluster.on_slurm:SlurmOptions"),
    ("compare", "recbole_conrec.leaderboard.commands:CompareOptions"),
    ("publish", "recbole_conrec.leaderboard.commands:PublishOptions"),
    ("tune", "recbole_conrec.study.tuning:TuneOptions"),
    ("explain", "recbole_conrec.study.explain:ExplainOptions"),
    ("tokenize", "recbole_conrec.tokenizer.report:TokenizeOptions"),
    ("inspect", "recbole_conrec.data.inspection.report:InspectOptions"),
    ("study coverage", "recbole_conrec.study.coverage:CoverageOptions"),
    ("study metrics", "recbole_conrec.study.metrics:MetricsOptions"),
    ("study filter", "recbole_conrec.study.filter:FilterStudyOptions"),
    ("predict", "recbole_conrec.filtering.predict_command:PredictOptions"),
    ("filter", "recbole_conrec.filtering.filter_command:FilterOptions"),
    ("push", "recbole_conrec.runs.hub:PushOptions"),
    ("pull", "recbole_conrec.runs.hub:PullOptions"),
    ("simulate", "recbole_conrec.data.simulation.simulate:SimulateOptions"),
)


def page() -> str:
    """The page, Markdown."""
    parts = [HEAD, "## A run\n", *(_section(title, load(path), prefix) for title, path, prefix in RUN)]
    for name, encoder in ENCODERS.items():
        parts.append(_section(f"`tokenizer.encoder`: an entry `{{name: {name}, ...}}`", encoder.Options))
    parts += ["## Methods\n", METHODS, *_shared(), *_methods()]
    parts += ["## A board's YAML\n", _section("Keys", load("recbole_conrec.leaderboard.board_options:BoardOptions"))]
    parts += ["## Commands\n", *(_section(f"`{title}`", load(path)) for title, path in COMMANDS)]
    return "\n".join([*parts, *_converters()])


def _converters() -> Iterator[str]:
    """The options of all converters, and then what some have besides."""
    names: dict[type[Options], list[str]] = {}
    for name, converter in CONVERTERS.items():
        names.setdefault(converter.options, []).append(name)
    yield _section("`convert`", ConvertOptions)
    for options, those in names.items():
        if more := set(options.model_fields) - set(ConvertOptions.model_fields):
            yield _section(f"`convert` {', '.join(those)}", options, only=more)


# -- methods ---------------------------------------------------------------------------------------------------------
def _options_of() -> dict[str, type[Options]]:
    """Method -> its options, of the methods that have some."""
    models = {name: load(path) for name, path in registry.MODELS.items() if "-" not in name}
    return {name: model.OPTIONS for name, model in models.items() if hasattr(model, "OPTIONS")}


def _shared() -> Iterator[str]:
    """The tables of the options that several methods, or stages, have in common: each class once."""
    used: dict[type[Options], set[str]] = {}
    for name, options in _options_of().items():
        for kind in _classes(options):
            used.setdefault(kind, set()).add(name)
    stages = {kind for _, options in _stages() for kind in _classes(options)}
    for kind in [kind for kind, names in used.items() if len(names) > 1]:
        yield _section(_title(kind), kind, only=_own(kind))
    for kind in sorted(stages, key=lambda kind: (len(kind.__mro__), kind.__name__)):
        yield _section(_title(kind), kind, only=_own(kind))


def _methods() -> Iterator[str]:
    own = _options_of()
    shared = {kind for kinds in map(_classes, own.values()) for kind in kinds}
    shared = {kind for kind in shared if sum(kind in _classes(one) for one in own.values()) > 1}
    names = dict.fromkeys([*registry.MODELS, *(Path(file.name).stem for file in sorted(_yaml_files(), key=str))])
    for name in sorted(names, key=str.lower):
        model: Any = registry.find_model(name)
        options, given = getattr(model, "OPTIONS", None), properties("model", name)
        changed = _changed(given, options)
        if not options and not changed:
            continue
        yield f"### `{name}`\n"
        kinds = _classes(options) if options else []
        if linked := [kind for kind in kinds if kind in shared]:
            yield f"It has the {_links(linked)}.\n"
        if options and (alone := [kind for kind in kinds if kind not in shared]):
            fields = {field for kind in alone for field in _own(kind)}
            yield "\n".join([*TABLE, *_rows(options, "", fields, given), ""])
        if issubclass(model, StagedRecommender):
            yield "\n".join(["| task of a stage | algorithm | its options |", "| --- | --- | --- |"])
            for task, entry in model.TASKS.items():
                yield f"| `{task}` | {entry.algorithm} | {_links(_classes(entry.options), '')} |"
            yield ""
        if changed:
            yield "Its defaults where they differ from the tables:\n"
            yield "\n".join(["```yaml", *_lines(changed), "```", ""])


def _stages() -> Iterator[tuple[str, type[Options]]]:
    models: dict[str, Any] = {name: load(path) for name, path in registry.MODELS.items()}
    for name, model in models.items():
        if "-" not in name and issubclass(model, StagedRecommender):
            yield from ((f"{name} {task}", entry.options) for task, entry in model.TASKS.items())


def _changed(given: dict, options: type[Options] | None) -> dict:
    """What a method's YAML sets to something else than `properties/overall.yaml` and the tables."""
    defaults: dict[str, Any] = {
        field: info.get_default(call_default_factory=True)
        for kind in (*FLAT, *([options] if options else []))
        for field, info in kind.model_fields.items()
        if not info.is_required()
    }
    base = {**defaults, **overall()}
    return {
        key: _difference(value, base[key]) if key in base else value
        for key, value in given.items()
        if key not in base or _difference(value, base[key]) is not None
    }


def _difference(value: Any, base: Any) -> Any:
    """What of a value is not so in the base; None: nothing."""
    base = base.model_dump() if isinstance(base, Options) else list(base) if isinstance(base, tuple) else base
    if isinstance(value, dict) and isinstance(base, dict):
        found = {key: _difference(one, base.get(key)) for key, one in value.items()}
        return {key: value[key] if one is None else one for key, one in found.items() if one is not None} or None
    return None if value == base else value


def _lines(options: dict) -> Iterator[str]:
    """A mapping as YAML, an option a line, and a stage a line."""
    for key, value in options.items():
        entries = value if key == "stages" else ()
        yield f"{key}:" if entries else f"{key}: {_flow(value)}"
        yield from (f"  - {_flow(entry)}" for entry in entries)


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, sort_keys=False, width=float("inf"), default_flow_style=True, allow_unicode=True)
    return text.removesuffix("...\n").rstrip("\n")


def _yaml_files():
    folder = importlib.resources.files("recbole_conrec.properties") / "model"
    return [file for file in folder.iterdir() if file.name.endswith(".yaml")]


# -- tables ----------------------------------------------------------------------------------------------------------
def _classes(options: type[Options]) -> list[type[Options]]:
    """The classes, from the most general one on, that give a class of options a field."""
    return [
        kind for kind in reversed(options.__mro__) if kind is not Options and issubclass(kind, Options) and _own(kind)
    ]


def _own(kind: type[Options]) -> set[str]:
    """The fields that a class of options defines itself."""
    return set(kind.model_fields) & set(inspect.get_annotations(kind))


def _title(kind: type[Options]) -> str:
    """The first sentence of a class's docstring, as a heading."""
    return (
        " ".join((kind.__doc__ or kind.__name__).split()).split(". ")[0].split(";")[0].rstrip(".:").replace("``", "`")
    )


def _links(kinds: list[type[Options]], word: str = "") -> str:
    titles = [_title(kind) for kind in kinds]
    linked = [f"[{title[:1].lower() + title[1:]}](#{_anchor(title)})" for title in titles]
    return word + (", ".join(linked[:-1]) + " and " + linked[-1] if len(linked) > 1 else linked[0])


def _anchor(title: str) -> str:
    """What GitHub and Python-Markdown make of a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")


def _section(title: str, model: type[Options], prefix: str = "", only: set[str] | None = None) -> str:
    """A heading, and the options of a model as a table; the options of nested models follow with dots."""
    return "\n".join([f"### {title}\n", *TABLE, *_rows(model, prefix, only), ""])


def _rows(model: type[Options], prefix: str, only: set[str] | None = None, given: dict | None = None) -> Iterator[str]:
    """``only``: the fields to show. ``given``: values that a YAML file sets in place of the defaults."""
    for name, *others in cells(model, prefix, only, given):
        yield "| " + " | ".join(map(_cell, (f"`{name}`", *others))) + " |"


def cells(
    model: type[Options], prefix: str = "", only: set[str] | None = None, given: dict | None = None
) -> Iterator[tuple[str, str, str, str]]:
    """(name, type, default, text) of each option; see :func:`_rows`. Those of a nested mapping follow, with dots."""
    for name, field in model.model_fields.items():
        if only is not None and name not in only:
            continue
        nested = _nested(field.annotation)
        value = "a mapping" if nested and nested is field.annotation else describe(field.annotation, field.metadata)
        default = "required" if field.is_required() else _default(field.get_default(call_default_factory=True))
        default = _default(given[name]) if given and name in given else default
        if nested and name in ELSEWHERE and not prefix:
            default, nested = ELSEWHERE[name], None
        yield f"{prefix}{name}", value, default, " ".join((field.description or "").split())
        if nested:
            yield from cells(nested, f"{prefix}{name}.")


def _nested(annotation: Any) -> type[Options] | None:
    """The Options that a value may be as a whole (not those inside a list)."""
    if inspect.isclass(annotation) and issubclass(annotation, Options):
        return annotation
    if typing.get_origin(annotation) in (list, tuple, dict):
        return None
    return next((found for one in typing.get_args(annotation) if (found := _nested(one))), None)


def _default(value: Any) -> str:
    if isinstance(value, Options):
        return "see below"
    if isinstance(value, tuple | list):
        return f"`[{', '.join(str(one) if not isinstance(one, Options) else one.__class__.__name__ for one in value)}]`"
    text = {None: "null", True: "true", False: "false"}.get(value, value) if isinstance(value, bool | None) else value
    return f"`{text}`" if str(text).strip() else f"`{text!r}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(page(), end="")
