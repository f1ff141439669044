"""Runs the runs of a board that have no record, each (data set, seed, method) once, by an executor of cluster/."""

import contextlib
import json
import shlex
import signal
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recbole_conrec.cluster.families import counts_only, default_resources
from recbole_conrec.cluster.process import last_line
from recbole_conrec.cluster.task import LOG, Ended, Executor, State, Task, command_line, in_use
from recbole_conrec.evaluation.table import seconds
from recbole_conrec.leaderboard.board import PlannedRun
from recbole_conrec.runs import failures, lock, records
from recbole_conrec.runs.identity import WHERE, folder_name, plain
from recbole_conrec.runs.options import ChoiceOptions, PlaceOptions

BUSY = lock.BusyError.exit_code
POLL, WAIT = 0.1, 5.0  # seconds between two checks of our processes, and of runs of other processes


def command(run: PlannedRun) -> list[str]:
    """The command that trains and records this run, for any shell, scheduler or machine."""
    return _words(run, run.options)


def _words(run: PlannedRun, options: dict[str, Any]) -> list[str]:
    start = shlex.split(run.method.launch) if run.method.launch else ["python"]
    return command_line(start, {"model": run.method.model, "dataset": run.dataset, **options})


def missing(runs: list[PlannedRun], report: Callable[[str], None]) -> list[PlannedRun]:
    """The runs without a record; corrupt records are reported."""
    out = []
    for run in runs:
        if run.unavailable:
            continue
        record, why = run.read()
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
            pattern = f"{folder_name(run.config)}-*/{records.RESULT}"
            options = _compared(json.loads(json.dumps(plain(run.config), default=str)))
            times = [t for file in run.folder.parent.glob(pattern) if (t := _seconds_of(file, options)) is not None]
            guess = None if run.method.minutes is None else run.method.minutes * 60
            seen[key] = statistics.median(times) if times else guess
    return {run: seen[run.dataset, run.method.name] for run in runs}


def _compared(config: dict) -> dict:
    """The options that the time of a run depends on."""
    return {key: value for key, value in config.items() if key not in {*WHERE, "seed", "method"}}


def _seconds_of(file: Path, options: dict) -> float | None:
    """Seconds of a recorded run; None if it had other options or is corrupt (`missing` reports it)."""
    record, _ = records.read(file.parent)
    if record is None or _compared(record.result["config"]) != options:
        return None
    return record.result["cost"]["fit_s"] + record.result["cost"]["eval_s"]


def task_of(run: PlannedRun, quiet: bool = False) -> Task:
    """The run as an executor sees it; ``quiet``: without progress bars, unless the user asks for them."""
    place, network = PlaceOptions.of(run.config), ChoiceOptions.of(run.config).network
    launch = run.method.launch
    none = not place.use_gpu or run.options.get("gpu_id") == ""
    options = {key: value for key, value in run.options.items() if key != "gpu_id" or value == ""}
    if quiet and "show_progress" not in options:
        options["show_progress"] = False
    recorded = {key: getattr(place, key) for key in ("data_path", "checkpoint_dir")}
    return Task(
        name=str(run),
        words=tuple(_words(run, options)),
        folder=run.folder,
        checkpoint_dir=Path(place.checkpoint_dir),
        data=Path(place.data_path),
        resources=run.method.resources.over(default_resources(network, place.threads, launch)),
        threads=place.threads,
        gpu_ids="" if none else run.options.get("gpu_id"),
        cheap=counts_only(network) and not launch,
        recorded=recorded,
    )


def execute(
    runs: list[PlannedRun],
    executor: Executor,
    report: Callable[[str], None],
    watch: Callable[[list[PlannedRun], dict[PlannedRun, State]], None] = lambda waiting, running: None,
) -> dict[PlannedRun, str]:
    """Start runs, as many at a time as the executor takes, until each has a record or has failed.

    A run that another process is already training is waited for, and started here if it fails there.

    Args:
        runs: without records.
        executor: starts them.
        report: is called with one line about each run.
        watch: is called often, with the runs that wait and what the others are doing.

    Returns {run: why it failed}.
    """
    waiting, failed = list(runs), {}
    tasks = {run: task_of(run, quiet=executor.width > 1) for run in runs}
    running: dict[Task, tuple[PlannedRun, contextlib.ExitStack, float]] = {}
    later: dict[PlannedRun, float] = {}  # when to check a run of another process again
    expected, done = expected_seconds(runs), 0
    with in_use(executor):
        while waiting or running:
            for run in [one for one in waiting if later.get(one, 0) < time.monotonic()]:
                if not executor.takes(tasks[run]):
                    continue
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
                    failures.clear(run.folder)
                    executor.start(tasks[run])
                    running[tasks[run]] = run, claim, time.monotonic()
            for task, ended in executor.ended():
                run, claim, started = running.pop(task)
                claim.close()
                if ended.code == BUSY:
                    waiting.append(run)
                    continue
                done += 1
                figure, why = _outcome(run, ended)
                if why:
                    failed[run] = why
                left = sum(expected[one] or 0 for one in [*waiting, *(one for one, *_ in running.values())])
                report(
                    f"[{done}/{len(runs)}] {run}: {why or figure} in {seconds(time.monotonic() - started)}"
                    + (f" on {ended.node}" if ended.node else "")
                    + (f", about {seconds(left / executor.width)} to go" if left else "")
                )
            states = executor.states()
            watch(waiting, {run: states.get(task, State()) for task, (run, *_) in running.items()})
            time.sleep(POLL)
    return failed


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


def _outcome(run: PlannedRun, ended: Ended) -> tuple[str, str]:
    """(the first figure of a finished run, '') or ('', why it failed)."""
    if ended.code or ended.why:
        why = ended.why or _died(ended.code) or failures.read(run.folder) or last_line(run.folder / LOG)
        why = why or f"exit code {ended.code}"
        failures.note(run.folder, why)
        return "", f"{why} (complete output: {run.folder / LOG})"
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
