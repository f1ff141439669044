"""Locks of folders: exclusive, never stale, and an error where there are none."""

import errno
import fcntl
import multiprocessing
import os
import signal
import threading
import time

import pytest

from recbole_conrec.runs import lock
from recbole_conrec.utils.errors import UserError


def _hold(folder, held):
    with lock.hold(folder):
        held.send("held")
        signal.pause()


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of tmp_path."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_hold, args=(tmp_path, there))
    process.start()
    assert here.recv() == "held"
    yield process
    process.kill()
    process.join()


def test_a_lock_ends_with_its_process(tmp_path, holder):
    assert lock.is_held(tmp_path)
    with pytest.raises(lock.BusyError, match=f"process {holder.pid} on"), lock.hold(tmp_path, patience=0.2):
        pytest.fail("two processes hold one lock")
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    assert not lock.is_held(tmp_path)
    with lock.hold(tmp_path, patience=0):
        assert lock.is_held(tmp_path)
    assert not lock.is_held(tmp_path) and (tmp_path / lock.RUN).exists()


def test_a_lock_is_waited_for(tmp_path, holder):
    threading.Timer(0.3, holder.kill).start()
    started = time.monotonic()
    with lock.hold(tmp_path, patience=20):
        assert 0.2 < time.monotonic() - started < 10


def test_a_folder_in_which_nothing_ran_is_left_alone(tmp_path):
    assert not lock.is_held(tmp_path) and not lock.is_held(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch, code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(UserError, match=f"{tmp_path}: its file system has no locks"), lock.hold(tmp_path):
        pytest.fail("there is no lock")
    with pytest.raises(UserError, match="give each machine its own checkpoint_dir"):
        lock.is_held(tmp_path)
