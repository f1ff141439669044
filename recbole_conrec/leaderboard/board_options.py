"""The YAML of a leaderboard: its keys, and how one extends another."""

import importlib.resources
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from recbole_conrec.cluster.resources import Resources
from recbole_conrec.evaluation.beyond import BEYOND
from recbole_conrec.evaluation.contrast import CONTRAST
from recbole_conrec.evaluation.registry import entry_points, find_metric, own_metrics
from recbole_conrec.generative.candidate_scores import SCORINGS
from recbole_conrec.options.schema import Count, Natural, NonNegative, Options, Seed, Several, Text
from recbole_conrec.registry import spelling
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.names import nearest
from recbole_conrec.utils.yaml_files import read_yaml

FIRST_SEED = 2020  # RecBole's default


def _each_once(values: Any) -> Any:
    if isinstance(values, tuple) and (twice := [value for value, times in Counter(values).items() if times > 1]):
        raise ValueError(f"{twice[0]} is given twice")
    return values


Once = AfterValidator(_each_once)
Seeds = Annotated[Count | Annotated[Several[Seed], Field(min_length=1)], Once]


class Method(Options):
    """An entry of a leaderboard: a model and the options in which it differs from the model's defaults."""

    name: Text
    """As it is printed."""
    model: Annotated[Text, AfterValidator(spelling)] = ""
    """Name of the model, as for ``--model``; default: the method's name."""
    model_class: Text | None = None
    """Dotted path ``package.module:Class`` of a model from outside."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of its runs, above those of the board."""
    seeds: Count | None = None
    """How many of the board's seeds it runs with, the first ones; null: all, and 1 where ``deterministic``."""
    group: Literal["references"] | None = None
    """references: printed below a line of their own, and neither ranked nor counted by ``improvement``."""
    deterministic: bool = False
    """Whether every seed gives the same figures: one run then serves for all seeds, without variance over them."""
    search: Natural | None = None
    """Settings that were tried for it on validation; null: 3 for a model with an entry in properties/search.yaml, else
    0."""
    space: Text | dict[str, Any] | None = None
    """What ``--tune`` searches of its options, a mapping or a file; null: its model's in properties/search.yaml."""
    minutes: NonNegative | None = None
    """A guess of one run's time, until there are records; minutes."""
    resources: Resources = Resources()
    """What one run takes of a machine, see docs/scale.md."""
    launch: Text | None = None
    """What starts a run in place of ``python``, such as ``accelerate launch --num_processes=4``."""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, given: Any) -> Any:
        given = {"name": given} if isinstance(given, str) else given
        if not isinstance(given, dict) or "name" not in given:
            return given
        once = {"seeds": 1} if given.get("deterministic") is True else {}
        return {"model": given["name"], **once, **given}

    @property
    def overrides(self) -> dict[str, Any]:
        """Its options, with the class of its model where it has one of its own."""
        return {**self.options, **({"model_class": self.model_class} if self.model_class else {})}


class BoardOptions(Options):
    """The keys of a leaderboard's YAML."""

    RENAMED: ClassVar[dict[str, str]] = {"rows": "methods"}

    title: Text | None = None
    """Printed above the tables; default: the file's name."""
    extends: Text | None = None
    """A board, by name or path: methods are added to its methods, any other key replaces its key."""
    datasets: Annotated[Several[Text], Once] = ()
    """Data sets, one table each; at least one."""
    seeds: Seeds | None = None
    """Seeds of the runs: a list, or how many, counted on from 2020. null: 2020 alone."""
    metrics: Annotated[Several[str], Once] | None = None
    """The columns: metrics by name or dotted path, a variant such as CandAcc.beam, or a figure of all lists such as
    ItemCoverage; null: those of overall.yaml."""
    topk: Annotated[Count | Annotated[Several[Count], Field(min_length=1)] | None, Once] = None
    """The values of K that are printed; null: the largest of overall.yaml. Runs measure those of overall.yaml, too."""
    options: dict[str, Any] | None = None
    """Options of the runs of every method that reads them, below a method's own."""
    improvement: Text | None = None
    """The method whose improvement over the best other one is the last line."""
    compare_references: bool = False
    """Whether references are ranked, tested and counted by ``improvement`` as the other methods are."""
    methods: Annotated[Several[Method], BeforeValidator(lambda given: () if given is None else given)] = ()
    """Entries of the board: names of models, or mappings; at least one."""


def read_board_options(name: str) -> BoardOptions:
    """One of our boards by name (properties/leaderboard/), or one by the path of its YAML, with all that it extends.

    Raises UserError for a mistake in a file, or a board without data sets or methods.
    """
    board = _read(name, ())
    for key in ("datasets", "methods"):
        if not getattr(board, key):
            raise UserError(f"{name}: {key} is needed; expected a list of at least one")
    names = [method.name for method in board.methods]
    if twice := [method for method, times in Counter(names).items() if times > 1]:
        raise UserError(f"{name}: two methods are called '{twice[0]}'; give each its own name")
    if board.improvement and board.improvement not in names:
        raise UserError(
            f"{name}: improvement: there is no method '{board.improvement}'{nearest(board.improvement, names)}"
        )
    check_metrics(board.metrics or (), name)
    return board


def check_metrics(metrics: Sequence[str], where: str) -> None:
    """Raise UserError for a column that no run measures."""
    known = [*own_metrics(), *entry_points(), *BEYOND]
    scored = [name for name, metric in own_metrics().items() if metric.needs == ("scores",)]
    known += [f"{name}.{scoring}" for name in scored for scoring in (*SCORINGS, CONTRAST)]
    for name in metrics:
        if name not in known and (":" not in name or find_metric(name) is None):
            raise UserError(
                f"{where}: metrics: '{name}' is unknown{nearest(name, known)}; give some of {', '.join(known)}, or the "
                "dotted path 'package.module:Class' of a metric"
            )


def users_metrics(metrics: Iterable[str]) -> list[str]:
    """Those of a board's metrics that are not ours, which its runs have to be asked for."""
    return [name for name in metrics if ":" in name or (name not in own_metrics() and name in entry_points())]


def _read(name: str, extended_by: tuple[str, ...]) -> BoardOptions:
    content = _content(name)
    try:
        board = BoardOptions.read(content)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    if board.extends is None:
        return board
    chain = (*extended_by, name)
    if board.extends in chain:
        raise UserError(f"{name}: extends: {' -> '.join([*chain, board.extends])} has no end")
    below = _read(board.extends, chain)
    own = {key: getattr(board, key) for key in board.model_fields_set}
    return below.model_copy(update={**own, "methods": (*below.methods, *board.methods)})


def _content(name: str) -> dict:
    if name.endswith((".yaml", ".yml")):
        return read_yaml(name)
    folder = importlib.resources.files("recbole_conrec.properties") / "leaderboard"
    known = [file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml")]
    if name not in known:
        raise UserError(
            f"leaderboard: unknown board '{name}'{nearest(name, known)}; there are {', '.join(sorted(known))}, or give "
            "the path of a YAML"
        )
    return read_yaml(folder / f"{name}.yaml")
