"""A task as a process of this machine."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from recbole_conrec.cluster.task import Task
from recbole_conrec.cluster.warm import WarmRun, WarmServer
from recbole_conrec.utils.processes import PARENT, THREADS

GRACE = 60.0  # seconds that a run has to end after it was asked to
VISIBLE = "CUDA_VISIBLE_DEVICES"
Process = subprocess.Popen | WarmRun


def start_process(
    task: Task, gpus: str | None, warm: WarmServer | None = None, bars: bool = False, folder: Path | None = None
) -> Process:
    """Start a task here.

    Args:
        gpus: the GPUs that it sees, as in CUDA_VISIBLE_DEVICES; '' for none, None for all.
        warm: forks the process of a cheap task.
        bars: whether its progress bars go to the terminal rather than into its log.
        folder: current folder of the process, to which the task's paths are relative; default: ours.
    """
    words, folder = _words(task), Path(folder or os.getcwd())
    environment = {key: value for key, value in os.environ.items() if key != VISIBLE}
    if gpus is not None:
        environment[VISIBLE] = gpus
    # before any library is loaded
    environment |= {PARENT: str(os.getpid()), **dict.fromkeys(THREADS, str(task.threads))}
    log = folder / task.log
    log.parent.mkdir(parents=True, exist_ok=True)
    if warm is not None and task.cheap and words[:3] == [sys.executable, "-m", "recbole_conrec"]:
        return warm.start(words[3:], environment, folder, log, bars)
    with open(log, "wb") as file:
        error = None if bars else subprocess.STDOUT
        return subprocess.Popen(words, stdout=file, stderr=error, env=environment, cwd=folder)


def _words(task: Task) -> list[str]:
    words = list(task.words)
    if words[0] == "python":  # the interpreter of this process, not the first one on the PATH
        words[0] = sys.executable
    elif words[:2] == ["accelerate", "launch"]:
        words[:2] = [sys.executable, "-m", "accelerate.commands.launch"]
    return words


def stop_processes(processes: list[Process], grace: float = GRACE) -> None:
    """End runs, which can resume from their last epoch or stage. (Background children of a script ignore SIGINT.)"""
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(grace)


def last_line(file: Path) -> str:
    """The last line of a log that is not empty; '' without one."""
    try:
        with open(file, "rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - 4096))
            lines = log.read().decode(errors="replace").replace("\r", "\n").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip().removeprefix("error: ") if lines else ""
