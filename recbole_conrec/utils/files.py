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

from recbole_conrec.utils.errors import UserError

HOST = re.sub(r"\W", "_", socket.gethostname())  # in temporary names: process ids say nothing on another machine
UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO}  # the disk's fault, not the command's


@contextlib.contextmanager
def replacing(path) -> Iterator[Path]:
    """A temporary name beside ``path`` that takes its place if the block succeeds, and is removed if it fails.

    A killed process leaves the old file or the new one, never half of one; its temporary file is removed when the same
    file is written next. Raises UserError for a disk that is full or cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{HOST}.{os.getpid()}")
    with _disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers_of(path)
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
        _remove_leftovers_of(folder)
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
    """A disk that is full or cannot be written becomes one line, whatever library was writing."""
    try:
        yield
    except Exception as error:
        if reason := disk_fault(error):
            raise UserError(
                f"{path}: cannot be written ({reason}); free some space or give another folder, and run the same "
                "command again"
            ) from error
        raise


def disk_fault(error: BaseException) -> str:
    """What is wrong with the disk, in words, if that is why something failed; '' if it is not."""
    if isinstance(error, UserError):
        return ""
    if isinstance(error, OSError) and error.errno in UNWRITABLE:
        return os.strerror(error.errno)
    # safetensors, torch and pyarrow have exceptions of their own, with the system's words in them
    texts = {os.strerror(number) for number in UNWRITABLE}
    found = next((text for text in texts if text in str(error)), "")
    torch = any(name in str(error) for name in ("PytorchStreamWriter", "inline_container"))
    return found or ("the file ended too early" if torch else "")


def _remove_leftovers_of(path: Path) -> None:
    """Remove what processes of this machine that were killed while they wrote ``path`` have left beside it."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{glob.escape(HOST)}.*"):
        pid = left.suffix[1:]
        if not pid.isdigit() or _is_running(int(pid)):
            continue
        if left.is_dir():
            before = left / path.name
            if not path.exists() and before.exists() and left.name.startswith(f".{path.name}.old-"):
                before.rename(path)  # killed between two renames
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
