"""Makes catalogue.json, from which help and lists are printed: ``python -m recbole_conrec.catalogue``.

Importing what has the options takes seconds, as it brings torch; a test keeps the file up to date.
"""

import importlib.resources
import inspect
import itertools
import json
from pathlib import Path

from recbole_conrec import reference, registry
from recbole_conrec.data.convert import CONVERTERS
from recbole_conrec.data.convert.options import ConvertOptions
from recbole_conrec.evaluation.registry import own_metrics
from recbole_conrec.generative.rewards import REWARDS
from recbole_conrec.options.layers import dataset_names
from recbole_conrec.options.schema import Options
from recbole_conrec.runs.checks import FLAT
from recbole_conrec.tokenizer.options import TOKENIZERS
from recbole_conrec.utils.names import load
from recbole_conrec.utils.yaml_files import read_yaml

FILE = Path(__file__).with_name("catalogue.json")
RUN = {
    "model": ["text", "required", "The method, see recbole-conrec list models, or your own as package.module:Class."],
    "dataset": ["text", "ml-100k", "The data set: a folder of `data_path`, see recbole-conrec list datasets."],
    "config_files": ["text", "", 'YAML files of options, as "a.yaml b.yaml"; later ones are stronger.'],
}


def make() -> dict:
    """The content of the file."""
    options = {name: _rows(load(path)) for name, path in reference.COMMANDS}
    board = options.pop("--leaderboard=NAME")
    options["run"] = [
        *([name, *row] for name, row in RUN.items()),
        *(row for row in board if row[0] not in RUN),
        *(row for model in FLAT for row in _rows(model) if row[0] not in {one[0] for one in board} | set(RUN)),
    ]
    options["convert"] = _rows(ConvertOptions)
    for converter in CONVERTERS.values():
        known = {row[0] for row in options["convert"]}
        options["convert"] += [row for row in _rows(converter.options) if row[0] not in known]
    return {"options": options, "names": {kind: dict(sorted(found.items())) for kind, found in _names().items()}}


def _names() -> dict[str, dict[str, str]]:
    ours = {name: _sentence(inspect.getmodule(load(path)), name) for name, path in registry.MODELS.items()}
    return {
        "models": {**dict.fromkeys(registry.stock_models(), "a model of RecBole"), **ours},
        "datasets": {name: _comment("dataset", name) for name in dataset_names()},
        "boards": {name: _comment("leaderboard", name) for name in _yaml_names("leaderboard")},
        "tokenizers": {name: _sentence(module, name) for name, module in TOKENIZERS.items()},
        "rewards": {name: _sentence(function, name) for name, function in REWARDS.items()},
        "metrics": {name: _sentence(metric, name) for name, metric in own_metrics().items()},
    }


def _rows(model: type[Options]) -> list[list[str]]:
    """[name, type, default, text] of each option; of a mapping the mapping itself."""
    rows = [row for row in reference.cells(model) if "." not in row[0]]
    return [[name, kind, default.strip("`"), text] for name, kind, default, text in rows]


def _sentence(thing, name: str) -> str:
    """The first sentence of a docstring, without the name that it may begin with."""
    first = " ".join((thing.__doc__ or "").split("\n\n")[0].split()).split(". ")[0].rstrip(".")
    return first.removeprefix(f"{name}: ").replace("``", "`")


def _comment(kind: str, name: str) -> str:
    """The first sentence of the comment at the top of a YAML file, and what the file extends."""
    file = importlib.resources.files("recbole_conrec.properties") / kind / f"{name}.yaml"
    lines = itertools.takewhile(lambda line: line.startswith("#"), file.read_text(encoding="utf-8").splitlines())
    about = " ".join(line.lstrip("# ") for line in lines).split(". ")[0].split("; ")[0].rstrip(".")
    extended = read_yaml(file).get("extends")
    return "; ".join(filter(None, (f"options as {extended}" if extended else "", about)))


def _yaml_names(kind: str) -> list[str]:
    folder = importlib.resources.files("recbole_conrec.properties") / kind
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def text() -> str:
    """The file's text."""
    return json.dumps(make(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
