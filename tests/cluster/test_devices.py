"""Which GPUs runs get, on machines that are made up."""

import subprocess

import pytest

from recbole_conrec.cluster import devices, local
from recbole_conrec.cluster.devices import Device, Placement, list_devices
from recbole_conrec.cluster.local import LocalExecutor
from recbole_conrec.cluster.resources import Resources, in_bytes
from recbole_conrec.cluster.task import Task

SERVER = [Device(str(n), 80_000, 80_000) for n in range(8)]


def test_eight_runs_on_eight_gpus_and_quarters_fill_them():
    placement = Placement(lambda: SERVER)
    got = []
    for n in range(8):
        got.append(placement.choose(1))
        placement.hold(n, 1, got[-1])
    assert sorted(got) == [str(n) for n in range(8)]
    assert placement.choose(1) is None and placement.choose(0.25) is None
    placement.release(3)
    for n in range(4):
        assert placement.choose(0.25) == "3"
        placement.hold(f"quarter {n}", 0.25, "3")
    assert placement.choose(0.25) is None and placement.choose(0) == ""


def test_small_shares_are_spread_before_gpus_are_shared():
    placement = Placement(lambda: SERVER)
    got = []
    for n in range(16):
        got.append(placement.choose(0.5))
        placement.hold(n, 0.5, got[-1])
    assert sorted(got[:8]) == sorted(got[8:]) == [str(n) for n in range(8)]


def test_memory_that_others_hold_counts():
    there = [Device("0", 80_000, 10_000), Device("1", 80_000, 60_000), Device("2", 40_000, 40_000)]
    placement = Placement(lambda: there)
    assert placement.choose(0.5) == "1" and placement.choose(1, allowed="0") == "0"  # no run of the board: it starts
    placement.hold("first", 0.5, "1")
    assert placement.choose(0.5) == "2"  # on 1 others hold 20,000, and ours may still take its 40,000
    placement.hold("second", 1, "2")
    assert placement.choose(0.5) is None and placement.choose(0.5, allowed="0") is None
    assert placement.choose(0.1) == "1"


def test_several_gpus_and_what_is_allowed():
    placement = Placement(lambda: SERVER)
    assert placement.choose(4) == "0,1,2,3" and placement.choose(2, allowed="5, 6,7") == "5,6"
    assert placement.choose(16) == ",".join(map(str, range(8)))  # as many as there are
    for n in range(5):
        placement.hold(n, 0.1, str(n))
    assert placement.choose(4) is None and placement.choose(3) == "5,6,7"


def test_what_the_driver_says(monkeypatch):
    printed = "0, GPU-aa11, 81559, 80000\n1, GPU-bb22, 81559, 500\n"

    def answer(*_, **__):
        return subprocess.CompletedProcess([], 0, printed)

    monkeypatch.setattr(devices.subprocess, "run", answer)
    assert list_devices(None) == [Device("0", 81559, 80000), Device("1", 81559, 500)]
    assert list_devices("1") == [Device("1", 81559, 500)] and list_devices("GPU-aa") == [Device("GPU-aa", 81559, 80000)]
    assert list_devices("MIG-1/2") == [] and list_devices("") == []
    printed = "0, GPU-aa11, [N/A], [N/A]\n"
    assert list_devices(None) == []

    def absent(*_, **__):
        raise FileNotFoundError("nvidia-smi")

    monkeypatch.setattr(devices.subprocess, "run", absent)
    assert list_devices(None) == []


class Fake:
    """A process that ends on request."""

    def __init__(self):
        self.code = None

    def poll(self):
        return self.code


def tasks(tmp_path, *gpus, **more):
    return [
        Task(f"run {n}", ("python",), tmp_path, tmp_path, tmp_path, Resources(gpus=share), **more)
        for n, share in enumerate(gpus)
    ]


def test_every_process_sees_its_own_gpus(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(local, "start_process", lambda task, gpus, *_: started.append((task, gpus, Fake())) or Fake())
    executor = LocalExecutor(3, None, lambda: SERVER[:2])
    one, half, counting, other = tasks(tmp_path, 1, 0.5, 0, 1)
    for task in (one, half, counting):
        assert executor.takes(task)
        executor.start(task)
    assert [gpus for _, gpus, _ in started] == ["0", "1", ""]
    assert not executor.takes(other)  # three jobs
    assert {state.where for state in executor.states().values()} == {"GPU 0", "GPU 1", ""}


def test_a_run_waits_for_a_gpu_and_gets_the_one_that_ends_first(tmp_path, monkeypatch):
    made = {}
    monkeypatch.setattr(local, "start_process", lambda task, gpus, *_: made.setdefault(task, Fake()))
    executor = LocalExecutor(9, None, lambda: SERVER[:2])
    first, second, third = tasks(tmp_path, 1, 1, 1)
    for task in (first, second):
        assert executor.takes(task)
        executor.start(task)
    assert not executor.takes(third) and executor.ended() == []
    made[second].code = 0
    assert [task for task, _ in executor.ended()] == [second]
    assert executor.takes(third)
    executor.start(third)
    assert executor.states()[third].where == "GPU 1"


@pytest.mark.parametrize(
    ("visible", "asked", "seen"), [("3", None, "3"), (None, "2", "2"), ("3", "", ""), (None, None, None)]
)
def test_without_word_of_the_driver_the_user_decides(tmp_path, monkeypatch, visible, asked, seen):
    started = []
    monkeypatch.setattr(local, "start_process", lambda task, gpus, *_: started.append(gpus) or Fake())
    executor = LocalExecutor(1, visible, list)
    (task,) = tasks(tmp_path, 1, gpu_ids=asked)
    assert executor.takes(task)
    executor.start(task)
    assert started == [seen]


def test_sizes():
    assert in_bytes("4GB") == in_bytes("4 GiB") == in_bytes("4096M") == 4 * 2**30 and in_bytes("100") == 100
    for wrong in ("4 apples", "", "0GB", "-1GB"):
        with pytest.raises(ValueError, match="is no size; expected one such as 4GB"):
            in_bytes(wrong)
