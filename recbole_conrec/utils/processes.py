"""Processes that end with the one that started them."""

import os
import signal
import threading
import time

import psutil

PARENT = "RECBOLE_CONREC_PARENT"  # environment variable: the process without which this one has nothing to do
EVERY = 1.0  # seconds between two looks
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # variables that libraries read when loaded


def end_with_parent() -> None:
    """End this process as SIGTERM does, as soon as the process that PARENT names is gone, however it ended.

    That process may be further up (a launcher may be between the two). Does nothing where PARENT is not set.
    """
    parent = os.environ.get(PARENT, "")
    if parent.isdigit():
        threading.Thread(target=_watch, args=(int(parent),), name="parent", daemon=True).start()


def _watch(parent: int) -> None:
    while parent in _ancestors():
        time.sleep(EVERY)
    os.kill(os.getpid(), signal.SIGTERM)


def _ancestors() -> list[int]:
    """Ids of this process's parent, its parent, and so on; a process whose parent has died belongs to another one."""
    return [process.pid for process in psutil.Process().parents()]
