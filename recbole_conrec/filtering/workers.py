"""The parts of a prediction, distributed over processes of this machine, a Ray cluster or Slurm.

The driver decides which parts are missing and starts workers for them: ``predict`` commands with ``--only_parts``, each
of which loads the run once and writes its parts. A part is complete or absent, so that a lost worker costs one part.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import model_validator
from tqdm import tqdm
from typing_extensions import Self

from recbole_conrec.cluster.choose import ClusterOptions, check, choose_executor, slurm_folder
from recbole_conrec.cluster.families import counts_only, default_resources
from recbole_conrec.cluster.process import last_line
from recbole_conrec.cluster.resources import Resources
from recbole_conrec.cluster.task import LOG, Executor, Task, command_line, in_use
from recbole_conrec.filtering import folder as layout
from recbole_conrec.options.schema import Count
from recbole_conrec.runs.options import ChoiceOptions
from recbole_conrec.runs.restore import TrainedRun
from recbole_conrec.utils.distributed import process_state
from recbole_conrec.utils.errors import UserError

POLL, LOOK = 0.1, 2.0  # seconds between two looks at the workers, and at the parts that they have written


class WorkerOptions(ClusterOptions):
    """Who writes the parts."""

    task_parts: Count = 16
    """With `jobs` or `cluster`: parts that a worker writes at most before it ends; each worker loads the run once."""
    resources: Resources = Resources()
    """What a worker takes; default: what a run of the method takes."""

    @model_validator(mode="after")
    def _where_they_run(self) -> Self:
        check(self)
        return self

    @property
    def spread(self) -> bool:
        """Whether workers write the parts."""
        return self.cluster is not None or self.jobs > 1


class Workers:
    """Writes parts of a folder of Predict Sets by workers.

    Args:
        run: the loaded run.
        options: who they are.
        given: the options of their commands, besides the parts.
        report: is called with one line about what happens.
    """

    def __init__(self, run: TrainedRun, options: WorkerOptions, given: dict[str, Any], report: Callable[[str], None]):
        if process_state().num_processes > 1:
            raise UserError("predict: --jobs and --cluster start processes; leave out `accelerate launch`")
        self._run, self._options, self._given, self._report = run, options, given, report

    def __call__(self, out: Path, left: list[int]) -> None:
        """Write the parts ``left`` of the folder ``out``. Raises UserError naming the first worker that fails, when the
        others have ended.
        """
        executor = choose_executor(self._options, out, self._report)
        failed: dict[str, str] = {}
        missing = {number: out / layout.part_file(number) for number in left}
        with tqdm(total=len(left), desc="predict", unit="part", disable=not self._run.place.show_progress) as bar:
            for name, why in execute(self._tasks(out, left, executor.width), executor, lambda: _count(missing, bar)):
                self._report(f"{name}: {why}")
                failed[name] = why
            _count(missing, bar)
        if failed:
            name, why = next(iter(failed.items()))
            raise UserError(f"{out}: {len(failed)} workers failed; {name}: {why}; the same command resumes")
        for name in (layout.WORKERS, slurm_folder(out).name):
            shutil.rmtree(out / name, ignore_errors=True)

    def _tasks(self, out: Path, left: list[int], width: float) -> list[Task]:
        each = min(self._options.task_parts, -(-len(left) // max(1, int(width))))
        return [self._task(out, left[first : first + each]) for first in range(0, len(left), each)]

    def _task(self, out: Path, parts: list[int]) -> Task:
        config, place = self._run.config, self._run.place
        network = ChoiceOptions.of(config).network
        none = config["use_gpu"] is False or self._given.get("gpu_id") == ""
        given = {key: value for key, value in self._given.items() if key != "gpu_id" or value == ""}
        words = command_line(["python"], given | {"show_progress": False, "only_parts": parts})
        words.insert(words.index("recbole_conrec") + 1, "predict")
        return Task(
            name=f"parts {parts[0]} to {parts[-1]}",
            words=tuple(words),
            folder=out / layout.WORKERS / f"parts-{parts[0]:05d}",
            checkpoint_dir=out,
            data=Path(config["data_path"]),
            resources=self._options.resources.over(default_resources(network, place.threads, None)),
            threads=place.threads,
            gpu_ids="" if none else self._given.get("gpu_id"),
            cheap=counts_only(network),
            in_place=True,
        )


def execute(tasks: list[Task], executor: Executor, watch: Callable[[], None]) -> Iterator[tuple[str, str]]:
    """Run tasks, as many at a time as the executor takes; yields (name, why) of each that fails."""
    waiting, looked = list(tasks), 0.0
    running: set[Task] = set()
    with in_use(executor):
        while waiting or running:
            while waiting and executor.takes(waiting[0]):
                task = waiting.pop(0)
                task.folder.mkdir(parents=True, exist_ok=True)
                executor.start(task)
                running.add(task)
            for task, ended in executor.ended():
                running.remove(task)
                if ended.code or ended.why:
                    why = ended.why or last_line(task.folder / LOG) or f"exit code {ended.code}"
                    yield task.name, f"{why} (complete output: {task.folder / LOG})"
            if time.monotonic() - looked > LOOK:
                looked = time.monotonic()
                watch()
            time.sleep(POLL)


def _count(missing: dict[int, Path], bar: tqdm) -> None:
    """Strike off the parts that are there."""
    there = [number for number, file in missing.items() if file.exists()]
    for number in there:
        del missing[number]
    bar.update(len(there))
