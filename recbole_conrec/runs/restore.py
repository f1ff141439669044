"""A finished run's folder -> its configuration, data and trained model, checked to be those of the run."""

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from recbole.config import Config
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.utils import init_seed
from safetensors import SafetensorError

from recbole_conrec import registry, tokenizer
from recbole_conrec.data.dataset import NegativeFeedbackDataset
from recbole_conrec.runs import records
from recbole_conrec.runs.checkpoints import WEIGHTS
from recbole_conrec.runs.checks import unread
from recbole_conrec.runs.config import make_config
from recbole_conrec.runs.identity import WHERE, fingerprint, folder_of, identify, named_files, plain
from recbole_conrec.runs.options import ChoiceOptions, PlaceOptions, RunOptions
from recbole_conrec.runs.threads import pinned
from recbole_conrec.runs.trainer import find_trainer
from recbole_conrec.utils.distributed import process_state
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import digest
from recbole_conrec.utils.version import __version__

# RecBole adds these to a Config; the method is given by name
NOT_OPTIONS = {"model", "dataset", "single_spec", "valid_neg_sample_args", "test_neg_sample_args", "method"}


@dataclass(frozen=True)
class TrainedRun:
    """What :func:`load_run` gives.

    Attributes:
        record: the content of result.json.
        config: RecBole Config.
        method, dataset: their names.
        place: where it runs, and how loudly.
        data: NegativeFeedbackDataset, serving the training part.
        model: the network with its trained weights, in eval mode, on the configuration's device.
        semantic_ids: the model's own, or for a model without any those of the option `tokenizer`.
        fingerprints: sha256 (hex) of what made the model: run, weights, data, semantic_ids, code, files (those that its
            options name, where there are any).
    """

    record: dict
    config: Config
    method: str
    dataset: str
    place: PlaceOptions
    data: NegativeFeedbackDataset
    model: AbstractRecommender
    semantic_ids: tokenizer.SemanticIds
    fingerprints: dict[str, str]


def load_run(folder, options: dict | None = None) -> TrainedRun:
    """Build the model of a finished run again and load its weights.

    Args:
        folder: what :func:`recbole_conrec.runs.runner.run` left.
        options: where to run and where the data lie, such as data_path, gpu_id or show_progress (``WHERE``).

    Raises UserError if the folder is no finished run, or if data, options, version, semantic IDs or weights are not
    those that it was trained with. Loading takes as many threads as the run did; scoring with another number rounds
    differently (``runs.threads.pinned(run.place.threads)``).
    """
    folder = Path(folder)
    found, why = records.read(folder)
    if found is None:
        why = f"{records.RESULT} is missing" if why == "missing" else why
        raise UserError(
            f"{folder}: no finished run ({why}); give the folder that a run names when it ends, "
            "saved/DATASET/MODEL-HASH"
        )
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"{folder / WEIGHTS}: no such file; this model cannot be loaded again, run it again")
    record = found.result
    asked = RunOptions.of(_config(folder, record, options or {}))
    with pinned(asked.place.threads):
        return _load(folder, record, asked)


def _load(folder: Path, record: dict, asked: RunOptions) -> TrainedRun:
    config, chosen, place = asked.config, asked.choice, asked.place
    _check_options(folder, record, asked)
    _check_files(folder, record, config)

    init_seed(place.seed, place.reproducibility)
    data = NegativeFeedbackDataset(config)
    train, *_ = data.build()
    init_seed(place.seed, place.reproducibility)
    network = chosen.network(config, train)
    network = network.to(network.device)
    trainer = find_trainer(chosen.method, chosen.network)(config, network, folder)
    try:
        trainer.load(folder / WEIGHTS)
    except (SafetensorError, RuntimeError) as error:  # damaged; names or shapes of another model
        reason = str(error).splitlines()[0]
        raise UserError(f"{folder / WEIGHTS}: not the weights of this model ({reason}); run it again") from None
    network.eval()
    semantic_ids = _semantic_ids(config, data, network)
    fingerprints = {
        "run": record["identity"],
        "weights": digest(folder / WEIGHTS),
        "data": data.fingerprint,
        "semantic_ids": semantic_ids.fingerprint,
        "code": code_fingerprint(),
        **_files(config),
    }
    _check_fingerprints(folder, record, fingerprints)
    return TrainedRun(record, config, chosen.method, chosen.dataset, place, data, network, semantic_ids, fingerprints)


def find_run(model, dataset, files=(), options: dict | None = None, also=()) -> tuple[Path, dict]:
    """The folder of the run that these options name (as for :func:`recbole_conrec.runs.config.make_config`), and those
    of them that :func:`load_run` takes. Raises UserError if it has not been run.
    """
    config = make_config(model, dataset, files, options, also)
    identity = identify(config, ChoiceOptions.of(config).network)
    folder = folder_of(config, identity)
    if not (folder / records.RESULT).is_file():
        raise UserError(
            f"{folder}: there is no finished run of these options; run it first, or give a run's folder by --run"
        )
    where = WHERE - {"checkpoint_dir"}
    return folder, {key: value for key, value in (options or {}).items() if key in where}


def fingerprints_of(config, network, weights: Path) -> dict[str, str]:
    """What a run keeps in its record, to be compared when it is loaded: weights, code and, of a run that has them,
    semantic IDs and the files that its options name, such as a base model's.
    """
    ids = getattr(network, "semantic_ids", None)
    return {
        "weights": digest(weights),
        "code": code_fingerprint(),
        **({} if ids is None else {"semantic_ids": ids.fingerprint}),
        **_files(config),
    }


def _files(config) -> dict[str, str]:
    """The fingerprint of the files and models that the options name; {} if they name none."""
    options = {key: value for key, value in plain(config).items() if key not in WHERE}
    found = named_files(options)
    return {"files": hashlib.sha256(json.dumps(found).encode()).hexdigest()} if found else {}


@functools.cache
def code_fingerprint() -> str:
    """sha256 (hex) of this package's Python files."""
    root = Path(__file__).parents[1]
    state = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        state.update(f"{file.relative_to(root).as_posix()}\0{digest(file)}\n".encode())
    return state.hexdigest()


def _config(folder: Path, record: dict, options: dict):
    """The run's own options, and ``options`` for where to run. RecBole has appended the data set's name to `data_path`,
    and semantic IDs are cached beside the run.
    """
    for key in options:
        if key not in WHERE:
            raise UserError(f"'{key}' is decided by the run {folder}; what can be given: {', '.join(sorted(WHERE))}")
    kept = record["config"]
    ignored = WHERE | NOT_OPTIONS | set(unread(registry.find_model(kept.get("model_class") or record["model"])))
    own = {key: value for key, value in kept.items() if key not in ignored}
    sampling = own.get("train_neg_sample_args") or {}
    if sampling.get("distribution") == "none":  # RecBole's form of null, which it refuses
        own["train_neg_sample_args"] = None
    places = {"checkpoint_dir": str(folder.absolute().parents[1])}
    if "data_path" in kept:  # a run of another machine has none
        places["data_path"] = str(Path(kept["data_path"]).parent)
    return make_config(record["model"], record["dataset"], options={**own, **places, **options})


def _check_options(folder: Path, record: dict, asked: RunOptions) -> None:
    version = record["versions"]["recbole-conrec"]
    if version != __version__:
        raise UserError(
            f"{folder}: trained by version {version}, and this is {__version__}; install that version, or "
            "run the model again"
        )
    if fingerprint(asked.config) != record["data_fingerprint"]:
        raise UserError(
            f"{folder}: the data in {asked.place.data_path}, or their protocol, are not those that it was "
            "trained on (the fingerprints differ); give --data_path, or run the model again"
        )
    now = plain(asked.config)
    for key, value in record["config"].items():
        if key not in WHERE and json.loads(json.dumps(now.get(key), default=str)) != value:
            raise UserError(
                f"{folder}: it was trained with {key}: {value!r}, which reads {now.get(key)!r} now; run the model again"
            )


def _check_files(folder: Path, record: dict, config) -> None:
    then = (record.get("fingerprints") or {}).get("files")
    if then is not None and _files(config).get("files") != then:
        raise UserError(
            f"{folder}: the files that its options name (a base model, vectors, code of your own) are not those that "
            "it was trained with (the fingerprints differ); put those back, or run the model again"
        )


def _semantic_ids(config, data, network) -> tokenizer.SemanticIds:
    if hasattr(network, "semantic_ids"):
        return network.semantic_ids
    with process_state().main_process_first():
        return tokenizer.build(config, data)


def _check_fingerprints(folder: Path, record: dict, now: dict[str, str]) -> None:
    then = record.get("fingerprints")
    if then is None:
        raise UserError(
            f"{folder}: its record keeps no fingerprints of weights and semantic IDs; remove "
            f"{folder / records.RESULT} and run the model again (finished stages are kept)"
        )
    for name, what in (("weights", WEIGHTS), ("semantic_ids", "the semantic IDs")):
        if name in then and then[name] != now[name]:
            raise UserError(
                f"{folder}: {what} are not those that the run ended with (the fingerprints differ); run the model again"
            )
