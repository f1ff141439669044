"""One run per folder at a time, over all processes that see the file system."""

import contextlib
import fcntl
import json
import os
import socket
import time
from pathlib import Path

from recbole_conrec.utils.errors import UserError

RUN = "lock"  # held by the process that runs
CLAIM = "claim"  # held by the board that started it, from before the start on


class Busy(UserError):
    """Another process works in this folder."""

    exit_code = 75  # EX_TEMPFAIL: try again later


@contextlib.contextmanager
def hold(folder: Path, patience: float = 2.0, name: str = RUN):
    """Hold a lock of the folder; Busy if another process still does after ``patience`` seconds.

    An advisory lock of the operating system (``flock``) on the file of that name: it ends with its process however
    that ends, so nothing is ever stale. The file itself stays: removing it would let two processes lock two files.
    What it says (process, host, time) is for people.
    """
    with open(folder / name, "a+", encoding="utf-8") as file:
        end = time.monotonic() + patience
        while not _try(file, folder):
            if time.monotonic() > end:
                raise Busy(f"{folder}: another process works here ({_owner(folder / name)}); wait for it or end it")
            time.sleep(0.1)
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": int(time.time())}) + "\n")
        file.flush()
        yield


def is_held(folder: Path) -> bool:
    """Does some process run in this folder now?"""
    try:
        file = open(folder / RUN, "r+", encoding="utf-8")  # over NFS an exclusive lock needs a file that can be written
    except FileNotFoundError:
        return False
    with file:
        return not _try(file, folder)


def _try(file, folder: Path) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise UserError(
            f"{folder}: its file system has no locks ({error.strerror}); put checkpoint_dir on one that "
            "has, or give each machine a checkpoint_dir of its own and merge the records"
        ) from None
    return True


def _owner(file: Path) -> str:
    try:
        owner = json.loads(file.read_text(encoding="utf-8"))
        return f"process {owner['pid']} on {owner['host']}"
    except (OSError, ValueError):  # it is just writing its name
        return "of unknown name"
