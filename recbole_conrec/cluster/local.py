"""Tasks as processes of this machine, spread over its GPUs."""

import sys
import time
from collections.abc import Callable

from recbole_conrec.cluster.devices import Device, Placement, list_devices
from recbole_conrec.cluster.process import Process, last_line, start_process, stop_processes
from recbole_conrec.cluster.task import Ended, State, Task
from recbole_conrec.cluster.warm import WarmServer


class LocalExecutor:
    """One process each, also where they run one after the other: a run's peak memory is then its own, and a run that
    crashes does not end the others.

    Args:
        jobs: processes at a time.
        visible: the GPUs that may be used, as in CUDA_VISIBLE_DEVICES when this process was started; None: all.
        look: lists GPUs; default: those of this machine.
    """

    def __init__(self, jobs: int, visible: str | None = None, look: Callable[[], list[Device]] | None = None):
        self.width: float = jobs
        self._visible = visible
        self._placement = Placement(look or (lambda: list_devices(visible)))
        self._running: dict[Task, tuple[Process, State]] = {}
        self._chosen: dict[Task, str | None] = {}
        self._warm = WarmServer()

    def takes(self, task: Task) -> bool:
        """Whether there is a process left for it, and a GPU with its share."""
        if len(self._running) >= self.width:
            return False
        self._chosen[task] = chosen = self._choose(task)
        return chosen is not None or not self._placement

    def _choose(self, task: Task) -> str | None:
        if task.gpu_ids == "":
            return ""
        if not self._placement:  # nobody says what there is: as the user says
            return task.gpu_ids if task.gpu_ids is not None else self._visible
        return self._placement.choose(task.gpus, task.gpu_ids)

    def start(self, task: Task) -> None:
        """Start its process; :meth:`takes` was asked just before."""
        gpus = self._chosen.pop(task)
        bars = self.width == 1 and sys.stderr is not None and sys.stderr.isatty()
        process = start_process(task, gpus, self._warm, bars)
        placed = bool(gpus and self._placement)
        if placed:
            self._placement.hold(task, task.gpus, str(gpus))
        self._running[task] = process, State(f"GPU {gpus}" if placed else "", time.time())

    def ended(self) -> list[tuple[Task, Ended]]:
        """See :class:`recbole_conrec.cluster.task.Executor`."""
        out = []
        for task, (process, _) in list(self._running.items()):
            if (code := process.poll()) is not None:
                del self._running[task]
                self._placement.release(task)
                out.append((task, Ended(code)))
        return out

    def states(self) -> dict[Task, State]:
        """See :class:`recbole_conrec.cluster.task.Executor`."""
        return {
            task: State(state.where, state.since, last_line(task.folder / "run.log"))
            for task, (_, state) in self._running.items()
        }

    def stop(self) -> None:
        """End all processes."""
        stop_processes([process for process, _ in self._running.values()])
        self._running.clear()

    def close(self) -> None:
        """End the process that forks."""
        self._warm.close()
