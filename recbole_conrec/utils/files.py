"""Files that are whole or not there: written under a temporary name, then renamed."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path) -> Iterator[Path]:
    """A temporary name beside ``path`` that takes its place if the block succeeds, and is removed if it fails.

    A killed process leaves the old file or the new one, never half of one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(folder) -> Iterator[Path]:
    """A temporary folder that becomes ``folder`` (in place of an older one) if the block succeeds, else is removed."""
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        yield temporary
        if folder.exists():
            old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.old-"))
            folder.rename(old / folder.name)  # a rename is quick: the older folder is whole or replaced
            temporary.rename(folder)
            shutil.rmtree(old)
        else:
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path, text: str) -> None:
    """Write UTF-8 text as a whole."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path, content) -> None:
    """Write plain values as JSON; other objects become their text."""
    write_text(path, json.dumps(content, indent=1, default=str) + "\n")


def blocks(path) -> Iterator[bytes]:
    """A file's bytes, 1 MiB at a time."""
    with open(path, "rb") as stream:
        while block := stream.read(2**20):
            yield block


def digest(path) -> str:
    """sha256 (hex) of a file's bytes."""
    state = hashlib.sha256()
    for block in blocks(path):
        state.update(block)
    return state.hexdigest()
