"""Python commands in processes of their own that start at once: forked from one that has imported what they need.

To import torch, transformers and RecBole takes a new process several seconds. What is forked here has memory, folder,
environment, output and end of its own, too. Only where the start of the interpreter is what a test is about, a test
needs ``subprocess``.

done = forked.run(["script.py", "--option"], folder)      # as subprocess.run([sys.executable, ...], cwd=folder)
done = forked.run(["-m", "recbole_conrec", "--model=Pop"], folder, {"PYTHONPATH": "."})   # added to the environment
running = forked.start(["script.py"], folder); running.process.pid; done = running.wait()
"""

import contextlib
import fcntl
import importlib
import math
import multiprocessing
import os
import random
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from multiprocessing import reduction
from pathlib import Path

from recbole_conrec.cluster import warm

PRELOADED = (
    "recbole_conrec.commands",
    "recbole_conrec.leaderboard.commands",
    "recbole_conrec.model.conrec",
    "recbole_conrec.generative.trainer",
    "recbole_conrec.llm.grpo",
    "recbole_conrec.study.tuning",
    "recbole_conrec.runs.restore",
    "forked",
)
_inside = False  # whether this process was forked here
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(list(PRELOADED))


def run(words, folder, environment=None, *, patience: float = 400) -> subprocess.CompletedProcess:
    """``python WORDS`` to its end. See :func:`start`."""
    return start(words, folder, environment).wait(patience)


def start(words, folder, environment=None) -> "Running":
    """Start ``python WORDS``.

    Args:
        words: [-W ignore] and a script or ``-m MODULE``, and its arguments.
        folder: its current folder.
        environment: variables that it gets besides ours.
    """
    return Running(list(map(str, words)), Path(folder), {**os.environ, **(environment or {})})


class Running:
    """A process that was started. Attribute process: with pid, is_alive(), terminate(), kill()."""

    def __init__(self, words: list[str], folder: Path, environment: dict[str, str]):
        self._words = words
        self._files = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115 - closed by wait
        nothing = os.open(os.devnull, os.O_RDONLY)
        self.process = _process(
            _command, (words, environment, str(folder)), [nothing, *(f.fileno() for f in self._files)]
        )
        os.close(nothing)

    def wait(self, patience: float = 400) -> subprocess.CompletedProcess:
        """Its exit code and output, once it has ended."""
        self.process.join(patience)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        said = []
        for file in self._files:
            file.seek(0)
            said.append(file.read().decode(errors="replace"))
            file.close()
        return subprocess.CompletedProcess(self._words, self.process.exitcode, *said)


class Warm:
    """The module subprocess as cluster/warm.py sees it, whose Popen forks.

    monkeypatch.setattr(warm, "subprocess", forked.Warm())

    So the process from which a board forks its short runs is itself one that has everything imported.
    """

    class Popen:
        """The server of a WarmServer."""

        def __init__(self, words, stdin, stdout, env, cwd):
            assert words[1:] == ["-m", warm.__name__] and stdin == stdout == subprocess.PIPE
            (theirs, mine), (read, write) = os.pipe(), os.pipe()
            start = _Fork if _inside else _process
            self._process = start(_command, (words[1:], env, str(cwd)), [theirs, write, 2])
            self.pid = self._process.pid
            os.close(theirs)
            os.close(write)
            self.stdin, self.stdout = os.fdopen(mine, "wb", buffering=0), os.fdopen(read, "rb", buffering=0)

        def poll(self):
            return self._process.exitcode

        def wait(self, patience=None):
            self._process.join(patience)
            if self._process.exitcode is None:
                raise subprocess.TimeoutExpired("warm", patience)
            return self._process.exitcode

        def kill(self):
            self._process.kill()

    def __getattr__(self, name):
        return getattr(subprocess, name)


class _Fork:
    """What is needed of multiprocessing.Process, for a fork of a process that was forked."""

    def __init__(self, target, arguments, files):
        self._code = None
        self.pid = os.fork()
        if self.pid == 0:
            files = [fcntl.fcntl(number, fcntl.F_DUPFD, 100) for number in files]
            os.closerange(3, 100)
            target(*arguments, *files)

    @property
    def exitcode(self):
        if self._code is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if ended else None
        return self._code

    def join(self, patience):
        end = time.monotonic() + (math.inf if patience is None else patience)
        while self.exitcode is None and time.monotonic() < end:
            time.sleep(0.02)

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)


class _File:
    """The number of an open file, for another process."""

    def __init__(self, number: int):
        self.number = number

    def __reduce__(self):
        return _received, (reduction.DupFd(self.number),)


def _received(number) -> int:
    return number.detach()


def _process(target, arguments, files):
    process = _context.Process(target=target, args=(*arguments, *map(_File, files)))
    process.start()
    return process


def _command(words, environment, folder, *files) -> None:
    """In the fork: become ``python WORDS``."""
    global _inside
    _inside = True
    warm.subprocess = Warm()
    for target, number in enumerate(files):
        os.dup2(number, target)
        os.close(number)
    sys.stdin, sys.stdout, sys.stderr = (open(n, mode, closefd=False) for n, mode in enumerate("rww"))  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    random.seed()
    code = 1
    try:
        if words[:2] == ["-W", "ignore"]:
            warnings.simplefilter("ignore")
            words = words[2:]
        sys.path[:0] = environment.get("PYTHONPATH", "").split(os.pathsep)
        importlib.invalidate_caches()
        if words[0] == "-m":
            sys.path.insert(0, folder)
            sys.argv = words[1:]
            sys.modules.pop(words[1], None)
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.path.insert(0, str(Path(words[0]).resolve().parent))
            sys.argv = words
            runpy.run_path(words[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
