"""A run as an executor sees it: a command line, what it takes, and the folder in which it leaves its record."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from recbole_conrec.cluster.resources import Resources
from recbole_conrec.utils.yaml_files import parse_value


@dataclass(frozen=True, eq=False)
class Task:
    """One run, which any process that sees its files can execute. It can be pickled.

    Attributes:
        name: as it is printed, '<method> on <data set>, seed <seed>'.
        words: its command line; a first word ``python`` is the interpreter of whoever starts it.
        folder: of the run, in ``checkpoint_dir``.
        checkpoint_dir: folder of runs, as the driver gives it.
        data: the folder of the data set's files, as the driver sees it.
        resources: what it takes.
        threads: of the run.
        gpu_ids: the GPUs that the user allows, as in CUDA_VISIBLE_DEVICES; '' for none, None for any.
        cheap: whether it is so short that a process with all imports done should be forked for it.
        in_place: whether it works only where the driver's files are seen.
        recorded: options about the place of the run as a run of the driver's machine records them.
    """

    name: str
    words: tuple[str, ...]
    folder: Path
    checkpoint_dir: Path
    data: Path
    resources: Resources = field(default_factory=Resources)
    threads: int = 1
    gpu_ids: str | None = None
    cheap: bool = False
    in_place: bool = False
    recorded: dict[str, Any] = field(default_factory=dict)

    @property
    def gpus(self) -> float:
        """The share of a GPU, or number of GPUs, that it takes."""
        return 0 if self.gpu_ids == "" else self.resources.gpus or 0

    @property
    def log(self) -> Path:
        """The file that gets what the run prints."""
        return self.folder / LOG


LOG = "terminal.log"


@dataclass(frozen=True)
class Ended:
    """How the attempt at a task ended.

    Attributes:
        code: exit code of its process; negative: the signal that ended it.
        why: why it failed, where that is not in the run's folder.
        node, node_id: where it ran, for people and for the executor; '' for this machine.
        faulty_node: whether it failed by a fault of that node (a full disk), and may succeed on another.
        files: what it left in its folder, where the driver cannot see that: {path below the folder: content}.
    """

    code: int
    why: str = ""
    node: str = ""
    node_id: str = ""
    faulty_node: bool = False
    files: dict[str, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class State:
    """What a started task is doing.

    Attributes:
        where: node or GPU.
        since: when it began to run, seconds since the epoch; None while it waits in a queue.
        note: the last line of its log, or what happened to it.
    """

    where: str = ""
    since: float | None = None
    note: str = ""


class Executor(Protocol):
    """Starts tasks and says how they ended. Which one runs when is decided by what is behind it."""

    @property
    def width(self) -> float:
        """About how many tasks run at a time, for estimates."""

    def takes(self, task: Task) -> bool:
        """Whether it would start (or queue) this task now."""

    def start(self, task: Task) -> None:
        """Start it, or put it into a queue."""

    def ended(self) -> list[tuple[Task, Ended]]:
        """The tasks that have ended since the last call."""

    def states(self) -> dict[Task, State]:
        """The tasks that were started and have not ended."""

    def stop(self) -> None:
        """End all tasks; those that can resume will."""

    def close(self) -> None:
        """Release what it holds; nothing is running any more."""


@contextlib.contextmanager
def in_use(executor: Executor) -> Iterator[None]:
    """Ends the executor's tasks if the body fails, and then releases what it holds."""
    try:
        yield
    except BaseException:
        executor.stop()
        raise
    finally:
        executor.close()


def command_line(start: list[str], options: dict[str, Any]) -> list[str]:
    """The words of a command that runs this package with these options."""
    return [*start, "-m", "recbole_conrec", *(f"--{key}={text(value)}" for key, value in options.items())]


def text(value: Any) -> str:
    """A value as text that the command line reads as the same value."""
    same = isinstance(value, str) and value.strip() == value and parse_value(value) == value
    return value if same else json.dumps(value, default=str)
