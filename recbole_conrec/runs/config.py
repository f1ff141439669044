"""Layers of options -> RecBole Config.

From weakest to strongest: RecBole's own YAML, our ``properties/overall.yaml``, ``properties/model/<model>.yaml``,
``properties/dataset/<dataset>.yaml``, the YAML beside the data set's files, the user's YAML files, a dict, the command
line. A mapping in a later layer changes the keys that it names and keeps the others (``split`` and ``feedback`` are
replaced as a whole); ``--window.length=3`` reaches into one. ``stages`` is a list of named mappings: a list replaces
it, a mapping changes its entries by name (``--stages.grpo-1.beta=0.1``), see options/layers.py. Values of the command
line are YAML, never evaluated as Python. Every option is checked before anything is read or trained, see checks.py.
"""

import os
from collections.abc import Iterable
from functools import reduce
from pathlib import Path

import torch
from recbole.config import Config
from recbole.evaluator.register import metrics_dict
from recbole.utils import InputType

from recbole_conrec import registry
from recbole_conrec.evaluation.plugin import register_metrics
from recbole_conrec.evaluation.registry import columns, find_metric
from recbole_conrec.options.layers import dataset_options, lay, overall, properties
from recbole_conrec.options.shipped import data_folder
from recbole_conrec.runs.checks import check_names, check_names_beside, check_values, known_options, unread
from recbole_conrec.runs.stock_models import fill_item_fields
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.names import nearest
from recbole_conrec.utils.yaml_files import read_yaml

# What RecBole has put into a form of its own by the time that a stock Config exists.
NORMALISED = {"train_neg_sample_args", "eval_args", "topk", "metrics", "valid_metric"}
SPACE = "space"  # key of a file of options that says what `tune` searches of them
# As the user or a scheduler set it: every Config of RecBole's writes its `gpu_id` there.
VISIBLE_GPUS = os.environ.get("CUDA_VISIBLE_DEVICES")


def make_config(
    model: str | None, dataset: str | None, files=(), options: dict | None = None, also: Iterable[str] = ()
) -> Config:
    """The Config of one run.

    Args:
        model: name or dotted path of the model; may also come from a file or from ``options``.
        dataset: name of the data set; likewise. Default ``ml-100k``, which is part of the recbole wheel.
        files: YAML files, later ones stronger.
        options: strongest layer; dotted keys reach into mappings.
        also: names of options that the caller has read; an unknown one may be one of these, misspelt.

    Raises UserError for an unknown model, file or option, a value that an option cannot take, and an option that the
    model does not read.
    """
    layers = [{k: v for k, v in read_yaml(file).items() if k != SPACE} for file in files] + [dict(options or {})]
    external: dict = reduce(lay, layers, {})
    name = model or external.get("model")
    if not name:
        raise UserError("no model: give --model=NAME, for instance --model=CoNRec or --model=SASRec")
    dataset = external.get("dataset", "ml-100k") if dataset is None else dataset
    data_path = external.get("data_path", "dataset/")  # RecBole's default
    for option, value in (("model", name), ("dataset", dataset), ("data_path", data_path)):
        if not isinstance(value, str) or not value:
            raise UserError(f"{option}: {value!r}; expected a name")
    if Path(dataset).name != dataset or dataset == ".." or "\0" in dataset:
        raise UserError(f"dataset: '{dataset}'; expected the name of a folder in `data_path`, without a path")
    data_path = str(data_folder(dataset, data_path))
    name = registry.spelling(name)
    model_class = registry.find_model(external.get("model_class") or name)

    defaults = reduce(lay, [overall(), properties("model", name), dataset_options(dataset, data_path)])
    # a file that brings a model brings the options of that model with it; of a model from outside we know none
    foreign = ":" in name or (name not in registry.MODELS and name in registry.entry_points())
    own_keys = {key for layer in layers if foreign or "model_class" in layer for key in layer}
    if not foreign:
        check_names_beside(dataset, data_path, known_options(model_class, properties("model", name)))
    known = known_options(model_class, defaults) | own_keys | {"model", "dataset", "model_class"}
    check_names(
        external, known, {key: to for key, to in unread(model_class).items() if key not in own_keys}, name, also
    )
    merged = reduce(lay, layers, defaults)
    check_values(external, merged, model_class, defaults)
    merged["data_path"] = data_path
    for key in ("model", "dataset"):  # RecBole wants them as arguments
        merged.pop(key, None)
    fill_item_fields(merged, model_class.__name__)
    if merged.get("loss_type") == "BPR" or getattr(model_class, "input_type", None) == InputType.PAIRWISE:
        merged["train_neg_sample_args"] = merged.get("train_neg_sample_args") or {
            "distribution": "uniform",
            "sample_num": 1,
        }
    for key in ("item_text", "metrics"):
        if isinstance(merged.get(key), str):
            merged[key] = [merged[key]]
    merged["metrics"] = _with_selecting(merged["metrics"], str(merged["valid_metric"]))
    merged.setdefault("gpu_id", _gpus())
    if merged.get("use_gpu") is False:  # which RecBole 1.2.1 does not read
        merged["gpu_id"] = ""
    config = _Config(model_class, dataset, merged)
    config["method"] = name
    return config


def _gpus() -> str:
    """What `gpu_id` is where nobody gave one: of the GPUs that may be used all for processes launched together, which
    take one each, and the first for a single process. RecBole's '0' would overrule a scheduler's choice.
    """
    if "LOCAL_RANK" in os.environ:
        return VISIBLE_GPUS or ",".join(map(str, range(torch.cuda.device_count())))
    return "0" if VISIBLE_GPUS is None else VISIBLE_GPUS.split(",")[0]


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
        register_metrics(self.final_config_dict["metrics"])
        _check_valid_metric(self.final_config_dict)
        self.final_config_dict["repeatable"] = True  # sequential evaluation; what is excluded is in `exclude`
        try:
            super()._set_default_parameters()
        except NotImplementedError as error:  # RecBole's words for an unknown metric
            raise UserError(f"metrics: {error}; known: {', '.join(sorted(metrics_dict))}") from None
        except ValueError as error:  # options that do not go together
            raise UserError(" ".join(str(error).split())) from None


def _with_selecting(metrics: list, valid_metric: str) -> list:
    """The option ``metrics`` with the metric that selects, where that is ours and ``metrics`` leaves it out."""
    name = valid_metric.partition("@")[0]
    selects = find_metric(name)
    there = selects is None or selects in [find_metric(str(metric)) for metric in metrics]
    return metrics if there else [*metrics, name]


def _check_valid_metric(options: dict) -> None:
    metrics, topk = (v if isinstance(v, list) else [v] for v in (options["metrics"], options["topk"]))
    for metric in metrics:
        if not find_metric(str(metric)) and str(metric).lower() not in metrics_dict:
            raise UserError(f"metrics: '{metric}' is unknown{nearest(str(metric), metrics_dict)}")
    known = columns(metrics, topk)
    if not known:
        raise UserError("metrics: empty; give at least one, such as HR")
    if str(options["valid_metric"]).lower() not in [name.lower() for name in known]:
        raise UserError(
            f"valid_metric: '{options['valid_metric']}' is not measured; name one of {', '.join(known)}, "
            "or add it to `metrics` and `topk`"
        )


def complete(config: Config) -> Config:
    """Lay our defaults under a Config that stock RecBole made, wherever the user set nothing. Returns it."""
    if isinstance(config, _Config):
        return config
    model, dataset = config["model"], config["dataset"]
    folder = data_folder(dataset, Path(config["data_path"]).parent)
    config["data_path"] = str(folder / dataset)
    defaults = reduce(lay, [overall(), properties("model", model), dataset_options(dataset, folder)])
    merged = reduce(lay, [defaults, config.external_config_dict])
    for key in defaults:
        if key not in NORMALISED:
            config[key] = merged[key]
    if "valid_metric" not in config.external_config_dict and hasattr(registry.find_model(model), "TASKS"):
        # RecBole's MRR@10 selects no method that is trained in stages
        config["valid_metric"] = "CandAcc" if merged["valid_metric"] == "CandAcc" else f"FRecall@{max(config['topk'])}"
    config["method"] = model
    return config
