"""Tasks as jobs of Slurm, through submitit: an array job for the tasks that take the same."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from recbole_conrec.cluster import node
from recbole_conrec.cluster.resources import Resources
from recbole_conrec.cluster.task import Ended, State, Task
from recbole_conrec.options.schema import Count, Options, Several, Text
from recbole_conrec.utils.errors import UserError


class SlurmOptions(Options):
    """The YAML of ``--slurm=FILE``: what Slurm has to know."""

    partition: Text | None = None
    """Partition; null: Slurm's default."""
    time: Count = 240
    """Minutes that one run may take. A run that takes longer is put into the queue again and resumes."""
    gres: Text | None = None
    """Generic resources, such as ``gpu:a100:1``, in place of the GPUs that methods ask for."""
    modules: Several[Text] = ()
    """Modules that are loaded before a run."""
    setup: Several[Text] = ()
    """Further commands of the shell before a run, such as ``source .venv/bin/activate``."""
    account: Text | None = None
    """Account that is charged."""
    qos: Text | None = None
    """Quality of service."""
    constraint: Text | None = None
    """Features of nodes."""
    parallel: Count = 256
    """Runs of an array at a time, at most."""


class SlurmWork:
    """A task as submitit pickles it."""

    def __call__(self, task: Task, job: node.Job) -> Ended:
        """Run it on the node that Slurm has chosen."""
        return node.work(task, job, os.environ.get("CUDA_VISIBLE_DEVICES"))

    def checkpoint(self, task: Task, job: node.Job) -> Any:
        """The job's time is up, or it gives way to another: it goes back into the queue, and on from its last stage."""
        return _submitit().helpers.DelayedSubmission(self, task, job)


class SlurmExecutor:
    """Slurm, whose nodes see the driver's files.

    Args:
        options: of the jobs.
        folder: for submitit's files.
        report: is called with one line about each array.
        retries: how often a job is put into the queue again whose time is up.
        where: ``local``: processes of this machine in place of Slurm, for tests.
    """

    def __init__(
        self,
        options: SlurmOptions,
        folder: Path,
        report: Callable[[str], None],
        retries: int = 3,
        where: Literal["slurm", "local"] = "slurm",
    ):
        self.width: float = options.parallel
        self._options, self._folder, self._report, self._where = options, folder, report, where
        self._retries = retries
        self._job = node.Job(Path.cwd(), (folder, ""), shared=True)
        self._waiting: list[Task] = []
        self._running: dict[Task, Any] = {}

    def takes(self, task: Task) -> bool:
        """Slurm's queue takes any number."""
        return True

    def start(self, task: Task) -> None:
        """Put it into the next array."""
        self._waiting.append(task)

    def ended(self) -> list[tuple[Task, Ended]]:
        """Submit what has been started since the last call, and see :class:`recbole_conrec.cluster.task.Executor`."""
        for tasks in arrays(self._waiting):
            executor = self._executor(tasks[0].resources, tasks[0].gpus)
            jobs = executor.map_array(SlurmWork(), tasks, [self._job] * len(tasks))
            self._running.update(zip(tasks, jobs, strict=True))
            self._report(f"{len(tasks)} runs are job {jobs[0].job_id.partition('_')[0]} of {self._where}")
        self._waiting.clear()
        out = []
        for task, job in list(self._running.items()):
            if job.done():
                del self._running[task]
                out.append((task, _result(job)))
        return out

    def _executor(self, resources: Resources, gpus: float) -> Any:
        submitit = _submitit()
        try:
            executor = submitit.AutoExecutor(
                folder=self._folder, cluster=self._where, slurm_max_num_timeout=self._retries
            )
        except RuntimeError as error:  # there is no srun
            raise UserError(
                f"--cluster=slurm: {error}; start this command on a node with Slurm, or give --jobs"
            ) from None
        executor.update_parameters(**_shared_parameters(self._options, resources, gpus))
        if self._where == "slurm":
            executor.update_parameters(**{f"slurm_{key}": value for key, value in _own(self._options).items()})
        return executor

    def states(self) -> dict[Task, State]:
        """See :class:`recbole_conrec.cluster.task.Executor`."""
        return {
            **{task: State(note="queued") for task in self._waiting},
            **{task: State(f"job {job.job_id}", None, job.state.lower()) for task, job in self._running.items()},
        }

    def stop(self) -> None:
        """Cancel all jobs."""
        for job in self._running.values():
            with contextlib.suppress(Exception):
                job.cancel()
        self._running.clear()

    def close(self) -> None:
        """Nothing is held."""


def arrays(tasks: list[Task]) -> list[list[Task]]:
    """The tasks that take the same, together: the jobs of an array are alike."""
    out: dict[tuple, list[Task]] = {}
    for task in tasks:
        out.setdefault((task.resources.cpus, task.gpus, task.resources.bytes), []).append(task)
    return list(out.values())


def scripts(tasks: list[Task], options: SlurmOptions, folder: Path) -> list[str]:
    """What would be given to sbatch, one script for each array. Slurm need not be installed."""
    slurm = _submitit().slurm.slurm
    out = []
    for same in arrays(tasks):
        given = {**_shared_parameters(options, same[0].resources, same[0].gpus), **_own(options)}
        names = slurm.SlurmExecutor._equivalence_dict()
        given = {names.get(key, key): value for key, value in given.items()}
        if "mem" in given:
            given["mem"] = slurm._convert_mem(given["mem"])
        command = f"python -u -m submitit.core._submit {folder}"
        text = slurm._make_sbatch_string(command=command, folder=folder, map_count=len(same), **given)
        out.append(f"# {', '.join(task.name for task in same)}\n{text}")
    return out


def _shared_parameters(options: SlurmOptions, resources: Resources, gpus: float) -> dict[str, Any]:
    """What submitit asks of any scheduler; parts of a GPU are rounded up, as Slurm gives whole ones."""
    given: dict[str, Any] = {"timeout_min": options.time, "cpus_per_task": -int(-(resources.cpus or 1) // 1)}
    if resources.bytes:
        given["mem_gb"] = max(1, round(resources.bytes / 2**30))
    if gpus and not options.gres:
        given["gpus_per_node"] = max(1, int(-(-gpus // 1)))
    return given


def _own(options: SlurmOptions) -> dict[str, Any]:
    """What only Slurm knows."""
    setup = [*(f"module load {name}" for name in options.modules), *options.setup]
    given = {key: getattr(options, key) for key in ("partition", "gres", "account", "qos", "constraint")}
    given |= {"setup": setup or None, "array_parallelism": options.parallel, "job_name": "recbole-conrec"}
    return {key: value for key, value in given.items() if value is not None}


def _result(job: Any) -> Ended:
    error = job.exception()
    if error is None:
        return job.result()
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return Ended(1, f"job {job.job_id} ended as {job.state.lower()}: {lines[-1]}")


def _submitit() -> Any:
    """The library. Raises UserError where it is not installed."""
    try:
        import submitit
        import submitit.helpers
        import submitit.slurm.slurm
    except ImportError as error:
        raise UserError(f"--cluster=slurm needs submitit ({error}); pip install 'recbole-conrec[slurm]'") from None
    return submitit
