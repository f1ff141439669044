"""Layers of options -> RecBole Config.

From weakest to strongest: RecBole's own YAML, our ``properties/overall.yaml``, ``properties/model/<model>.yaml``,
``properties/dataset/<dataset>.yaml``, the YAML beside the data set's files, the user's YAML files, a dict, the command
line. A mapping in a later layer changes the keys that it names and keeps the others (``split`` and ``feedback`` are
replaced as a whole); ``--window.length=3`` reaches into one. ``stages`` is a list of named mappings: a list replaces
it, a mapping changes its entries by name (``--stages.grpo-1.beta=0.1``), see :func:`change_named`. Values of the
command line are YAML, never evaluated as Python. An unknown key is an error that names the nearest known one.
"""

import codecs
import importlib.resources
import os
from functools import reduce
from pathlib import Path

import recbole
import torch
from recbole.config import Config
from recbole.utils import InputType
from recbole.utils.argument_list import (
    dataset_arguments,
    evaluation_arguments,
    general_arguments,
    training_arguments,
)

from recbole_conrec import registry
from recbole_conrec.options.layers import dataset_options, lay, merge, overall, properties
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.names import nearest
from recbole_conrec.utils.yaml_files import read_yaml

# What RecBole has put into a form of its own by the time that a stock Config exists.
NORMALISED = {"train_neg_sample_args", "eval_args", "topk", "metrics", "valid_metric"}
# Mappings whose keys depend on a choice made inside them; their readers check them.
OPEN = {"tokenizer", "llm_options", "eval_args", "train_neg_sample_args", "load_col", "unload_col", "feedback"}


# As the user or a scheduler set it: every Config of RecBole's writes its `gpu_id` there.
VISIBLE_GPUS = os.environ.get("CUDA_VISIBLE_DEVICES")


def make_config(model: str | None, dataset: str | None, files=(), options: dict | None = None) -> Config:
    """The Config of one run.

    Args:
        model: name or dotted path of the model; may also come from a file or from ``options``.
        dataset: name of the data set; likewise. Default ``ml-100k``, which lies inside the recbole wheel.
        files: YAML files, later ones stronger.
        options: strongest layer; dotted keys reach into mappings.

    Raises UserError for an unknown model, file, or option.
    """
    layers = [read_yaml(file) for file in files] + [dict(options or {})]
    external = reduce(lay, layers, {})
    name = model or external.get("model")
    if not name:
        raise UserError("no model: say --model=NAME, for instance --model=CoNRec or --model=SASRec")
    dataset = dataset or external.get("dataset") or "ml-100k"
    data_path = external.get("data_path") or "dataset/"  # RecBole's default
    for option, value in (("model", name), ("dataset", dataset), ("data_path", data_path)):
        if not isinstance(value, str):
            raise UserError(f"{option}: {value!r} must be a name")
    model_class = registry.find_model(external.get("model_class") or name)

    defaults = reduce(lay, [overall(), properties("model", name), dataset_options(dataset, data_path)])
    # a file that brings a model brings the options of that model with it; of a model from outside we know none
    foreign = ":" in name or (name not in registry.MODELS and name in registry.entry_points())
    own_keys = {key for layer in layers if foreign or "model_class" in layer for key in layer}
    _check_keys(external, defaults, model_class.__name__, own_keys | {"model", "dataset", "model_class"})
    merged = reduce(lay, layers, defaults)
    _check_types(external, merged, {**_recbole_defaults(model_class.__name__), **defaults})
    for key in ("model", "dataset"):  # RecBole wants them as arguments
        merged.pop(key, None)
    _fill_item_features(merged, model_class.__name__)
    if merged.get("loss_type") == "BPR" or getattr(model_class, "input_type", None) == InputType.PAIRWISE:
        merged["train_neg_sample_args"] = merged.get("train_neg_sample_args") or {
            "distribution": "uniform",
            "sample_num": 1,
        }
    _check_names(merged)
    merged.setdefault("gpu_id", _gpus())
    if merged.get("use_gpu") is False:  # which RecBole 1.2.1 does not read
        merged["gpu_id"] = ""
    config = _Config(model_class, dataset, merged)
    config["row"] = name
    return config


def _check_keys(external: dict, defaults: dict, model: str, own_keys: set[str]) -> None:
    known = {*defaults, *overall(), *own_keys, *_recbole_keys(model), "row"}
    for file in (importlib.resources.files("recbole_conrec.properties") / "dataset").iterdir():
        if file.name.endswith(".yaml"):
            known |= set(read_yaml(file))
    for key, value in external.items():
        if key not in known:
            raise UserError(f"unknown option '{key}'{nearest(key, known)}")
        inner = defaults.get(key)
        if isinstance(value, dict) and isinstance(inner, dict) and key not in OPEN:
            for part in value:
                if part not in inner:
                    raise UserError(
                        f"unknown option '{key}.{part}'{nearest(part, inner)}; '{key}' takes {', '.join(inner)}"
                    )


def _recbole_keys(model: str) -> set[str]:
    lists = {*general_arguments, *training_arguments, *evaluation_arguments, *dataset_arguments}
    return lists | set(_recbole_defaults(model))


def _recbole_defaults(model: str) -> dict:
    folder = Path(recbole.__file__).parent / "properties"
    files = (folder / "overall.yaml", folder / "dataset" / "sample.yaml", folder / "model" / f"{model}.yaml")
    return reduce(merge, [read_yaml(file) for file in files if file.is_file()], {})


def _gpus() -> str:
    """What `gpu_id` is where nobody gave one: of the GPUs that may be used all for processes launched together, which
    take one each, and the first for one alone. RecBole's '0' would overrule a scheduler's choice."""
    if "LOCAL_RANK" in os.environ:
        return VISIBLE_GPUS or ",".join(map(str, range(torch.cuda.device_count())))
    return "0" if VISIBLE_GPUS is None else VISIBLE_GPUS.split(",")[0]


def _check_names(options: dict) -> None:
    try:
        codecs.lookup(str(options.get("encoding") or "utf-8"))
    except LookupError:
        raise UserError(f"encoding: '{options['encoding']}' is unknown to Python; give one such as utf-8") from None
    levels = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
    if str(options.get("state") or "WARNING").upper() not in levels:
        raise UserError(f"state: '{options['state']}' is none of {', '.join(levels)}")
    for key in ("item_text", "metrics"):
        if isinstance(options.get(key), str):
            options[key] = [options[key]]


AT_LEAST = {
    "seed": 0,
    "epochs": 0,
    "train_batch_size": 1,
    "eval_batch_size": 1,
    "MAX_ITEM_LIST_LENGTH": 1,
    "beam": 1,
    "history": 1,
    "max_tokens": 1,
    "topk": 1,
}


def _check_types(given: dict, merged: dict, defaults: dict, path: str = "") -> None:
    """Raise UserError where a number is expected and something else was given, or one that is too small."""
    for key, value in given.items():
        if path == "" and key in merged:
            value = merged[key]
        name, default = f"{path}{key}", defaults.get(key)
        if isinstance(default, dict):
            if value is not None and not isinstance(value, dict) and key not in OPEN:
                raise UserError(f"{name}: {value!r} must be a mapping; its keys are {', '.join(default)}")
            if isinstance(value, dict) and key not in OPEN:
                _check_types(value, {}, default, f"{name}.")
        elif isinstance(default, int | float) and not isinstance(default, bool) and value is not None:
            whole = isinstance(default, int) and key != "length"  # a window may be of half a day
            kinds = int if whole and key in AT_LEAST else int | float
            if not isinstance(value, kinds) or isinstance(value, bool):
                raise UserError(f"{name}: {value!r} must be a {'whole ' * whole}number, such as {default}")
        low = AT_LEAST.get(name)
        values = value if isinstance(value, list) else [value]
        if low is not None and not all(isinstance(v, int) and not isinstance(v, bool) and v >= low for v in values):
            raise UserError(f"{name}: {value!r} must be a whole number of at least {low}")


def _fill_item_features(options: dict, model: str) -> None:
    """FDSA and S3Rec name an item field in RecBole's YAML ('class'); here the data set says which one it has."""
    category = options.get("item_category")
    if category and model == "FDSA":
        options.setdefault("selected_features", [category])
    if category and model == "S3Rec":
        options.setdefault("item_attribute", category)


class _Config(Config):
    """RecBole's Config with our layers already merged.

    It reads no command line (RecBole calls ``eval`` on its values) and converts no strings.
    """

    def __init__(self, model_class: type, dataset: str, options: dict):
        super().__init__(model=model_class, dataset=dataset, config_dict=options)

    def _load_cmd_line(self):
        return {}

    def _convert_config_dict(self, config_dict):
        return config_dict

    def _set_default_parameters(self):
        _check_valid_metric(self.final_config_dict)
        self.final_config_dict["repeatable"] = True  # sequential evaluation; what is excluded is in `exclude`
        try:
            super()._set_default_parameters()
        except NotImplementedError as error:  # RecBole's words for an unknown metric
            from recbole.evaluator.register import metrics_dict

            raise UserError(f"metrics: {error}; known: {', '.join(sorted(metrics_dict))}") from None


def _check_valid_metric(options: dict) -> None:
    metrics, topk = (v if isinstance(v, list) else [v] for v in (options["metrics"], options["topk"]))
    known = dict.fromkeys(m if m.lower() == "candacc" else f"{m}@{k}" for m in metrics for k in topk)
    if str(options["valid_metric"]).lower() not in [name.lower() for name in known]:
        raise UserError(
            f"valid_metric: '{options['valid_metric']}' is not measured; name one of {', '.join(known)}, "
            "or add it to `metrics` and `topk`"
        )


def complete(config: Config) -> Config:
    """Lay our defaults under a Config that stock RecBole made, wherever the user said nothing. Returns it."""
    if isinstance(config, _Config):
        return config
    model, dataset = config["model"], config["dataset"]
    folder = Path(config["data_path"]).parent
    defaults = reduce(lay, [overall(), properties("model", model), dataset_options(dataset, folder)])
    merged = reduce(lay, [defaults, config.external_config_dict])
    for key in defaults:
        if key not in NORMALISED:
            config[key] = merged[key]
    config["row"] = model
    return config
