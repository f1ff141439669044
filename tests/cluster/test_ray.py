"""Boards on Ray: the records of one machine, whatever dies. One cluster of this machine for all tests."""

import dataclasses
import os
import shlex
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from recbole_conrec.cluster.on_ray import RayExecutor
from recbole_conrec.cluster.resources import Resources
from recbole_conrec.cluster.task import Task
from recbole_conrec.leaderboard import schedule
from recbole_conrec.runs import records

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow
STORE = 80 * 2**20


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster with one node of four processors; connected to."""
    from ray.cluster_utils import Cluster

    before = dict(os.environ)
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray would give way to all other processes
    os.environ["RECBOLE_CONREC_SCRATCH"] = str(tmp_path_factory.mktemp("scratch"))
    node = {"num_cpus": 4, "object_store_memory": STORE, "include_dashboard": False}
    quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000, "health_check_failure_threshold": 3}
    there = Cluster(initialize_head=True, head_node_args={**node, "_system_config": quick})
    ray.init(address=there.address, log_to_driver=False)
    yield there
    ray.shutdown()
    there.shutdown()
    for name in {*os.environ, *before}:
        os.environ.pop(name, None)
    os.environ.update(before)


class Pretended:
    """Runs in place of those of a board: shell commands that leave the records which the real runs have left."""

    def __init__(self, board, recorded, folder: Path):
        self.runs, self.folder = list(board.runs), folder
        self.sources = {str(run): one.folder for run, one in zip(board.runs, recorded[1].runs, strict=True)}
        self.before = dict.fromkeys(self.sources, "true")
        self.resources: dict[str, Resources] = {}

    def task(self, run, quiet=False):
        source, target = self.sources[str(run)], run.folder
        leave = f"cp {source}/outcomes.parquet {target}/ && cp {source}/result.json {target}/.new"
        leave = f"echo '{run}' >> {self.folder}/counted && {leave} && mv {target}/.new {target}/result.json"
        # as a run does it: one process at a time, and 75 where another one is at it
        locked = f"flock -n -E 75 {target}/lock sh -c {shlex.quote(leave)}"
        words = ("sh", "-c", f"{self.before[str(run)]}; {locked}")
        task = Task(str(run), words, target, target.parent.parent, self.folder)
        return dataclasses.replace(task, resources=self.resources.get(str(run), Resources(cpus=1)))

    def counted(self) -> list[str]:
        return (self.folder / "counted").read_text().splitlines()


@pytest.fixture
def pretended(board, recorded, tmp_path, monkeypatch):
    """Six runs in place of the board's."""
    runs = Pretended(board, recorded, tmp_path)
    monkeypatch.setattr(schedule, "task_of", runs.task)
    return runs


def execute(runs, said=None, **options):
    report = (said if said is not None else []).append
    return schedule.execute(runs, RayExecutor(None, report, **options), report)


def complete(pretended) -> bool:
    """Every run has its record, and was counted once."""
    there = [records.read(run.folder, run.identity)[0] for run in pretended.runs]
    return all(there) and sorted(pretended.counted()) == sorted(map(str, pretended.runs))


def wait(until, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize(("shared", "method"), [(None, "Pop"), (False, "Swing")])
def test_real_runs_leave_the_records_of_one_machine(cluster, board, recorded, shared, method):
    """To the last bit, with a file system that all nodes see, and without: data go and records come back."""
    runs, there = (
        [run for run in one.runs if (run.seed, run.method.name) == (5, method)] for one in (board, recorded[1])
    )
    assert len(runs) == 1
    said: list[str] = []
    assert execute(runs, said, shared=shared) == {}
    for run, other in zip(runs, there, strict=True):
        one, two = (records.read(each.folder, each.identity)[0] for each in (run, other))
        for key in ("metrics", "valid", "seed", "data_fingerprint", "hardware", "versions"):
            assert one.result[key] == two.result[key]
        assert one.result["config"]["checkpoint_dir"] == run.config["checkpoint_dir"]
        assert one.result["config"]["data_path"] == two.result["config"]["data_path"]
        mine, known = one.outcomes(), two.outcomes()
        assert all(np.array_equal(mine[name], known[name], equal_nan=True) for name in known)
        assert (run.folder / "model.safetensors").read_bytes() == (other.folder / "model.safetensors").read_bytes()
    assert not list(runs[0].folder.parent.parent.glob(".cluster-*"))


def test_a_killed_worker(cluster, pretended):
    mark = pretended.folder / "mark"
    pretended.before[str(pretended.runs[2])] = f"[ -e {mark} ] || {{ touch {mark}; kill -9 $PPID; exit 1; }}"
    assert execute(pretended.runs) == {} and mark.exists() and complete(pretended)


def test_a_worker_that_dies_every_time_is_a_failure_and_nothing_else_is(cluster, pretended):
    bad = pretended.runs[0]
    pretended.before[str(bad)] = "kill -9 $PPID; exit 1"
    failed = execute(pretended.runs, retries=1)
    assert set(failed) == {bad} and "its worker or node died 2 times" in failed[bad]
    pretended.before[str(bad)] = "true"
    assert execute([bad]) == {} and complete(pretended)


def test_a_killed_node(cluster, pretended):
    """The run on it begins again on another node; the others go on."""
    lost = cluster.add_node(num_cpus=8, object_store_memory=STORE)
    run, mark = pretended.runs[1], pretended.folder / "mark"
    pretended.resources[str(run)] = Resources(cpus=6)  # fits on that node alone
    pretended.before[str(run)] = f"[ -e {mark} ] || {{ touch {mark}; sleep 30; exit 1; }}"
    with ThreadPoolExecutor(1) as board:
        failed = board.submit(execute, pretended.runs)
        wait(mark.exists)
        cluster.remove_node(lost, allow_graceful=False)
        other = cluster.add_node(num_cpus=8, object_store_memory=STORE)
        assert failed.result(120) == {} and complete(pretended)
    cluster.remove_node(other)


def test_a_run_that_always_fails_is_tried_once_and_then_again_by_the_same_command(cluster, pretended):
    bad = pretended.runs[3]
    pretended.before[str(bad)] = f"echo bad >> {pretended.folder}/tries; echo 'error: no such luck'; exit 3"
    failed = execute(pretended.runs)
    assert set(failed) == {bad} and "no such luck" in failed[bad]
    assert (pretended.folder / "tries").read_text() == "bad\n"
    pretended.before[str(bad)] = "true"
    left = schedule.missing(pretended.runs, print)
    assert left == [bad] and execute(left) == {} and complete(pretended)


def test_a_straggler_holds_nothing_up(cluster, pretended):
    slow = pretended.runs[0]
    pretended.before[str(slow)] = "sleep 2"
    said: list[str] = []
    assert execute(pretended.runs, said) == {} and complete(pretended)
    done = [line for line in said if line.startswith("[")]
    assert f"{slow}: " in done[-1] and len(done) == 6


def test_a_full_disk_of_one_node(cluster, pretended):
    """A real one, of a few pages: what was sent to that node goes to another one."""
    disk = pretended.folder / "full"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", disk], check=False).returncode:
        pytest.skip("no right to mount a file system")
    full = cluster.add_node(num_cpus=4, object_store_memory=STORE, env_vars={"RECBOLE_CONREC_SCRATCH": str(disk)})
    data = pretended.folder / "data"
    data.mkdir()
    (data / "data.inter").write_bytes(b"x" * 50_000)
    said: list[str] = []
    executor = RayExecutor(None, said.append, shared=False)
    result = "echo found > saved/folder/found"
    words = ("sh", "-c", f"{result}; true")
    task = Task("run", words, pretended.folder / "saved/folder", pretended.folder / "saved", data, Resources(cpus=1))
    try:
        executor._submit(task, _id(cluster, full))
        ended: list = []
        wait(lambda: ended.extend(executor.ended()) or ended)
        ((_, how),) = ended
        assert how.code == 0 and how.node_id != _id(cluster, full), how
        assert "No space left" in said[-1] and "it goes to another node" in said[-1]
        assert (pretended.folder / "saved/folder/found").read_text() == "found\n"
    finally:
        executor.close()
        cluster.remove_node(full)
        subprocess.run(["umount", disk], check=True)


def _id(cluster, node) -> str:
    return next(one["NodeID"] for one in ray.nodes() if one["ObjectStoreSocketName"] == node.plasma_store_socket_name)


DRIVER = """
import sys, time
from pathlib import Path
import ray
from recbole_conrec.cluster.on_ray import RayExecutor
from recbole_conrec.cluster.resources import Resources
from recbole_conrec.cluster.task import Task

folder = Path(sys.argv[2])
ray.init(address=sys.argv[1], log_to_driver=False)
executor = RayExecutor(None, print, shared=True)
words = (sys.executable, "-c", sys.argv[3])
executor.start(Task("run", words, folder / "saved" / "a", folder / "saved", folder, Resources(cpus=1)))
while True:
    executor.ended()
    time.sleep(0.1)
"""
RUN = """
import os, time
from recbole_conrec.utils.processes import end_with_parent
end_with_parent()
open({mark!r}, "w").write(str(os.getpid()))
time.sleep(120)
"""


def test_a_killed_driver_leaves_nothing_running(cluster, pretended):
    """Its runs end, and the same command resumes."""
    mark = pretended.folder / "pid"
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, cluster.address, str(pretended.folder), RUN.format(mark=str(mark))],
        stdout=subprocess.DEVNULL,
    )
    wait(lambda: mark.exists() and mark.read_text())
    pid = int(mark.read_text())
    assert psutil.pid_exists(pid)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    wait(lambda: not psutil.pid_exists(pid))
    assert execute(pretended.runs) == {} and complete(pretended)
