"""Runs on the Hugging Face hub: ``push`` puts a finished run into a repository, ``pull`` makes its folder again.

A repository holds the record without rows of the data and without paths, the weights (safetensors; of a model with
adapters these are the adapters), the language model's tokenizer, the semantic IDs, and a card that is made from the
record. Nothing in it is a pickle, and nothing but these files is brought.
"""

import re
import shutil
import tempfile
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

from recbole_conrec.options.schema import Options, Text
from recbole_conrec.runs import published, records
from recbole_conrec.runs.card import card
from recbole_conrec.runs.checkpoints import WEIGHTS
from recbole_conrec.runs.restore import TrainedRun
from recbole_conrec.tokenizer.pipeline import IdsOptions, catalogue, fit_for
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import replacing_folder

FILES = (records.RESULT, records.OUTCOMES, WEIGHTS)
IDS, TOKENIZER = "semantic_ids", "tokenizer"
BROUGHT = (
    *FILES,
    "README.md",
    f"{IDS}/*/*.json",
    f"{IDS}/*/*.safetensors",
    f"{TOKENIZER}/*.json",
    f"{TOKENIZER}/*.txt",
)
NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
FAULTS = (HfHubHTTPError, RepositoryNotFoundError, LocalEntryNotFoundError, HFValidationError, OSError)


class PushOptions(Options):
    """Options of ``recbole-conrec push``."""

    run: Text
    """Folder of the trained run."""
    to: Text | None = None
    """Repository of the hub, OWNER/NAME; it is made if it is not there."""
    out: Text | None = None
    """Folder to write the files to instead, to look at them or to copy them elsewhere."""
    private: bool = True
    """Whether a repository that is made is private."""


class PullOptions(Options):
    """Options of ``recbole-conrec pull``."""

    repo: Text
    """Repository of the hub, OWNER/NAME, or a folder that ``push --out`` wrote."""
    revision: Text | None = None
    """Branch, tag or commit; default: the newest."""
    checkpoint_dir: Text = "saved"
    """Folder that gets DATASET/MODEL-HASH and the semantic IDs."""


def check(options: PushOptions) -> None:
    """Raise UserError unless there is one place to write to."""
    if (options.to is None) == (options.out is None):
        raise UserError("push: expected one of --to=OWNER/NAME (the hub) and --out=FOLDER")


def push(run: TrainedRun, options: PushOptions) -> str:
    """Put a finished run, loaded and so checked, into a repository or a folder.

    Returns where it is. Raises UserError for a hub that refuses.
    """
    check(options)
    if options.out is not None:
        with replacing_folder(options.out) as folder:
            write(run, Path(options.run), folder, Path(options.out).name)
        return f"{options.out}/"
    with tempfile.TemporaryDirectory() as temporary:
        write(run, Path(options.run), Path(temporary), str(options.to))
        try:
            api = HfApi()
            api.create_repo(str(options.to), private=options.private, exist_ok=True)
            title = f"{run.method} on {run.dataset}"
            api.upload_folder(repo_id=str(options.to), folder_path=temporary, commit_message=title)
        except FAULTS as error:
            raise UserError(_refused("push", str(options.to), error)) from None
    return f"{HfApi().endpoint}/{options.to}"


def write(run: TrainedRun, source: Path, folder: Path, name: str) -> None:
    """Write the files of a repository called ``name`` into a folder."""
    record, why = records.read(source)
    if record is None:
        raise UserError(f"{source}: {why}")
    records.write(folder, published.shared_result(record.result), published.shared_facts(record), record.outcomes())
    shutil.copy(source / WEIGHTS, folder / WEIGHTS)
    if hasattr(run.model, "semantic_ids"):
        ids = IdsOptions.of(run.config)
        fit = fit_for(ids.tokenizer, run.data)
        key = ids.model_copy(update={"tokenizer": fit}).cache_folder(catalogue(fit, run.data)).name
        run.semantic_ids.save(folder / IDS / key)
    words = getattr(getattr(run.model, "backbone", None), "tokenizer", None)
    if words is not None:
        words.save_pretrained(folder / TOKENIZER)
    (folder / "README.md").write_text(card(record.result, name), encoding="utf-8")


def pull(options: PullOptions) -> Path:
    """Make the folder of a run from a repository, or from a folder that :func:`push` wrote.

    Returns ``checkpoint_dir/DATASET/MODEL-HASH``; :func:`recbole_conrec.runs.restore.load_run` loads it where the data
    set is there. Raises UserError for a repository that holds no run.
    """
    if Path(options.repo).is_dir():
        return _unpack(Path(options.repo), options)
    with tempfile.TemporaryDirectory() as temporary:
        try:
            snapshot_download(
                options.repo, revision=options.revision, local_dir=temporary, allow_patterns=list(BROUGHT)
            )
        except FAULTS as error:
            raise UserError(_refused("pull", options.repo, error)) from None
        return _unpack(Path(temporary), options)


def _unpack(source: Path, options: PullOptions) -> Path:
    record, why = records.read(source)
    if record is None or not (source / WEIGHTS).is_file():
        why = {"": f"{WEIGHTS} is missing", "missing": f"{records.RESULT} is missing"}.get(why, why)
        raise UserError(f"{options.repo}: no run of recbole-conrec ({why.replace(str(source), '').lstrip('/')})")
    result = record.result
    method = result["model"].replace("/", "_")
    identity = result["identity"][:12]
    for part in (method, result["dataset"], identity):
        if not NAME.fullmatch(part):  # they become folders, and come from somebody else
            raise UserError(
                f"{options.repo}: '{part}' is not the name of a method or a data set; expected a run that `push` wrote"
            )
    place = Path(options.checkpoint_dir)
    folder = place / result["dataset"] / f"{method}-{identity}"
    with replacing_folder(folder) as temporary:
        for name in FILES:
            shutil.copy(source / name, temporary / name)
        if (source / TOKENIZER).is_dir():
            shutil.copytree(source / TOKENIZER, temporary / TOKENIZER)
    for ids in (source / IDS).glob("*"):
        if re.fullmatch(r"[0-9a-f]{16}", ids.name) and not (place / "tokenizers" / ids.name).exists():
            with replacing_folder(place / "tokenizers" / ids.name) as temporary:
                for file in [*ids.glob("*.json"), *ids.glob("*.safetensors")]:
                    shutil.copy(file, temporary)
    return folder


def _refused(command: str, repository: str, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return f"{command}: {repository}: {reason}; check the name, the network, and your token (hf auth login)"
