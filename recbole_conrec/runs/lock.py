"""One run per folder at a time, over all processes that see the file system."""

import contextlib
import errno
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from recbole_conrec.utils.errors import UserError

RUN = "lock"  # held by the process that runs
CLAIM = "claim"  # held by the board that started it, from before the start on
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}  # of a file system without flock


class BusyError(UserError):
    """Another process works in this folder."""

    exit_code = 75  # EX_TEMPFAIL: try again later


@contextlib.contextmanager
def hold(folder: Path, patience: float = 2.0, name: str = RUN) -> Iterator[None]:
    """Hold a lock of the folder.

    An advisory lock of the operating system (``flock``) on the file of that name: it ends with its process, however
    the process ends, so that no lock is ever stale. The file stays: removing it would let two processes lock two files.
    Its content (process, host, time) is for people.

    Args:
        folder: exists already.
        patience: seconds to wait for a lock that another process holds.
        name: :data:`RUN` or :data:`CLAIM`.

    Raises BusyError if another process still holds it, UserError on a file system without locks.
    """
    lock = _acquire(folder / name, patience, _write_owner)
    if lock is None:
        owner = _owner(folder / name)
        raise BusyError(f"{folder}: another process works here ({owner}); wait until it ends, or end it")
    try:
        yield
    finally:
        lock.release()


def is_held(folder: Path) -> bool:
    """Whether some process runs in this folder now. Raises UserError on a file system without locks."""
    if not (folder / RUN).exists():
        return False
    lock = _acquire(folder / RUN, patience=0.0)
    if lock is not None:
        lock.release()
    return lock is None


def _acquire(file: Path, patience: float, on_acquired: Callable[[int], None] | None = None) -> BaseFileLock | None:
    """The lock, held; None if another process still holds it after ``patience`` seconds."""
    # without flock filelock would fall back on a lock that is the file's existence, which outlives a killed process
    lock = FileLock(file, preserve_lock_file=True, fallback_to_soft=False, on_acquired=on_acquired)
    try:
        lock.acquire(timeout=patience, poll_interval=0.1)
    except Timeout:
        return None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise UserError(
            f"{file.parent}: its file system has no locks ({error.strerror}); put checkpoint_dir on one that has, "
            "or give each machine its own checkpoint_dir and merge the records"
        ) from None
    return lock


def _write_owner(descriptor: int) -> None:
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": int(time.time())}
    with contextlib.suppress(OSError):  # a full disk: the lock holds without a name in it
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{json.dumps(owner)}\n".encode(), 0)


def _owner(file: Path) -> str:
    try:
        owner = json.loads(file.read_text(encoding="utf-8"))
        return f"process {owner['pid']} on {owner['host']}"
    except (OSError, ValueError, KeyError, TypeError):  # it is writing its name just now, or could not
        return "unknown"
