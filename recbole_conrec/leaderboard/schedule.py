"""Runs what a board lacks: every (row, seed, data set) is a process of its own.

A process of its own, also one after the other, so that its peak of memory is its own and its death kills no other row.
"""

import contextlib
import json
import os
import shlex
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from recbole_conrec.evaluation.table import seconds
from recbole_conrec.leaderboard.board import Task
from recbole_conrec.runs import lock, records
from recbole_conrec.runs.config import VISIBLE_GPUS
from recbole_conrec.utils.yaml_files import parse_value

BUSY = lock.Busy.exit_code
POLL, WAIT = 0.1, 5.0  # seconds between looks at our processes, and at runs that other boards are at


def command(task: Task) -> list[str]:
    """The command that makes this task's record, for any shell, scheduler or machine."""
    start = shlex.split(task.row.launch) if task.row.launch else ["python"]
    options = {"model": task.row.model, "dataset": task.dataset, **task.options}
    return [*start, "-m", "recbole_conrec", *(f"--{key}={_text(value)}" for key, value in options.items())]


def _text(value) -> str:
    """A value so that the command line reads it back the same."""
    same = isinstance(value, str) and value.strip() == value and parse_value(value) == value
    return value if same else json.dumps(value, default=str)


def missing(tasks: list[Task], say: Callable[[str], None]) -> list[Task]:
    """Tasks without a record; corrupt records are named."""
    out = []
    for task in tasks:
        if task.unavailable:
            continue
        record, why = records.read(task.folder, task.identity)
        if why not in ("", "missing"):
            say(f"warning: {task}: {why}; it will be run again")
        if record is None:
            out.append(task)
    return out


def expected_seconds(tasks: list[Task]) -> dict[Task, float | None]:
    """How long each run will take: the median of earlier runs of its model on its data set, else the row's guess."""
    seen: dict[tuple, float | None] = {}
    for task in tasks:
        key = task.dataset, task.row.name
        if key not in seen:
            pattern = f"{records.folder_name(task.config)}-*/{records.RESULT}"
            times = [t for file in task.folder.parent.glob(pattern) if (t := _seconds_of(file)) is not None]
            guess = None if task.row.minutes is None else task.row.minutes * 60
            seen[key] = statistics.median(times) if times else guess
    return {task: seen[task.dataset, task.row.name] for task in tasks}


def _seconds_of(file: Path) -> float | None:
    try:
        cost = json.loads(file.read_text(encoding="utf-8"))["cost"]
        return cost["fit_s"] + cost["eval_s"]
    except (ValueError, KeyError, TypeError):  # a corrupt record tells no time; `missing` names it
        return None


def execute(tasks: list[Task], jobs: int, say: Callable[[str], None]) -> dict[Task, str]:
    """Run tasks in up to ``jobs`` processes until each has a record or has failed. Returns {task: why it failed}.

    A run that another board is at is waited for, and run here if that one fails.
    """
    waiting, running, failed = list(tasks), {}, {}
    later: dict[Task, float] = {}  # when to look again at a run of somebody else
    expected, done = expected_seconds(tasks), 0
    try:
        while waiting or running:
            for task in [t for t in waiting if later.get(t, 0) < time.monotonic()]:
                if len(running) == jobs:
                    break
                claim = contextlib.ExitStack()
                if not _claim(task, claim):
                    if task not in later:
                        say(f"{task}: another process is at it; its record will be used")
                    later[task] = time.monotonic() + WAIT
                    continue
                waiting.remove(task)
                if records.read(task.folder, task.identity)[0]:
                    claim.close()
                    done += 1
                    say(f"[{done}/{len(tasks)}] {task}: recorded by another process")
                else:
                    running[_start(task, jobs)] = task, claim, time.monotonic()
            for process in [p for p in running if p.poll() is not None]:
                task, claim, started = running.pop(process)
                claim.close()
                if process.returncode == BUSY:
                    waiting.append(task)
                    continue
                done += 1
                said, why = _outcome(task, process.returncode)
                if why:
                    failed[task] = why
                left = sum(expected[t] or 0 for t in [*waiting, *(t for t, *_ in running.values())]) / jobs
                say(
                    f"[{done}/{len(tasks)}] {task}: {why or said} in {seconds(time.monotonic() - started)}"
                    + (f", about {seconds(left)} to go" if left else "")
                )
            time.sleep(POLL)
    except BaseException:
        for process in running:
            process.send_signal(signal.SIGINT)
        for process in running:
            process.wait()
        raise
    return failed


def _claim(task: Task, claim: contextlib.ExitStack) -> bool:
    """Is the task ours to start? Two boards never start the same one, and neither starts what runs already."""
    task.folder.mkdir(parents=True, exist_ok=True)
    try:
        claim.enter_context(lock.hold(task.folder, patience=0, name=lock.CLAIM))
    except lock.Busy:
        return False
    if lock.is_held(task.folder):  # by a run that no board started, or whose board has died
        claim.close()
        return False
    return True


def _outcome(task: Task, code: int) -> tuple[str, str]:
    """(the first figure of a run that ended, '') or ('', why it failed)."""
    if code:
        lines = _log(task).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return "", f"{lines[-1].strip()} (all of it: {_log(task)})" if lines else f"exit code {code}"
    record, why = records.read(task.folder, task.identity)
    if record is None:
        return "", (
            f"it ended well, but its record in {task.folder} is {why}; were options, data or code changed "
            "meanwhile? The same command runs what is missing"
        )
    name, figure = next(iter(record.result["metrics"].items()))
    return f"{name} {figure['value']:.4f}" if figure["value"] is not None else f"{name} -", ""


def _start(task: Task, jobs: int) -> subprocess.Popen:
    words = command(task)
    if words[0] == "python":  # this one, whatever the shell would find
        words[0] = sys.executable
    elif words[:2] == ["accelerate", "launch"]:
        words[:2] = [sys.executable, "-m", "accelerate.commands.launch"]
    environment = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
    if VISIBLE_GPUS is not None:
        environment["CUDA_VISIBLE_DEVICES"] = VISIBLE_GPUS
    if jobs > 1:
        if "show_progress" not in task.options:
            words.append("--show_progress=False")
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    with open(_log(task), "wb") as log:
        bars = jobs == 1 and sys.stderr.isatty()
        return subprocess.Popen(words, stdout=log, stderr=None if bars else subprocess.STDOUT, env=environment)


def _log(task: Task) -> Path:
    return task.folder / "terminal.log"
