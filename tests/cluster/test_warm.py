"""Short runs are forked from one process, and are what they would be in a process of their own."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from recbole_conrec.cluster.local import LocalExecutor
from recbole_conrec.cluster.process import start_process
from recbole_conrec.cluster.task import State
from recbole_conrec.cluster.warm import WarmServer
from recbole_conrec.leaderboard import schedule
from recbole_conrec.runs import records

pytestmark = pytest.mark.slow


def same(one, two) -> None:
    """Two records hold the same figures, instance by instance, and differ in nothing that decides them."""
    for key in ("metrics", "valid", "seed", "identity", "data_fingerprint", "instances", "versions", "hardware"):
        assert one.result[key] == two.result[key], key
    for part in ("outcomes", "facts"):
        mine, other = getattr(one, part)(), getattr(two, part)()
        assert mine.keys() == other.keys()
        assert all(np.array_equal(mine[name], other[name], equal_nan=True) for name in mine)


def read(run):
    record, why = records.read(run.folder, run.identity)
    assert record, why
    return record


def test_a_forked_run_is_a_run_of_its_own(board, recorded, tmp_path):
    """The records are those that this process made; the last fork's is, peak memory included, that of a process
    started for it alone; the imports are paid once.
    """
    runs = [run for run in board.runs if run.seed == 5]
    executor, seen = LocalExecutor(1), []
    watch = lambda waiting, running: seen.append(dict(running))  # noqa: E731
    assert schedule.execute(runs, executor, print, watch) == {}
    assert all(any(states.get(run, State()).since for states in seen) for run in runs) and executor.states() == {}
    alone = board.narrow(checkpoint_dir=str(tmp_path / "alone"), seeds=[5])
    known = [run for run in recorded[1].runs if run.seed == 5]
    for forked, run, there in zip(runs, alone.runs, known, strict=True):
        assert schedule.task_of(run).cheap
        same(read(forked), read(there))
    # by way of a shell: what this process holds would count as the peak of one that it starts itself
    words = [sys.executable, *schedule.task_of(run).words[1:]]
    subprocess.run(["sh", "-c", f"{shlex.join(words)}; exit $?"], check=True, stdout=subprocess.DEVNULL)
    one, two = read(forked), read(run)
    same(one, two)
    peaks = [record.result["cost"]["peak_mb"] for record in (one, two)]
    assert peaks[0] == pytest.approx(peaks[1], rel=0.2), peaks


def test_a_fork_shares_nothing_and_its_death_is_its_own(board, tmp_path, quick_boards):
    """The environment and the log are the run's; a killed fork is reported, and the next one runs."""
    server = WarmServer()
    first, second = (schedule.task_of(run) for run in board.runs[:2])
    environment = dict(os.environ)
    (tmp_path / "first").mkdir()
    bad = server.start(
        ["--model=Pop", "--dataset=absent"], environment, tmp_path / "first", tmp_path / "bad.log", False
    )
    assert bad.wait(120) == 2 and "absent" in (tmp_path / "bad.log").read_text()
    killed = start_process(first, None, server)
    killed.kill()
    assert killed.wait(60) == -signal.SIGKILL
    again = start_process(second, None, server)
    assert again.wait(120) == 0
    server.close()
    assert json.loads((second.folder / records.RESULT).read_text())["seed"] == 5


def test_runs_of_a_dead_server_are_dead(board, quick_boards):
    server = WarmServer()
    run = start_process(schedule.task_of(board.runs[0]), None, server)
    run._process.kill()
    end = time.monotonic() + 30
    while run.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert run.poll() == -signal.SIGKILL
    server.close()
