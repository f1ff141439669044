"""Files that are whole or not there: written under a temporary name, then renamed."""

import contextlib
import errno
import glob
import hashlib
import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from recbole_conrec.utils.errors import UserError

HOST = re.sub(r"\W", "_", socket.gethostname())  # in temporary names: process ids say nothing on another machine
# What may be wrong with a disk, and what to do about it.
REMEDIES = {
    errno.ENOSPC: "free some space or give another folder",
    errno.EDQUOT: "remove some of your files, whose share of the disk is used up, or give another folder",
    errno.EROFS: "give a folder on a disk that can be written",
    errno.EFBIG: "give a folder on a file system that takes files of this size",
    errno.EIO: "give a folder on another disk",
}
DENIED = {errno.EACCES, errno.EPERM}


class DiskFault(NamedTuple):
    """Why a disk takes no file, and what to do."""

    reason: str
    remedy: str


@contextlib.contextmanager
def replacing(path) -> Iterator[Path]:
    """A temporary name beside ``path`` that takes its place if the block succeeds, and is removed if it fails.

    A killed process leaves the old file or the new one, never half of one; its temporary file is removed when the same
    file is written next. Raises UserError for a disk or a folder that cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{HOST}.{os.getpid()}")
    with _disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, path.name)
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()


def save_figure(figure, path, dpi: int = 110) -> None:
    """A matplotlib figure as a PNG file, by :func:`replacing`."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi)


@contextlib.contextmanager
def replacing_folder(folder) -> Iterator[Path]:
    """A temporary folder that becomes ``folder`` (in place of an older one) if the block succeeds, else is removed.

    Otherwise as :func:`replacing`.
    """
    folder = Path(folder)
    ending = f".{HOST}.{os.getpid()}"
    with _disk(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder.parent, folder.name)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=ending))
        try:
            yield temporary
            if folder.exists():
                old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.old-", suffix=ending))
                folder.rename(old / folder.name)  # a rename is quick: the older folder is whole or replaced
                temporary.rename(folder)
                shutil.rmtree(old)
            else:
                temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _disk(path: Path) -> Iterator[None]:
    """A disk or a folder that cannot be written becomes one line, whatever library was writing."""
    try:
        yield
    except Exception as error:
        fault = disk_fault(error)
        if isinstance(error, OSError) and error.errno in DENIED and _concerns(error, path):
            fault = DiskFault(os.strerror(error.errno), "give a folder in which you may write")
        if fault is None:
            raise
        raise UserError(
            f"{path}: cannot be written ({fault.reason}); {fault.remedy}, and run the same command again"
        ) from error


def _concerns(error: OSError, path: Path) -> bool:
    """Whether an error is about a file beside ``path`` or a folder above it, rather than one that is read."""
    if not isinstance(error.filename, str | os.PathLike):
        return True
    name, folder = os.path.abspath(error.filename), os.path.abspath(path.parent)
    return os.path.commonpath([name, folder]) in (name, folder)


def disk_fault(error: BaseException) -> DiskFault | None:
    """What is wrong with the disk, if that is why something failed."""
    if isinstance(error, UserError):
        return None
    if isinstance(error, OSError) and error.errno in REMEDIES:
        return DiskFault(os.strerror(error.errno), REMEDIES[error.errno])
    # safetensors, torch and pyarrow have exceptions of their own, with the system's words in them
    number = next((number for number in REMEDIES if os.strerror(number) in str(error)), None)
    if number is not None:
        return DiskFault(os.strerror(number), REMEDIES[number])
    if any(name in str(error) for name in ("PytorchStreamWriter", "inline_container")):
        return DiskFault("the file ended too early", REMEDIES[errno.ENOSPC])
    return None


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove the temporary files and folders that killed processes of this machine left in a folder.

    Args:
        name: of the file or folder that they wrote; default: any.
    """
    for left in folder.glob(f".{'*' if name is None else glob.escape(name)}.*{glob.escape(HOST)}.*"):
        pid = left.suffix[1:]
        if not pid.isdigit() or _is_running(int(pid)):
            continue
        if left.is_dir():
            whole = folder / left.name[1:].rpartition(".old-")[0]
            if whole != folder and not whole.exists() and (left / whole.name).exists():
                (left / whole.name).rename(whole)  # killed between two renames
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def is_there(path) -> bool:
    """Whether there is a file. Raises UserError for something else of that name, such as a folder."""
    path = Path(path)
    if path.is_file():
        return True
    if not os.path.lexists(path):
        return False
    found = "a folder" if path.is_dir() else "a link that leads nowhere" if path.is_symlink() else "no regular file"
    raise UserError(f"{path}: {found}; expected a file. Rename or remove it")


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
