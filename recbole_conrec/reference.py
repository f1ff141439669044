"""The reference page of all options, from their models: ``python -m recbole_conrec.reference > docs/options.md``."""

import inspect
import typing
from collections.abc import Iterator
from typing import Any

from recbole_conrec import registry
from recbole_conrec.data.convert import CONVERTERS
from recbole_conrec.generative.recommender import StagedRecommender
from recbole_conrec.options.schema import Options, describe
from recbole_conrec.tokenizer.encoders import ENCODERS
from recbole_conrec.utils.names import load

HEAD = """\
# All options

This page is made from the typed options in the code by `python -m recbole_conrec.reference > docs/options.md`; a test
keeps it up to date.

An option is given as `--NAME=VALUE`, in a YAML file (`--config_files=FILE`) or in a dict. Dots reach into mappings
(`--window.length=3`), and stages are changed by name (`--stages.grpo-1.beta=0.1`). The defaults below are those of the
code; `properties/overall.yaml`, `properties/model/NAME.yaml` and `properties/dataset/NAME.yaml` change some of them for
a run. An option that is not listed here is passed on to RecBole if it or its model knows it, and refused otherwise.
"""

RUN = (
    ("Where to run", "recbole_conrec.runs.options:PlaceOptions"),
    ("The protocol: instances, truth and candidates", "recbole_conrec.data.protocol:Protocol"),
    ("What a method sees of the data", "recbole_conrec.data.protocol:DataOptions"),
    ("How files are read", "recbole_conrec.data.loading:FileOptions"),
    ("What is measured", "recbole_conrec.runs.options:EvaluationOptions"),
    (
        "RecBole's training loop (not read by methods that are trained in stages)",
        "recbole_conrec.runs.options:LoopOptions",
    ),
    ("Histories of RecBole's sequential models", "recbole_conrec.runs.options:HistoryOptions"),
    ("`tokenizer`: semantic IDs", "recbole_conrec.tokenizer.options:TokenizerOptions"),
)
COMMANDS = (
    ("--leaderboard=NAME", "recbole_conrec.leaderboard.commands:LeaderboardOptions"),
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
    ("simulate", "recbole_conrec.data.simulation.simulate:SimulateOptions"),
)


def page() -> str:
    """The page, Markdown."""
    parts = [HEAD, "## A run\n", *(_section(title, load(path)) for title, path in RUN)]
    parts += [_section(f"`tokenizer.encoder`: `{name}`", encoder.Options) for name, encoder in ENCODERS.items()]
    parts += ["## Methods\n", *_methods()]
    parts += ["## A board's YAML\n", _section("Keys", load("recbole_conrec.leaderboard.board_options:BoardOptions"))]
    parts += ["## Commands\n", *(_section(f"`{title}`", load(path)) for title, path in COMMANDS)]
    seen: dict[type[Options], list[str]] = {}
    for name, converter in CONVERTERS.items():
        seen.setdefault(converter.options, []).append(name)
    parts += [_section(f"`convert` {', '.join(names)}", options) for options, names in seen.items()]
    return "\n".join(parts)


def _methods() -> Iterator[str]:
    for name, path in registry.MODELS.items():
        model: Any = load(path)
        if "-" in name or not hasattr(model, "OPTIONS"):
            continue
        yield _section(f"`{name}`", model.OPTIONS)
        if issubclass(model, StagedRecommender):
            for task, entry in model.TASKS.items():
                title = f"`{name}`: stages of the task `{task}` (algorithm {entry.algorithm})"
                yield _section(title, entry.options, skip=("name", "task"))


def _section(title: str, model: type[Options], skip: tuple[str, ...] = ()) -> str:
    """A heading, and the options of a model as a table; the options of nested models follow with dots."""
    lines = [f"### {title}\n", "| option | value | default | |", "| --- | --- | --- | --- |"]
    return "\n".join([*lines, *_rows(model, "", skip), ""])


def _rows(model: type[Options], prefix: str, skip: tuple[str, ...] = ()) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if name in skip:
            continue
        nested = _nested(field.annotation)
        value = "a mapping" if nested and nested is field.annotation else describe(field.annotation, field.metadata)
        default = "required" if field.is_required() else _default(field.get_default(call_default_factory=True))
        text = " ".join((field.description or "").split())
        yield "| " + " | ".join(_cell(cell) for cell in (f"`{prefix}{name}`", value, default, text)) + " |"
        if nested:
            yield from _rows(nested, f"{prefix}{name}.")


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
