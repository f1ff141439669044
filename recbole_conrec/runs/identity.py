"""What a run is known by: a digest of all that can change a figure, and the folder that bears it."""

import hashlib
import importlib.util
import inspect
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from recbole_conrec.data.protocol import Protocol
from recbole_conrec.options.schema import Several, Text
from recbole_conrec.runs.options import ChoiceOptions, PlaceOptions
from recbole_conrec.tokenizer.pipeline import IdsOptions
from recbole_conrec.tokenizer.sentence import SentenceOptions
from recbole_conrec.utils.files import digest
from recbole_conrec.utils.model_files import file_digest, folder_digests, is_model_folder, revision
from recbole_conrec.utils.version import __version__

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
FILES = (".npy", ".npz", ".safetensors", ".gguf", ".json", ".txt", ".csv", ".parquet")
OWN = ("recbole", "recbole_conrec")
MODELS = {"llm", "model"}  # options whose value may be a hub id: the language model, and the model of an encoder


def _as_list(given: Any) -> Any:
    return [] if given is None else [given] if isinstance(given, str) else given


class _Inputs(ChoiceOptions, PlaceOptions):
    """The files that a run reads, and where it leaves its own."""

    additional_feat_suffix: Annotated[Several[str], BeforeValidator(_as_list)] = ()
    """RecBole's option: suffixes of further files of the data set, such as ent."""

    def digests(self, suffixes: Iterable[str]) -> list[str]:
        """The digests of those of the data set's files that are there."""
        base = Path(self.data_path) / self.dataset
        files = [base.with_name(f"{base.name}.{suffix}") for suffix in suffixes]
        return [file_digest(file) for file in files if file.is_file()]

    def feature_files(self) -> list[str]:
        """The digests of the data set's further files."""
        return self.digests(self.additional_feat_suffix)

    @property
    def folder_name(self) -> str:
        """How the folders of the method's runs begin."""
        return self.method.replace("/", "_")


class _Models(IdsOptions):
    """The models that a run reads."""

    llm: Text | None = None
    """The language model."""


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
    files = [*named_files(options), *_Inputs.of(config).feature_files()]
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


def hub_models(config) -> list[str]:
    """The options of a run that may be hub ids: the language model, and the models of the tokenizer's encoders."""
    options = _Models.of(config)
    encoders = [one.model for one in options.tokenizer.encoder if isinstance(one, SentenceOptions)]
    return [name for name in (options.llm, *encoders) if name not in (None, "tiny")]


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
    digests = _Inputs.of(config).digests(("inter", "item", "user"))
    return hashlib.sha256(f"{Protocol.of(config).digest}{''.join(digests)}".encode()).hexdigest()


def folder_of(config, identity: str) -> Path:
    """Where a run of this identity lives."""
    run = _Inputs.of(config)
    return Path(run.checkpoint_dir) / run.dataset / f"{run.folder_name}-{identity[:12]}"


def folder_name(config) -> str:
    """How the folders of a method's runs begin."""
    return _Inputs.of(config).folder_name
