"""What a worker of a cluster does with a task: run it where it is, and bring back what the driver cannot see.

A node shares the driver's files if it finds the token that the driver has written beside the runs. It then works in
place. Any other node works in a folder of its own, into which the data set is written once, and the finished run's
files travel back with the answer.
"""

import getpass
import hashlib
import json
import os
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from recbole_conrec.cluster.process import Process, last_line, start_process, stop_processes
from recbole_conrec.cluster.task import LOG, Ended, Task
from recbole_conrec.cluster.warm import WarmServer
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import REMEDIES, replacing, write_json

BUSY = 75  # exit code of a run that another process is at
PATIENCE = 60.0  # seconds for which a run of a dead worker may still go
POLL, NOTE = 0.2, 2.0  # seconds between two looks at the process, and between two notes about it
SCRATCH = "RECBOLE_CONREC_SCRATCH"  # environment variable: folder of a node without the driver's files
KEPT = ("lock", "claim")  # files of a run's folder that are of no use elsewhere
OF_A_FAILURE = (LOG, "run.log", "failed.json")
_warm = WarmServer()  # of this worker


@dataclass(frozen=True)
class Job:
    """What all tasks of a driver have in common.

    Attributes:
        folder: the driver's current folder.
        token: a file beside the runs, and what it holds.
        shared: whether all nodes see the driver's files; None: by the token.
        data: {folder of a data set as the driver names it: function that returns its files}, for nodes that do not.
    """

    folder: Path
    token: tuple[Path, str]
    shared: bool | None = None
    data: Mapping[str, Callable[[], dict[str, bytes]]] = field(default_factory=dict)

    def is_shared(self) -> bool:
        """Whether this node sees the driver's files."""
        if self.shared is not None:
            return self.shared
        try:
            return self.token[0].read_text(encoding="utf-8") == self.token[1]
        except OSError:
            return False


def data_files(folder: Path) -> dict[str, bytes]:
    """The files of a data set: {name: content}."""
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.is_file()}


def scratch() -> Path:
    """Where a node works that does not see the driver's files; it stays, so that a run resumes there."""
    given = os.environ.get(SCRATCH)
    return Path(given) if given else Path(tempfile.gettempdir()) / f"recbole-conrec-{getpass.getuser()}"


def work(task: Task, job: Job, gpus: str | None, note: Callable[[str, str], Any] = lambda where, text: None) -> Ended:
    """Run a task on this node.

    Args:
        gpus: those that it was given, as in CUDA_VISIBLE_DEVICES.
        note: is called with this node's name and the last line of the run's log, every two seconds.
    """
    node = socket.gethostname()
    shared = job.is_shared()
    if task.in_place and not shared:
        return Ended(2, f"{node} does not see the files of {task.checkpoint_dir}", node, faulty_node=True)
    try:
        there = task if shared else _moved(task, job)
        code = _run(there, job.folder if shared else scratch(), gpus, lambda text: note(node, text))
        if shared:
            return Ended(code, node=node)
        files = _files(there.folder, code == 0, task.recorded)
    except (OSError, UserError) as error:  # of this node's disk: the task may succeed on another
        return Ended(2, f"{node}: {error}", node, faulty_node=True)
    full = any(os.strerror(number) in last_line(there.log) for number in REMEDIES)
    return Ended(code, node=node, files=files, faulty_node=code != 0 and full)


def _run(task: Task, folder: Path, gpus: str | None, note: Callable[[str], Any]) -> int:
    """Start the process of a task and wait for it. Returns its exit code; ends it if this is interrupted."""
    folder.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + PATIENCE
    while True:
        process: Process = start_process(task, "" if not task.gpus else gpus, _warm, folder=folder)
        try:
            code = _wait(process, folder / task.folder / "run.log", note)
        except BaseException:
            stop_processes([process])
            raise
        if code != BUSY or time.monotonic() > end:
            return code


def _wait(process: Process, log: Path, note: Callable[[str], Any]) -> int:
    noted = 0.0
    while (code := process.poll()) is None:
        if time.monotonic() - noted > NOTE:
            note(last_line(log))
            noted = time.monotonic()
        time.sleep(POLL)
    return code


def _moved(task: Task, job: Job) -> Task:
    """The task with the folders of this node, into which the data set is written if it is not there."""
    saved = scratch() / "saved"
    data = scratch() / "data" / hashlib.sha256(str(task.data.absolute()).encode()).hexdigest()[:12] / task.data.name
    for name, content in job.data[str(task.data)]().items():
        file = data / name
        if not file.exists() or file.stat().st_size != len(content) or file.read_bytes() != content:
            with replacing(file) as temporary:
                temporary.write_bytes(content)
    places = {"--data_path": data.parent, "--checkpoint_dir": saved}
    words = [word for word in task.words if word.partition("=")[0] not in places]
    words += [f"{name}={place}" for name, place in places.items()]
    folder = saved / task.folder.relative_to(task.checkpoint_dir)
    return replace(task, words=tuple(words), folder=folder, checkpoint_dir=saved, data=data)


def _files(folder: Path, finished: bool, recorded: dict[str, Any]) -> dict[str, bytes]:
    """What a run has left; its record says what it would say on the driver's machine."""
    there = [file for file in sorted(folder.rglob("*")) if file.is_file() and not file.name.startswith(".")]
    names = [file.relative_to(folder).as_posix() for file in there]
    files = {
        name: file.read_bytes()
        for name, file in zip(names, there, strict=True)
        if name not in KEPT and (finished or name in OF_A_FAILURE)
    }
    if "result.json" in files:
        record = json.loads(files["result.json"])
        record["config"] |= {key: value for key, value in recorded.items() if key in record["config"]}
        files["result.json"] = json.dumps(record).encode()
    return files


def receive(task: Task, ended: Ended) -> None:
    """Write what a run has left on another node into its folder here, the record last: it is complete or absent."""
    for name in sorted(ended.files, key="result.json".__eq__):
        if name == "result.json":
            write_json(task.folder / name, json.loads(ended.files[name]))
            continue
        with replacing(task.folder / name) as temporary:
            temporary.write_bytes(ended.files[name])
