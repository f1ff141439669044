"""A process that has imported what short runs need, and forks a process for each of them.

The imports, which take longer than counting does, are paid once. A run in a fork shares no state with another one: it
has memory, random state, environment and peak memory of its own, as in a process started for it alone.

Protocol, one line each: a request {"id", "words", "environment", "folder", "log", "bars"} as JSON on the server's
standard input; answers "ID pid PID" and "ID code CODE" on its standard output. It ends with its input.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import random
import runpy
import select
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

PRELOADED = ("recbole_conrec.cli", "recbole_conrec.commands", "recbole_conrec.runs.runner", "recbole_conrec.model.pop")
POLL = 0.05  # seconds between two looks at children
POPULATE_READ = 22  # MADV_POPULATE_READ of Linux
GRACE = 60.0  # seconds in which a request has to be answered by a process id


class WarmServer:
    """The server as its owner sees it; started by the first run."""

    def __init__(self):
        self._process: subprocess.Popen | None = None
        self._buffer = b""
        self._runs = 0
        self._answers: dict[int, dict[str, int]] = {}

    def start(self, words: list[str], environment: dict[str, str], folder: Path, log: Path, bars: bool) -> "WarmRun":
        """Start ``python -m recbole_conrec WORDS`` in a fork.

        Args:
            environment: its whole environment.
            folder: its current folder.
            log: gets its output; with ``bars`` its errors go to the terminal.
        """
        if self._process is None or self._process.poll() is not None:
            self._buffer = b""
            self._process = subprocess.Popen(
                [sys.executable, "-m", "recbole_conrec.cluster.warm"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                cwd=folder,
            )
        self._runs += 1
        self._answers[self._runs] = {}
        request = {"id": self._runs, "words": words, "environment": environment, "folder": str(folder)}
        request |= {"log": str(log.absolute()), "bars": bars}
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # then `code` finds it dead
            self._process.stdin.write(f"{json.dumps(request)}\n".encode())
            self._process.stdin.flush()
        return WarmRun(self, self._process, self._runs)

    def answer(self, process: subprocess.Popen, number: int, what: str, patience: float = 0.0) -> int | None:
        """``pid`` or ``code`` of a run; None if there is none yet. A dead server has killed its runs."""
        end = time.monotonic() + patience
        while what not in (known := self._answers[number]):
            if process is not self._process:
                return -signal.SIGKILL
            if not self._read(max(0.0, end - time.monotonic())):
                return None if what in known or process.poll() is None else -signal.SIGKILL
        return known[what]

    def _read(self, patience: float) -> bool:
        """Take in what the server has answered. Returns whether it was anything."""
        assert self._process is not None and self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], patience)[0]:
            return False
        part = os.read(self._process.stdout.fileno(), 65536)
        *lines, self._buffer = (self._buffer + part).split(b"\n")
        for line in lines:
            number, what, value = line.split()
            self._answers[int(number)][what.decode()] = int(value)
        return bool(part)

    def close(self) -> None:
        """End the server. Runs of it that still go end within a second."""
        if self._process is None:
            return
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE)
        self._process = None


class WarmRun:
    """A run of a WarmServer, with the methods of a Popen that are needed."""

    def __init__(self, server: WarmServer, process: subprocess.Popen, number: int):
        self._server, self._process, self._number = server, process, number

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._server.answer(self._process, self._number, "code")

    def wait(self, patience: float) -> int:
        """Its exit code. Raises subprocess.TimeoutExpired if it has none within ``patience`` seconds."""
        code = self._server.answer(self._process, self._number, "code", patience)
        if code is None:
            raise subprocess.TimeoutExpired("run", patience)
        return code

    def terminate(self) -> None:
        """Ask it to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        pid = self._server.answer(self._process, self._number, "pid", GRACE)
        if self.poll() is None and pid is not None and pid > 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def serve() -> None:
    """The server: import, then fork for every request until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the owner ends this one
    answers = os.dup(1)
    os.dup2(2, 1)  # nothing that an import prints is an answer
    for module in PRELOADED:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    resident = _resident()
    buffer, children, there = b"", {}, True
    while there:
        if select.select([0], [], [], POLL)[0]:
            part = os.read(0, 65536)
            there = bool(part)
            *lines, buffer = (buffer + part).split(b"\n")
            for line in lines:
                request = json.loads(line)
                if (pid := os.fork()) == 0:
                    os.close(answers)
                    _map(resident)
                    os._exit(_run(request))
                children[pid] = request["id"]
                os.write(answers, f"{request['id']} pid {pid}\n".encode())
        while children and (ended := os.waitpid(-1, os.WNOHANG))[0]:
            code = os.waitstatus_to_exitcode(ended[1])
            with contextlib.suppress(BrokenPipeError):
                os.write(answers, f"{children.pop(ended[0])} code {code}\n".encode())


def _resident() -> list[tuple[int, int]]:
    """(address, bytes in memory) of each mapped file of this process; [] where the system does not say."""
    out, start = [], 0
    try:
        lines = Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    for line in lines:
        words = line.split()
        if not words[0].endswith(":"):
            start = int(words[0].partition("-")[0], 16) if len(words) > 5 and words[5].startswith("/") else 0
        elif words[0] == "Rss:" and start and words[1] != "0":
            out.append((start, 1024 * int(words[1])))
    return out


def _map(resident: list[tuple[int, int]]) -> None:
    """Map as much of each file as the server has: a fork starts without, and would count less memory than a process of
    its own. (Linux before 5.14 refuses, and forks count less.)
    """
    if not resident:
        return
    advise = ctypes.CDLL(None).madvise
    for start, size in resident:
        advise(ctypes.c_void_p(start), ctypes.c_size_t(size), POPULATE_READ)


def _run(request: dict) -> int:
    """In the fork: what ``python -m recbole_conrec`` does. Returns the exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        nothing, log = (
            os.open(os.devnull, os.O_RDONLY),
            os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666),
        )
        os.dup2(nothing, 0)
        os.dup2(log, 1)
        if not request["bars"]:
            os.dup2(log, 2)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        sys.path[0] = request["folder"]
        sys.argv = ["recbole_conrec", *request["words"]]
        random.seed()
        runpy.run_module("recbole_conrec", run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    return code


if __name__ == "__main__":
    serve()
