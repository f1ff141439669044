"""A leaderboard: methods, data sets and seeds, and the runs that follow from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from recbole.config import Config

from recbole_conrec import registry
from recbole_conrec.evaluation.beyond import BEYOND
from recbole_conrec.evaluation.registry import columns, find_metric
from recbole_conrec.leaderboard.board_options import (
    FIRST_SEED,
    Method,
    check_metrics,
    read_board_options,
    users_metrics,
)
from recbole_conrec.options.layers import WHOLE, merge, overall
from recbole_conrec.runs import records
from recbole_conrec.runs.checks import read_by
from recbole_conrec.runs.config import make_config
from recbole_conrec.runs.identity import folder_of, identify
from recbole_conrec.runs.options import ChoiceOptions, EvaluationOptions
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.names import nearest


@dataclass(frozen=True, eq=False)
class PlannedRun:
    """One run of a board: a method on a data set with a seed.

    Attributes:
        options: those that differ from the model's defaults, the seed included.
        unavailable: why the model cannot be found; '' if it can.
        published: records of files, by identity, used where the folder has none.
    """

    method: Method
    dataset: str
    seed: int
    options: dict[str, Any]
    unavailable: str = ""
    published: Mapping[str, records.Record] = field(default_factory=dict, repr=False)

    @cached_property
    def config(self) -> Config:
        """The RecBole Config. Raises UserError naming the method."""
        try:
            return make_config(self.method.model, self.dataset, options=self.options)
        except UserError as error:
            raise UserError(f"method '{self.method.name}': {error}") from None

    @cached_property
    def identity(self) -> str:
        """What its record is identified by, see :func:`recbole_conrec.runs.identity.identify`."""
        return identify(self.config, ChoiceOptions.of(self.config).network)

    @cached_property
    def folder(self) -> Path:
        """The folder of the run."""
        return folder_of(self.config, self.identity)

    def read(self) -> tuple[records.Record | None, str]:
        """Its record, as :func:`recbole_conrec.runs.records.read`; without one in the folder a published one."""
        record, why = records.read(self.folder, self.identity)
        if record is None and self.identity in self.published:
            return self.published[self.identity], ""
        return record, why

    def __str__(self) -> str:
        return f"{self.method.name} on {self.dataset}, seed {self.seed}"


@dataclass(frozen=True)
class Board:
    """A leaderboard; docs/leaderboard.md has the keys of its YAML.

    Attributes:
        metrics: names of its columns' metrics, see :func:`recbole_conrec.leaderboard.board_options.check_metrics`.
        methods: each with its own options above those of the board that it reads.
        improvement: the method that the last line compares with the best other one.
        compare_references: whether references are ranked and tested as the other methods are.
        topk: the values of K that are printed.
        options: what every run measures, so that boards with other columns share its records: ``topk``, with the
            default values and those of the board, and ``metrics`` if the user has added some.
        strongest: options of the command line, above a method's own, for every method that reads them.
        published: records of files, see :class:`PlannedRun`.
        tuned: by data set and name of a method, the options that a search found for it there, above all others.
    """

    name: str
    title: str
    datasets: tuple[str, ...]
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    topk: tuple[int, ...]
    methods: tuple[Method, ...]
    options: dict[str, Any]
    improvement: str | None
    compare_references: bool
    strongest: dict[str, Any]
    published: Mapping[str, records.Record] = field(default_factory=dict, repr=False)
    tuned: Mapping[tuple[str, str], dict[str, Any]] = field(default_factory=dict, repr=False)

    @property
    def columns(self) -> list[str]:
        """['HR@20', ..., 'CandAcc']: the metrics at every K."""
        # a variant such as CandAcc.beam is no metric of its own
        single = [name for name in self.metrics if not find_metric(name) and name not in BEYOND]
        by_metric = [[name] if name in single else columns([name], self.topk) for name in self.metrics]
        return [column for names in by_metric for column in names]

    @cached_property
    def runs(self) -> list[PlannedRun]:
        """All runs of the board, seed by seed, so that a table of all methods is complete early."""
        above = shared(self.strongest, self.methods)
        options = {m.name: combine(self.options, m.overrides, above[m.name]) for m in self.methods}
        missing = {method.name: _unavailable(method) for method in self.methods}
        return [
            PlannedRun(
                method,
                dataset,
                seed,
                combine(options[method.name], self.tuned.get((dataset, method.name), {}), {"seed": seed}),
                missing[method.name],
                self.published,
            )
            for dataset in self.datasets
            for place, seed in enumerate(self.seeds)
            for method in self.methods
            if method.seeds is None or place < method.seeds
        ]

    def narrow(
        self,
        *,
        methods: Sequence[str] = (),
        seeds: int | Sequence[int] = (),
        datasets: Sequence[str] = (),
        **strongest: Any,
    ) -> "Board":
        """The part of the board that the command line asks for.

        Args:
            methods: names of methods; (): all.
            seeds: a list, or how many of the board's; (): all.
            datasets: in place of the board's; (): the board's.
            strongest: options above all others; ``metrics`` and ``topk`` choose the columns that are printed.

        Raises UserError for an unknown method or metric.
        """
        known = {method.name: method for method in self.methods}
        for name in methods:
            if name not in known:
                raise UserError(
                    f"methods: '{name}' is no method of '{self.name}'{nearest(name, known)}; it has {', '.join(known)}"
                )
        metrics = strongest.pop("metrics", None) or self.metrics
        metrics = (metrics,) if isinstance(metrics, str) else tuple(metrics)
        check_metrics(metrics, self.name)
        topk = EvaluationOptions.of({"topk": strongest.pop("topk", self.topk)}).topk
        return replace(
            self,
            methods=tuple(known[name] for name in known if not methods or name in methods),
            seeds=counted(seeds, self.seeds) if seeds else self.seeds,
            datasets=tuple(datasets) or self.datasets,
            metrics=metrics,
            topk=topk,
            options={**self.options, **_measured(metrics, topk)},
            strongest=combine(self.strongest, strongest),
        )


def read_board(name: str) -> Board:
    """A shipped board by name (properties/leaderboard/), or any board by the path of its YAML.

    Raises UserError for a mistake in it.
    """
    name = str(name)
    given = read_board_options(name)
    metrics = given.metrics or tuple(overall()["metrics"])
    given_options = dict(given.options or {})
    topk = EvaluationOptions.of({"topk": given_options.pop("topk", given.topk) or max(overall()["topk"])}).topk
    parts = shared(given_options, given.methods)
    methods = (m.model_copy(update={"options": combine(parts[m.name], m.options)}) for m in given.methods)
    return Board(
        name=Path(name).stem,
        title=given.title or Path(name).stem,
        datasets=given.datasets,
        seeds=counted(given.seeds or (FIRST_SEED,), ()),
        metrics=metrics,
        topk=topk,
        methods=tuple(methods),
        options=_measured(metrics, topk),
        improvement=given.improvement,
        compare_references=given.compare_references,
        strongest={},
    )


def _measured(metrics: Sequence[str], topk: Sequence[int]) -> dict[str, Any]:
    """The options of runs that measure these columns, beside what every run measures."""
    options: dict[str, Any] = {"topk": sorted({*overall()["topk"], *topk})}
    if users := users_metrics(metrics):
        options["metrics"] = [*overall()["metrics"], *users]
    return options


def combine(*layers: dict[str, Any]) -> dict[str, Any]:
    """Merge layers of options, later ones stronger; dotted keys stay as they are, for make_config to resolve."""
    out: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            out = {k: v for k, v in out.items() if not k.startswith(f"{key}.")}
            both = isinstance(value, dict) and isinstance(out.get(key), dict) and key not in WHOLE
            out[key] = merge(out[key], value) if both else value
    return out


def shared(options: dict[str, Any], methods: Sequence[Method]) -> dict[str, dict[str, Any]]:
    """The shared options that each method reads: {name of the method: options}.

    An option that no method reads is given to all of them, so that make_config reports it.
    """
    read = {method.name: _read_by(method, options) for method in methods}
    unread = {key for key in options if not any(key in part for part in read.values())}
    return {
        name: {key: value for key, value in options.items() if key in part or key in unread}
        for name, part in read.items()
    }


def _read_by(method: Method, options: dict[str, Any]) -> dict[str, Any]:
    if _unavailable(method):
        return {}
    outside = ":" in method.model or (method.model not in registry.MODELS and method.model in registry.entry_points())
    if outside or "model_class" in method.overrides:
        return options  # only the class itself knows what it reads
    return read_by(method.model, options)


def counted(seeds: int | Sequence[int], listed: Sequence[int]) -> tuple[int, ...]:
    """A list of seeds as it is; a number of seeds: the first ones of ``listed``, continued by consecutive numbers."""
    if not isinstance(seeds, int):
        return tuple(seeds)
    first = list(listed[:seeds]) or [FIRST_SEED]
    return tuple(first + [first[-1] + n for n in range(1, seeds - len(first) + 1)])


def _unavailable(method: Method) -> str:
    """Why the model cannot be found; '' if it can."""
    try:
        registry.find_model(method.overrides.get("model_class") or method.model)
    except UserError as error:
        return str(error)
    return ""
