"""What a named model is made of: the digests of a folder's files, the revision of a hub id."""

import contextlib
import functools
import json
import re
from pathlib import Path

from huggingface_hub import hf_hub_download, try_to_load_from_cache

from recbole_conrec.utils.files import digest

# One of these makes a folder a model, an adapter or a tokenizer.
MARKS = ("config.json", "adapter_config.json", "tokenizer.json", "tokenizer_config.json", "modules.json")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def is_model_folder(name: str) -> bool:
    """Whether this is the path of a folder with a model, an adapter or a tokenizer."""
    folder = Path(name)
    return any((folder / mark).is_file() for mark in MARKS)


def folder_digests(folder: Path) -> list[str]:
    """'path in the folder digest' of each file of a model folder, hidden ones and Markdown excepted, sorted; and what
    an adapter's base model is made of.
    """
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.suffix != ".md")
    names = {file: file.relative_to(folder) for file in files}
    found = [
        f"{name.as_posix()} {file_digest(file)}"
        for file, name in names.items()
        if not any(part.startswith(".") for part in name.parts)
    ]
    return found + _adapter_base(folder)


def _adapter_base(folder: Path) -> list[str]:
    try:
        base = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    if not isinstance(base, str) or Path(base).resolve() == folder.resolve():
        return []
    return folder_digests(Path(base)) if is_model_folder(base) else [found for found in [revision(base)] if found]


def file_digest(file: Path) -> str:
    """sha256 (hex) of a file, computed once as long as its size and time of change stay the same."""
    file = file.resolve()
    stat = file.stat()
    return _digest(file, stat.st_size, stat.st_mtime_ns)


@functools.cache
def _digest(file: Path, size: int, changed: int) -> str:
    return digest(file)


def revision(hub_id: str) -> str | None:
    """The commit of a model of the hub in the local cache, which is the one that is loaded; None if there is none."""
    for name in _names(hub_id):
        with contextlib.suppress(ValueError):  # no valid id
            file = try_to_load_from_cache(name, "config.json")
            if isinstance(file, str):
                return Path(file).parent.name
    return None


def _names(hub_id: str) -> list[str]:
    """What a hub id may mean: a name without an owner may be one of sentence-transformers. [] for a path."""
    if not HUB_ID.fullmatch(hub_id) or Path(hub_id).exists():
        return []
    return [hub_id] if "/" in hub_id else [hub_id, f"sentence-transformers/{hub_id}"]


def fetch(hub_id: str) -> bool:
    """Bring a model of the hub into the local cache, its configuration alone; whether that was needed and possible.

    A run that needs the model does so before it is named: :func:`revision` would give it another name afterwards.
    """
    if revision(hub_id):
        return False
    for name in _names(hub_id):
        with contextlib.suppress(Exception):  # no network, no such model, no access: loading the model says which
            hf_hub_download(name, "config.json")
            return True
    return False
