"""Runs the runs of a board that have no record, each (data set, seed, method) in a process of its own.

One process each, also where they run one after the other: a run's peak memory is then its own, and a run that crashes
does not end the others.
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
from recbole_conrec.leaderboard.board import PlannedRun
from recbole_conrec.runs import failures, lock, records
from recbole_conrec.runs.config import VISIBLE_GPUS
from recbole_conrec.runs.options import PlaceOptions
from recbole_conrec.runs.threads import VARIABLES
from recbole_conrec.utils.processes import PARENT
from recbole_conrec.utils.yaml_files import parse_value

BUSY = lock.BusyError.exit_code
POLL, WAIT = 0.1, 5.0  # seconds between two checks of our processes, and of runs of other processes
GRACE = 60.0  # seconds that a run has to end after it was asked to


def command(run: PlannedRun) -> list[str]:
    """The command that trains and records this run, for any shell, scheduler or machine."""
    start = shlex.split(run.method.launch) if run.method.launch else ["python"]
    options = {"model": run.method.model, "dataset": run.dataset, **run.options}
    return [*start, "-m", "recbole_conrec", *(f"--{key}={_text(value)}" for key, value in options.items())]


def _text(value) -> str:
    """A value as text that the command line reads as the same value."""
    same = isinstance(value, str) and value.strip() == value and parse_value(value) == value
    return value if same else json.dumps(value, default=str)


def missing(runs: list[PlannedRun], report: Callable[[str], None]) -> list[PlannedRun]:
    """The runs without a record; corrupt records are reported."""
    out = []
    for run in runs:
        if run.unavailable:
            continue
        record, why = records.read(run.folder, run.identity)
        if why not in ("", "missing"):
            report(f"warning: {run}: {why}; it will be run again")
        if record is None:
            out.append(run)
    return out


def expected_seconds(runs: list[PlannedRun]) -> dict[PlannedRun, float | None]:
    """Seconds that each run will take: the median of earlier runs with the same data and options (whatever their seed),
    else the board's guess; None without either.
    """
    seen: dict[tuple, float | None] = {}
    for run in runs:
        key = run.dataset, run.method.name
        if key not in seen:
            pattern = f"{records.folder_name(run.config)}-*/{records.RESULT}"
            options = _compared(json.loads(json.dumps(records.plain(run.config), default=str)))
            times = [t for file in run.folder.parent.glob(pattern) if (t := _seconds_of(file, options)) is not None]
            guess = None if run.method.minutes is None else run.method.minutes * 60
            seen[key] = statistics.median(times) if times else guess
    return {run: seen[run.dataset, run.method.name] for run in runs}


def _compared(config: dict) -> dict:
    """The options that the time of a run depends on."""
    return {key: value for key, value in config.items() if key not in {*records.WHERE, "seed", "method"}}


def _seconds_of(file: Path, options: dict) -> float | None:
    """Seconds of a recorded run; None if it had other options or is corrupt (`missing` reports it)."""
    record, _ = records.read(file.parent)
    if record is None or _compared(record.result["config"]) != options:
        return None
    return record.result["cost"]["fit_s"] + record.result["cost"]["eval_s"]


def execute(runs: list[PlannedRun], jobs: int, report: Callable[[str], None]) -> dict[PlannedRun, str]:
    """Start runs, up to ``jobs`` at a time, until each has a record or has failed.

    A run that another process is already training is waited for, and started here if it fails there.

    Args:
        runs: without records.
        jobs: processes at a time.
        report: is called with one line about each run.

    Returns {run: why it failed}.
    """
    waiting, failed = list(runs), {}
    running: dict[subprocess.Popen, tuple[PlannedRun, contextlib.ExitStack, float]] = {}
    later: dict[PlannedRun, float] = {}  # when to check a run of another process again
    expected, done = expected_seconds(runs), 0
    try:
        while waiting or running:
            for run in [one for one in waiting if later.get(one, 0) < time.monotonic()]:
                if len(running) == jobs:
                    break
                claim = contextlib.ExitStack()
                if not _claim(run, claim):
                    if run not in later:
                        report(f"{run}: another process is training it; its record will be used")
                    later[run] = time.monotonic() + WAIT
                    continue
                waiting.remove(run)
                if records.read(run.folder, run.identity)[0]:
                    claim.close()
                    done += 1
                    report(f"[{done}/{len(runs)}] {run}: recorded by another process")
                else:
                    running[_start(run, jobs)] = run, claim, time.monotonic()
            for process in [p for p in running if p.poll() is not None]:
                run, claim, started = running.pop(process)
                claim.close()
                if process.returncode == BUSY:
                    waiting.append(run)
                    continue
                done += 1
                figure, why = _outcome(run, process.returncode)
                if why:
                    failed[run] = why
                left = sum(expected[one] or 0 for one in [*waiting, *(one for one, *_ in running.values())]) / jobs
                report(
                    f"[{done}/{len(runs)}] {run}: {why or figure} in {seconds(time.monotonic() - started)}"
                    + (f", about {seconds(left)} to go" if left else "")
                )
            time.sleep(POLL)
    except BaseException:
        _stop(list(running))
        raise
    return failed


def _stop(processes: list[subprocess.Popen]) -> None:
    """End runs, which can resume from their last epoch or stage. (Background children of a script ignore SIGINT.)"""
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _claim(run: PlannedRun, claim: contextlib.ExitStack) -> bool:
    """Whether this board may start the run: no other board has started it, and it is not running already."""
    run.folder.mkdir(parents=True, exist_ok=True)
    try:
        claim.enter_context(lock.hold(run.folder, patience=0, name=lock.CLAIM))
    except lock.BusyError:
        return False
    if lock.is_held(run.folder):  # by a run that was started without a board, or whose board has crashed
        claim.close()
        return False
    return True


def _outcome(run: PlannedRun, code: int) -> tuple[str, str]:
    """(the first figure of a finished run, '') or ('', why it failed)."""
    if code:
        why = _died(code) or failures.read(run.folder) or _last_line(run) or f"exit code {code}"
        failures.note(run.folder, why)
        return "", f"{why} (complete output: {_log(run)})"
    record, why = records.read(run.folder, run.identity)
    if record is None:
        return "", (
            f"it ended without an error, but its record in {run.folder} is {why}; if options, data or code have "
            "changed since it started, repeat the command"
        )
    name, figure = next(iter(record.result["metrics"].items()))
    return f"{name} {figure['value']:.4f}" if figure["value"] is not None else f"{name} -", ""


def _died(code: int) -> str:
    """Which signal ended a process with this exit code; '' if none did."""
    number = -code if code < 0 else code - 128  # as shells and launchers report signals
    if number == signal.SIGINT or number not in set(signal.Signals):
        return ""
    hint = "; perhaps it ran out of memory: lower --jobs or batch sizes" if number == signal.SIGKILL else ""
    return f"it was ended by {signal.Signals(number).name}{hint}"


def _last_line(run: PlannedRun) -> str:
    try:
        lines = _log(run).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip().removeprefix("error: ") if lines else ""


def _start(run: PlannedRun, jobs: int) -> subprocess.Popen:
    words = command(run)
    if words[0] == "python":  # the interpreter of this process, not the first one on the PATH
        words[0] = sys.executable
    elif words[:2] == ["accelerate", "launch"]:
        words[:2] = [sys.executable, "-m", "accelerate.commands.launch"]
    environment = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
    if VISIBLE_GPUS is not None:
        environment["CUDA_VISIBLE_DEVICES"] = VISIBLE_GPUS
    if jobs > 1 and "show_progress" not in run.options:
        words.append("--show_progress=False")
    threads = str(PlaceOptions.of(run.config).threads)
    environment |= {PARENT: str(os.getpid()), **dict.fromkeys(VARIABLES, threads)}  # before any library is loaded
    failures.clear(run.folder)
    with open(_log(run), "wb") as log:
        bars = jobs == 1 and sys.stderr.isatty()
        return subprocess.Popen(words, stdout=log, stderr=None if bars else subprocess.STDOUT, env=environment)


def _log(run: PlannedRun) -> Path:
    return run.folder / "terminal.log"
