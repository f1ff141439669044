"""Records of finished runs: ``result.json`` and ``outcomes.parquet`` in the run's folder.

A record is identified by everything that can change a number: the options, the data and this package's version (and the
source of a model from outside). It is complete or absent: both files are renamed into place, the JSON last, with
the Parquet's digest in it. To merge the records of several machines, copy these two files of each folder; publish.py
makes copies for others.
"""

import contextlib
import hashlib
import importlib.util
import inspect
import json
import math
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from recbole_conrec.data.counts import training_dislikes
from recbole_conrec.data.events import NEGATIVE, RowStream
from recbole_conrec.data.protocol import Protocol
from recbole_conrec.runs.options import ChoiceOptions, PlaceOptions
from recbole_conrec.runs.record_fields import RecordedConfig, fault
from recbole_conrec.utils.damage import read_object, set_aside
from recbole_conrec.utils.distributed import write_once
from recbole_conrec.utils.files import digest, write_json
from recbole_conrec.utils.model_files import file_digest, folder_digests, is_model_folder, revision
from recbole_conrec.utils.version import __version__

RESULT, OUTCOMES = "result.json", "outcomes.parquet"
# Options that say where and how loudly to run, not what to compute.
WHERE = {
    "checkpoint_dir",
    "data_path",
    "show_progress",
    "state",
    "report_to",
    "gpu_id",
    "use_gpu",
    "device",
    "worker",
    "local_rank",
    "log_wandb",
    "wandb_project",
    "loss_decimal_place",
}
# Facts of an instance that stand beside its outcomes, so that methods can be compared without the data.
FACTS = ("instance", "user", "item", "t0", "activity", "negatives", "popularity", "window")
FILES = (".npy", ".npz", ".safetensors", ".gguf", ".json", ".txt", ".csv", ".parquet")
OWN = ("recbole", "recbole_conrec")
MODELS = {"llm", "model"}  # options whose value may be a hub id: the language model, and the model of an encoder


@dataclass(frozen=True)
class Record:
    """One finished run.

    Attributes:
        folder: where its two files lie.
        result: the content of result.json: model, dataset, seed, metrics, cost, curve, config, versions, hardware ...
    """

    folder: Path
    result: dict

    @property
    def file(self) -> Path:
        """The file with the result."""
        return self.folder / RESULT

    @cached_property
    def config(self) -> RecordedConfig:
        """The options that tables and pages show."""
        return RecordedConfig.read(self.result["config"], "config")

    def outcomes(self) -> dict[str, np.ndarray]:
        """float64 [N] for each metric, NaN where an instance does not count."""
        table = parquet.read_table(self.folder / OUTCOMES)
        return {name: table[name].to_numpy() for name in table.column_names if name not in FACTS}

    def facts(self) -> dict[str, np.ndarray]:
        """int64 [N] for each of FACTS, see :func:`facts`; a published record lacks those that are rows of the data."""
        table = parquet.read_table(self.folder / OUTCOMES)
        return {name: table[name].to_numpy() for name in FACTS if name in table.column_names}


def plain(config) -> dict:
    """The final options as plain values, without RecBole's derived objects."""
    return {
        k: v
        for k, v in sorted(config.final_config_dict.items())
        if isinstance(v, (str, int, float, bool, list, dict, type(None)))
    }


def identify(config, model_class: type) -> str:
    """sha256 (hex) of all that can change a figure: the options, the files and the code that they name, the data and
    their protocol, this package's version, and the source file of a model that is neither ours nor RecBole's.
    """
    options = {key: value for key, value in plain(config).items() if key not in WHERE}
    files = [*named_files(options), *feature_files(config)]
    parts = [options, fingerprint(config), __version__, *foreign_source(model_class), *files]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def foreign_source(model_class: type) -> list[str]:
    """The digest of the source file of a model that is neither ours nor RecBole's; [] for one that is."""
    ours = model_class.__module__.split(".")[0] in OWN
    return [] if ours else [digest(Path(inspect.getfile(model_class)))]


def named_files(options, key: str = "") -> list[str]:
    """The digests of the files that options name, such as vectors, IDs, and the modules of dotted paths such as a
    reward of one's own, of the files of model folders, and the revisions of models of the hub (of the options in
    MODELS), in order; [] if they name none.
    """
    if isinstance(options, dict | list):
        parts = (
            [(options[key], key) for key in sorted(options)]
            if isinstance(options, dict)
            else [(part, key) for part in options]
        )
        return [found for part, name in parts for found in named_files(part, name)]
    if not isinstance(options, str) or not options:
        return []
    if is_model_folder(options):
        return folder_digests(Path(options))
    if key in MODELS and (commit := revision(options)):
        return [f"{options} {commit}"]
    file = Path(options) if options.endswith(FILES) else _module_file(options)
    return [file_digest(file)] if file and file.is_file() else []


def feature_files(config) -> list[str]:
    """The digests of the data set's further files, such as NAME.ent (RecBole's `additional_feat_suffix`)."""
    base = Path(config["data_path"]) / config["dataset"]
    files = [base.with_name(f"{base.name}.{suffix}") for suffix in _list(config["additional_feat_suffix"] or [])]
    return [file_digest(file) for file in files if file.is_file()]


def hub_models(config) -> list[str]:
    """The options of a run that may be hub ids: the language model, and the models of the tokenizer's encoders."""
    encoders = (config["tokenizer"] or {}).get("encoder") or []
    named = [config["llm"], *(one.get("model") for one in _list(encoders) if isinstance(one, dict))]
    return [name for name in named if isinstance(name, str) and name != "tiny"]


def _list(values) -> list:
    return list(values) if isinstance(values, list | tuple) else [values]


def _module_file(path: str) -> Path | None:
    """The source file of a dotted path 'package.module:name'; None for other texts and for modules of our own."""
    module, _, name = path.partition(":")
    if not name.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        return None
    if module.split(".")[0] in OWN:
        return None
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin else None


def fingerprint(config) -> str:
    """The ``fingerprint`` of the NegativeFeedbackDataset of this config, without loading its events."""
    base = Path(PlaceOptions.of(config).data_path) / ChoiceOptions.of(config).dataset
    files = [base.with_name(f"{base.name}.{suffix}") for suffix in ("inter", "item", "user")]
    digests = [file_digest(file) for file in files if file.is_file()]
    return hashlib.sha256(f"{Protocol.of(config).digest}{''.join(digests)}".encode()).hexdigest()


def folder_of(config, identity: str) -> Path:
    """Where a run of this identity lives."""
    place, chosen = PlaceOptions.of(config), ChoiceOptions.of(config)
    return Path(place.checkpoint_dir) / chosen.dataset / f"{folder_name(config)}-{identity[:12]}"


def folder_name(config) -> str:
    """How the folders of a method's runs begin."""
    return ChoiceOptions.of(config).method.replace("/", "_")


def facts(data) -> dict[str, np.ndarray]:
    """Facts of the test instances of a NegativeFeedbackDataset, int64 [N] each.

    ``instance``, ``user``, ``item`` (internal ids), ``t0`` (seconds); ``activity`` and ``negatives``: the user's events
    and dislikes before t0; ``popularity``: training dislikes of the item; ``window``: size of F.
    """
    part, log = data.splits["test"], data.log
    return {
        "instance": np.arange(len(part)),
        "user": part.user,
        "item": part.item,
        "t0": part.time,
        "activity": part.end - part.begin,
        "negatives": RowStream(log.feedback == NEGATIVE).count(part.begin, part.end),
        "popularity": training_dislikes(data)[part.item],
        "window": np.diff(data.truth("test").f_ptr),
    }


def write(folder: Path, result: dict, facts: dict[str, np.ndarray], outcomes: dict[str, np.ndarray]) -> None:
    """Write a record, so that a killed process leaves none rather than half of one."""
    table = pa.table({**{name: values.astype(np.int64) for name, values in facts.items()}, **outcomes})
    # facts are sorted or small numbers: their differences take half the space of a dictionary
    write_once(
        folder / OUTCOMES,
        lambda path: parquet.write_table(
            table,
            path,
            compression="zstd",
            write_statistics=False,  # of each column: nobody searches by them
            use_dictionary=list(outcomes),
            column_encoding=dict.fromkeys(facts, "DELTA_BINARY_PACKED"),
        ),
    )
    result = _finite({**result, "outcomes_sha256": digest(folder / OUTCOMES)})
    write_once(folder / RESULT, lambda path: write_json(path, result))


def _finite(content):
    """The same with None in place of NaN and infinity, which JSON does not have."""
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def read(folder: Path, identity: str | None = None) -> tuple[Record | None, str]:
    """The record in a folder.

    Returns (record, ''), or (None, why there is none): 'missing', or what is wrong with one that is corrupt.
    """
    if not (folder / RESULT).is_file():
        return None, "missing"
    try:
        result = read_object(folder / RESULT)
    except (OSError, ValueError) as error:
        return None, f"{folder / RESULT} is corrupt ({type(error).__name__}: {error})"
    if why := fault(result):
        return None, f"{folder / RESULT} is corrupt ({why})"
    if not (folder / OUTCOMES).is_file():
        return None, f"{folder / OUTCOMES} is missing"
    if digest(folder / OUTCOMES) != result["outcomes_sha256"]:
        return None, f"{folder / OUTCOMES} is corrupt (its digest is not the one in {RESULT})"
    if identity is not None and result["identity"] != identity:
        return None, f"{folder / RESULT} is of another run (its identity is not that of the folder)"
    return Record(folder, result), ""


def discard(folder: Path, why: str) -> None:
    """Set a record aside that :func:`read` finds damaged, both of its files; only the main process may."""
    set_aside(folder / RESULT, why.replace(f"{folder}{os.sep}", "").removeprefix(f"{RESULT} is "))
    with contextlib.suppress(FileNotFoundError):
        os.replace(folder / OUTCOMES, folder / f"{OUTCOMES}.damaged")
