"""Predict Sets by several workers: those of one process, whatever dies."""

import signal

import forked
import pytest

from recbole_conrec.cli import main
from recbole_conrec.cluster.task import Ended, State
from recbole_conrec.filtering import NegativeFilter
from recbole_conrec.filtering import folder as layout
from recbole_conrec.filtering import workers as module
from recbole_conrec.filtering.predict import SetOptions, predict, predict_parts
from recbole_conrec.filtering.workers import WorkerOptions, Workers
from recbole_conrec.utils.errors import UserError

OPTIONS = SetOptions(size=8, part_users=25)


class Here:
    """An executor that runs the commands of workers in this process, one after the other.

    Args:
        trained: the loaded run. broken: numbers of first parts whose worker fails.
    """

    width = 2.0

    def __init__(self, trained, broken=()):
        self.trained, self.broken, self.started, self.closed = trained, set(broken), [], False
        self._ended = []

    def takes(self, task):
        return True

    def start(self, task):
        words = dict(word[2:].split("=", 1) for word in task.words if word.startswith("--"))
        assert task.words[:4] == ("python", "-m", "recbole_conrec", "predict")
        parts = [int(number) for number in words["only_parts"].strip("[]").split(",")]
        self.started.append(parts)
        if parts[0] in self.broken:
            self._ended.append((task, Ended(1, "no such luck")))
            return
        predict_parts(self.trained, words["out"], OPTIONS, parts)
        self._ended.append((task, Ended(0)))

    def ended(self):
        out, self._ended = self._ended, []
        return out

    def states(self):
        return dict.fromkeys([], State())

    def stop(self):
        self.closed = True

    def close(self):
        self.closed = True


def spread(trained, out, executor, monkeypatch, **options):
    monkeypatch.setattr(module, "choose_executor", lambda *_: executor)
    given = {"run": "run", "out": str(out), "gpu_id": ""}
    workers = Workers(trained, WorkerOptions(**{"jobs": 2, **options}), given, print)
    return predict(trained, out, OPTIONS, workers)


def test_the_parts_of_workers_are_those_of_one_process(trained, sets_folder, tmp_path, monkeypatch):
    executor = Here(trained)
    manifest = spread(trained, tmp_path / "sets", executor, monkeypatch, task_parts=2)
    assert executor.started == [[0, 1], [2]] and executor.closed
    assert manifest == layout.read_manifest(sets_folder)  # the digests of all files are in it
    assert not (tmp_path / "sets" / layout.WORKERS).exists()
    spread(trained, tmp_path / "sets", Here(trained, [0, 1, 2]), monkeypatch)  # nothing is left to write


def test_a_failed_worker_leaves_the_parts_of_the_others(trained, sets_folder, tmp_path, monkeypatch):
    out = tmp_path / "sets"
    with pytest.raises(UserError, match=r"1 workers failed; parts 1 to 1: no such luck.*the same command resumes"):
        spread(trained, out, Here(trained, [1]), monkeypatch, task_parts=1)
    with pytest.raises(UserError, match="not complete"):
        NegativeFilter.load(out)
    again = Here(trained)
    assert spread(trained, out, again, monkeypatch, task_parts=1) == layout.read_manifest(sets_folder)
    assert again.started == [[1]]


def test_a_worker_writes_only_into_a_folder_of_the_same_plan(trained, sets_copy, tmp_path):
    with pytest.raises(UserError, match=r"it has no plan.json; start `predict` without only_parts"):
        predict_parts(trained, tmp_path, OPTIONS, [0])
    with pytest.raises(UserError, match=r"its parts are made with another size \(8, now 5\)"):
        predict_parts(trained, sets_copy, OPTIONS.model_copy(update={"size": 5}), [0])
    with pytest.raises(UserError, match="there is no part 7; the parts are 0 to 2"):
        predict_parts(trained, sets_copy, OPTIONS, [0, 7])
    (sets_copy / layout.part_file(1)).unlink()
    assert predict_parts(trained, sets_copy, OPTIONS, [0, 1]) == 1


def words(run_folder, out, *more):
    return ["predict", f"--run={run_folder}", f"--out={out}", "--size=8", "--part_users=25", "--gpu_id=", *more]


@pytest.mark.slow
def test_commands_of_workers_on_ray(run_folder, sets_folder, tmp_path, monkeypatch):
    """Real processes of a Ray that is started for them."""
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    out = tmp_path / "sets"
    given = words(run_folder, out, "--cluster=ray", "--task_parts=2", "--show_progress=False")
    assert main(given) == 0
    same_parts(sets_folder, out)
    NegativeFilter.load(out)


def same_parts(one, two) -> None:
    one, two = (sorted((folder / "parts").iterdir()) for folder in (one, two))
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in two]


KILLED = """
import os, signal, sys
from recbole_conrec.cli import main
from recbole_conrec.filtering import workers

def die(missing, bar):
    if any(file.exists() for file in missing.values()):
        os.kill(os.getpid(), signal.SIGKILL)

workers._count, workers.LOOK = die, 0.0  # dies before a third worker is started
workers.counts_only = lambda network: True
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_killed_driver_is_repeated(run_folder, sets_folder, tmp_path, monkeypatch, quick_boards):
    """Its workers, processes of this machine, end with it; the same command writes what is missing."""
    monkeypatch.setattr(module, "counts_only", lambda network: True)  # forked, to spare them the imports
    out = tmp_path / "sets"
    command = [*words(run_folder, out, "--jobs=2"), "--task_parts=1", "--show_progress=False"]
    (tmp_path / "killed.py").write_text(KILLED)
    done = forked.run(["-W", "ignore", tmp_path / "killed.py", *command], tmp_path)
    assert done.returncode == -signal.SIGKILL, done.stderr
    kept = {file: file.stat().st_mtime_ns for file in out.glob("parts/part-*.parquet")}
    assert kept and not (out / layout.MANIFEST).exists()
    assert len(kept) < len(list((sets_folder / "parts").iterdir()))
    assert main(command) == 0
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    same_parts(sets_folder, out)
    NegativeFilter.load(out)


def test_what_a_worker_takes_is_checked(capsys):
    assert main(["predict", "--run=x", "--out=y", "--resources.gpus=1.5"]) == 2
    assert "predict.resources.gpus: 1.5; expected a share of one GPU" in capsys.readouterr().err
    assert main(["predict", "--run=x", "--out=y", "--cluster=ray", "--jobs=2"]) == 2
    assert "--jobs: with --cluster=ray the cluster decides" in capsys.readouterr().err
