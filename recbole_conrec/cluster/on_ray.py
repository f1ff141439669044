"""Tasks on a Ray cluster: Ray decides what runs where and when, and starts again what dies with its worker or node.

For ray 2.6.3, which RecBole brings on Python 3.10 and 3.11, and for current versions (the extra ``ray``).
"""

import contextlib
import os
import time
import uuid
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recbole_conrec.cluster import node
from recbole_conrec.cluster.task import Ended, State, Task
from recbole_conrec.utils.errors import UserError

ADDRESS = "RAY_ADDRESS"  # environment variable of Ray's: the cluster to connect to
NICENESS = "RAY_worker_niceness"  # environment variable of Ray's, whose workers by default give way to other processes
QUEUE = 200  # tasks that Ray has at a time; the others wait here
EVERY = 2.0  # seconds between two looks at what runs


@dataclass(frozen=True)
class Shipped:
    """A data set in Ray's object store, which brings it to a node once."""

    reference: Any

    def __call__(self) -> dict[str, bytes]:
        """Its files."""
        return _ray().get(self.reference)


class Notes:
    """What tasks are doing, as their workers say; an actor."""

    def __init__(self):
        self._notes: dict[str, State] = {}
        self._attempts: dict[str, list[str]] = {}

    def note(self, name: str, attempt: str, where: str, text: str) -> None:
        """A worker is at a task. Another ``attempt`` than before: its last worker or node has died."""
        attempts = self._attempts.setdefault(name, [])
        if attempt not in attempts:
            attempts.append(attempt)
            self._notes[name] = State(where, time.time())
        again = f"attempt {len(attempts)} " if len(attempts) > 1 else ""
        self._notes[name] = replace(self._notes[name], note=f"{again}{text}")

    def read(self) -> dict[str, State]:
        """{name of a task: what it is doing}."""
        return self._notes


def work(task: Task, job: node.Job, notes: Any) -> Ended:
    """What a Ray worker does: run the task with the GPUs that Ray gives it."""
    attempt = uuid.uuid4().hex

    def note(where: str, text: str) -> None:
        notes.note.remote(task.name, attempt, where, text)

    ended = node.work(task, job, os.environ.get("CUDA_VISIBLE_DEVICES"), note)
    return replace(ended, node_id=_ray().get_runtime_context().get_node_id())


class RayExecutor:
    """A Ray cluster.

    Args:
        address: of a cluster, such as ``ray://HOST:10001`` or ``HOST:6379``; None: that of the environment, else a Ray
            of this machine that is started here and ends with us.
        report: is called with one line about what Ray does.
        retries: how often a task is started again whose worker or node dies.
        shared: whether all nodes see the driver's files; None: found out.
    """

    def __init__(
        self,
        address: str | None,
        report: Callable[[str], None],
        retries: int = 3,
        shared: bool | None = None,
    ):
        self._ray = ray = _ray()
        self._report, self._retries = report, retries
        self._ours = not ray.is_initialized()
        if self._ours:
            _connect(address)
        self._shared = shared
        self._work = ray.remote(work)
        self._notes = ray.remote(Notes).options(num_cpus=0, max_restarts=-1).remote()
        self._running: dict[Task, Any] = {}
        self._avoided: dict[Task, set[str]] = {}
        self._job: node.Job | None = None
        self._token: Path | None = None
        self._data: dict[str, Shipped] = {}
        self._states: dict[str, State] = {}
        self._looked = 0.0
        self._said: set[str] = set()

    @property
    def width(self) -> float:
        """The processors of the cluster, of which most runs take one."""
        return max(1.0, self._ray.cluster_resources().get("CPU", 1.0))

    def takes(self, task: Task) -> bool:
        """Whether Ray's queue takes it."""
        return len(self._running) < QUEUE

    def start(self, task: Task) -> None:
        """Give it to Ray."""
        self._submit(task)

    def _submit(self, task: Task, where: str | None = None) -> None:
        request: dict[str, Any] = {
            "num_cpus": task.resources.cpus or 1,
            "num_gpus": self._within(task, "GPU", task.gpus),
            "max_retries": self._retries,
            "name": task.name,
        }
        if task.resources.bytes:
            request["memory"] = self._within(task, "memory", task.resources.bytes)
        if where is not None:
            strategies = self._ray.util.scheduling_strategies
            request["scheduling_strategy"] = strategies.NodeAffinitySchedulingStrategy(where, soft=True)
        self._running[task] = self._work.options(**request).remote(task, self._job_of(task), self._notes)

    def _within(self, task: Task, kind: str, wanted: float) -> float:
        """What a task asks for, at most what one node has: else it would wait for ever."""
        most = max((one["Resources"].get(kind, 0) for one in self._nodes()), default=0)
        if wanted <= most:
            return wanted
        if kind == "GPU" and not most:
            self._say("the cluster has no GPU: runs train on processors")
        else:
            size = f"{most / 2**30:.1f} GB of memory" if kind == "memory" else f"{most:g} GPUs"
            self._say(f"{task.name} asks for more than any node has; it gets the {size} of the largest one")
        return int(most) if kind == "memory" else most

    def _job_of(self, task: Task) -> node.Job:
        """What all tasks share; the data sets are put into the object store if a node does not see the files."""
        if self._job is None:
            task.checkpoint_dir.mkdir(parents=True, exist_ok=True)
            text = uuid.uuid4().hex
            self._token = task.checkpoint_dir.absolute() / f".cluster-{text}"
            self._token.write_text(text, encoding="utf-8")
            self._job = node.Job(Path.cwd(), (self._token, text), self._shared, self._data)
            if self._shared is None:
                self._shared = all(self._sees(one["NodeID"], self._job) for one in self._nodes())
                if not self._shared and not task.in_place:
                    self._say("not all nodes see the files of this machine: data and records travel through Ray")
        if not self._shared and not task.in_place and str(task.data) not in self._data:
            self._data[str(task.data)] = Shipped(self._ray.put(node.data_files(task.data)))
        return self._job

    def _sees(self, name: str, job: node.Job) -> bool:
        """Whether a node sees the driver's files. Of one that does not answer it is not known: data travel then, which
        is right in either case.
        """
        strategy = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(name, soft=False)
        probe = self._ray.remote(node.Job.is_shared).options(num_cpus=0, scheduling_strategy=strategy)
        try:
            return self._ray.get(probe.remote(job), timeout=120)
        except self._ray.exceptions.RayError:  # it died, or did not answer in time
            return False

    def _nodes(self) -> list[dict]:
        return [one for one in self._ray.nodes() if one["Alive"]]

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._report(text)

    def ended(self) -> list[tuple[Task, Ended]]:
        """See :class:`recbole_conrec.cluster.task.Executor`."""
        if not self._running:
            return []
        tasks = {reference: task for task, reference in self._running.items()}
        done, _ = self._ray.wait(list(tasks), num_returns=len(tasks), timeout=0)
        out = []
        for reference in done:
            task = tasks[reference]
            del self._running[task]
            ended = self._result(reference)
            if ended.faulty_node and (other := self._other_node(task, ended.node_id)):
                why = ended.why or f"the disk of {ended.node} is full"
                self._report(f"{task.name}: {why}; it goes to another node")
                self._submit(task, other)
                continue
            if ended.files:
                node.receive(task, ended)
            out.append((task, ended))
        return out

    def _result(self, reference: Any) -> Ended:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            died = isinstance(error, self._ray.exceptions.WorkerCrashedError | self._ray.exceptions.NodeDiedError)
            often = f"its worker or node died {self._retries + 1} times" if died else f"Ray: {lines[-1]}"
            return Ended(1, often)

    def _other_node(self, task: Task, name: str) -> str | None:
        """A node on which a task has not failed; None if there is none."""
        bad = self._avoided.setdefault(task, set())
        bad.add(name)
        return next((one["NodeID"] for one in self._nodes() if one["NodeID"] not in bad), None)

    def states(self) -> dict[Task, State]:
        """See :class:`recbole_conrec.cluster.task.Executor`."""
        if time.monotonic() - self._looked > EVERY:
            self._looked = time.monotonic()
            with contextlib.suppress(self._ray.exceptions.RayError):  # the actor's node has died; it starts elsewhere
                self._states = self._ray.get(self._notes.read.remote(), timeout=5)
        return {task: self._states.get(task.name, State()) for task in self._running}

    def stop(self) -> None:
        """End all tasks; their processes end with them."""
        for reference in self._running.values():
            with contextlib.suppress(Exception):
                self._ray.cancel(reference)
        with contextlib.suppress(Exception):
            self._ray.wait(list(self._running.values()), num_returns=len(self._running), timeout=node.PATIENCE)
        self._running.clear()

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        if self._token is not None:
            self._token.unlink(missing_ok=True)
        if self._ours:
            self._ray.shutdown()
        else:
            self._ray.kill(self._notes)


def _ray() -> Any:
    """The library. Raises UserError where it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pkg_resources, which ray 2.6.3 imports
            import ray
            import ray.exceptions
            import ray.util.scheduling_strategies
    except ImportError as error:
        raise UserError(f"--cluster=ray needs ray ({error}); pip install 'recbole-conrec[ray]'") from None
    return ray


def _connect(address: str | None) -> None:
    ray = _ray()
    address = address or os.environ.get(ADDRESS) or "local"
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if address == "local":
        options |= {"include_dashboard": False}
        os.environ.setdefault(NICENESS, "0")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(address=address, **options)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"--cluster: no Ray cluster answers at {address} ({reason}); start one with 'ray start --head', or give "
            "--cluster=ray for one of this machine"
        ) from error
