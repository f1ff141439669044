"""A leaderboard is a YAML: data sets, seeds, metrics and rows. Its tasks are one run per data set, seed and row.

See docs/leaderboard.md for the keys.
"""

import importlib.resources
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from recbole_conrec import registry
from recbole_conrec.evaluation.collector import RANKING
from recbole_conrec.generative.candidate_scores import WAYS
from recbole_conrec.options.layers import WHOLE, merge, overall
from recbole_conrec.runs import records
from recbole_conrec.runs.config import make_config
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.names import nearest
from recbole_conrec.utils.yaml_files import read_yaml

KEYS = ("title", "extends", "datasets", "seeds", "metrics", "topk", "options", "improvement", "rows")
ROW_KEYS = ("name", "model", "model_class", "options", "seeds", "minutes", "launch")
ROW_TYPES = (
    ("options", dict, "a mapping"),
    ("seeds", int, "how many of the board's seeds, at least 1"),
    ("minutes", int | float, "a number"),
    ("launch", str, "a command line such as 'accelerate launch ...'"),
)
FIRST_SEED = 2020  # RecBole's default


@dataclass(frozen=True, eq=False)
class Row:
    """One line of the table.

    Attributes:
        name: as it is printed. model: what `--model` would get. options: what differs from the model's defaults.
        seeds: only so many of the board's seeds; 1 for a model without randomness.
        minutes: a guess of one run's time, until there are records.
        launch: what starts a run instead of Python, such as 'accelerate launch --num_processes=4'.
    """

    name: str
    model: str
    options: dict
    seeds: int | None = None
    minutes: float | None = None
    launch: str | None = None


@dataclass(frozen=True, eq=False)
class Task:
    """One run: a row on a data set with a seed. Without a model of that name, ``unavailable`` says so."""

    row: Row
    dataset: str
    seed: int
    options: dict
    unavailable: str = ""

    @cached_property
    def config(self):
        """The RecBole Config. Raises UserError naming the row."""
        try:
            return make_config(self.row.model, self.dataset, options=self.options)
        except UserError as error:
            raise UserError(f"row '{self.row.name}': {error}") from None

    @cached_property
    def identity(self) -> str:
        return records.identify(self.config, registry.find_model(self.config["model_class"] or self.row.model))

    @cached_property
    def folder(self) -> Path:
        return records.folder_of(self.config, self.identity)

    def __str__(self) -> str:
        return f"{self.row.name} on {self.dataset}, seed {self.seed}"


@dataclass(frozen=True)
class Board:
    """See docs/leaderboard.md. ``options`` hold for every row, ``strongest`` (the command line's) also over its own."""

    name: str
    title: str
    datasets: tuple[str, ...]
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    options: dict
    improvement: str | None
    strongest: dict

    @property
    def columns(self) -> list[str]:
        """['HR@20', ..., 'CandAcc']: the metrics at every K."""
        topk = self.strongest.get("topk", self.options["topk"])
        topk = topk if isinstance(topk, list) else [topk]
        return [f"{m}@{k}" if m in RANKING else m for m in self.metrics for k in (topk if m in RANKING else [0])]

    @cached_property
    def tasks(self) -> list[Task]:
        """All runs of the board: seed by seed, so that a table of all rows is there early."""
        tasks = []
        for dataset in self.datasets:
            for place, seed in enumerate(self.seeds):
                for row in self.rows:
                    if row.seeds is None or place < row.seeds:
                        options = combine(self.options, row.options, self.strongest, {"seed": seed})
                        tasks.append(Task(row, dataset, seed, options, _unavailable(row)))
        return tasks

    def narrow(self, *, rows=None, seeds=None, datasets=None, **strongest) -> "Board":
        """The board with what the command line says.

        Args:
            rows: names, as a list or with commas between. seeds: a list, or how many. datasets: as rows.
            strongest: options over everything else.
        """
        known = {row.name: row for row in self.rows}
        names = list(known) if rows is None else _names(rows)
        for name in names:
            if name not in known:
                raise UserError(
                    f"--rows: '{name}' is no row of '{self.name}'{nearest(name, known)}; it has {', '.join(known)}"
                )
        return replace(
            self,
            rows=tuple(known[name] for name in known if name in names),
            seeds=self.seeds if seeds is None else _seeds(seeds, self.seeds, "--seeds"),
            datasets=self.datasets if datasets is None else tuple(_names(datasets)),
            strongest=combine(self.strongest, strongest),
        )


def read_board(name: str) -> Board:
    """A board of ours by name (properties/leaderboard/), or of the user's by the path of its YAML."""
    content = _content(str(name))
    for key in ("datasets", "rows"):
        if not isinstance(content.get(key), list) or not content[key]:
            raise UserError(f"{name}: '{key}' must be a list with at least one entry")
    if not isinstance(content.get("options") or {}, dict):
        raise UserError(f"{name}: options: {content['options']!r} must be a mapping")
    metrics = content.get("metrics") or overall()["metrics"]
    for metric in metrics:
        if metric not in (known := [*RANKING, "CandAcc", *(f"CandAcc.{way}" for way in WAYS)]):
            raise UserError(
                f"{name}: metrics: '{metric}' is unknown{nearest(metric, known)}; give some of {', '.join(known)}"
            )
    rows = tuple(_row(entry, name) for entry in content["rows"])
    names = [row.name for row in rows]
    for row in names:
        if names.count(row) > 1:
            raise UserError(f"{name}: two rows are called '{row}'; give each a name of its own")
    improvement = content.get("improvement")
    if improvement and improvement not in names:
        raise UserError(f"{name}: improvement: '{improvement}' is none of the rows{nearest(improvement, names)}")
    topk = content.get("topk") or overall()["topk"]
    return Board(
        name=Path(str(name)).stem,
        title=content.get("title") or Path(str(name)).stem,
        datasets=tuple(content["datasets"]),
        seeds=_seeds(content.get("seeds") or [FIRST_SEED], (), name),
        metrics=tuple(metrics),
        rows=rows,
        options={"topk": topk, **(content.get("options") or {})},
        improvement=improvement,
        strongest={},
    )


def combine(*layers: dict) -> dict:
    """Layers of options as one, later ones stronger; dotted keys stay as they are, for make_config to resolve."""
    out: dict = {}
    for layer in layers:
        for key, value in layer.items():
            out = {k: v for k, v in out.items() if not k.startswith(f"{key}.")}
            both = isinstance(value, dict) and isinstance(out.get(key), dict) and key not in WHOLE
            out[key] = merge(out[key], value) if both else value
    return out


def _content(name: str, extended_by: tuple[str, ...] = ()) -> dict:
    folder = importlib.resources.files("recbole_conrec.properties") / "leaderboard"
    if name.endswith((".yaml", ".yml")):
        file = Path(name)
    else:
        file = folder / f"{name}.yaml"
        known = [entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")]
        if name not in known:
            raise UserError(
                f"--leaderboard: unknown board '{name}'{nearest(name, known)}; there are "
                f"{', '.join(sorted(known))}, or give the path of a YAML of yours"
            )
    content = read_yaml(file)
    _check_keys(content, KEYS, name)
    if "extends" not in content:
        return content
    chain = (*extended_by, name)
    if (below := str(content["extends"])) in chain:
        raise UserError(f"{name}: extends: {' -> '.join([*chain, below])} has no end")
    base = _content(below, chain)  # rows are added below; anything else is replaced
    rows = [given or [] for given in (base.get("rows"), content.get("rows"))]
    for given in rows:
        if not isinstance(given, list):
            raise UserError(f"{name}: 'rows' must be a list")
    return {**base, **content, "rows": [*rows[0], *rows[1]]}


def _row(entry, board: str) -> Row:
    entry = {"name": entry} if isinstance(entry, str) else entry
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise UserError(f"{board}: a row is a name or a mapping with a 'name', found {entry!r}")
    _check_keys(entry, ROW_KEYS, f"{board}: row '{entry['name']}'")
    for key, kinds, words in ROW_TYPES:
        if (value := entry.get(key)) is not None and (
            not isinstance(value, kinds) or isinstance(value, bool) or (key == "seeds" and value < 1)
        ):
            raise UserError(f"{board}: row '{entry['name']}': {key}: {value!r} must be {words}")
    options = dict(entry.get("options") or {})
    if "model_class" in entry:
        options["model_class"] = entry["model_class"]
    return Row(
        entry["name"],
        str(entry.get("model", entry["name"])),
        options,
        entry.get("seeds"),
        entry.get("minutes"),
        entry.get("launch"),
    )


def _check_keys(content: dict, known: Iterable[str], where: str) -> None:
    for key in content:
        if key not in known:
            raise UserError(f"{where}: unknown key '{key}'{nearest(key, known)}; known: {', '.join(known)}")


def _names(names) -> list[str]:
    return [str(name) for name in names] if isinstance(names, list) else [n.strip() for n in str(names).split(",")]


def _seeds(seeds, listed: tuple[int, ...], where: str) -> tuple[int, ...]:
    """A list, or how many: the first ones of the listed, then the whole numbers after them."""
    if isinstance(seeds, int) and not isinstance(seeds, bool) and seeds > 0:
        first = list(listed[:seeds]) or [FIRST_SEED]
        return tuple(first + [first[-1] + n for n in range(1, seeds - len(first) + 1)])
    if isinstance(seeds, list) and seeds and all(isinstance(seed, int) for seed in seeds):
        return tuple(seeds)
    raise UserError(f"{where}: seeds: {seeds!r} must be a number of seeds or a list such as [2020, 2021]")


def _unavailable(row: Row) -> str:
    """Why a row's model does not exist, '' if it does."""
    try:
        registry.find_model(row.options.get("model_class") or row.model)
    except UserError as error:
        return str(error)
    return ""
