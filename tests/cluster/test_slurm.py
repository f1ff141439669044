"""Slurm through submitit: the scripts that it would get, and runs by submitit's executor of this machine."""

import dataclasses
import re

import numpy as np
import pytest

from recbole_conrec.cli import main
from recbole_conrec.cluster import on_slurm
from recbole_conrec.cluster.choose import ClusterOptions, check
from recbole_conrec.cluster.on_slurm import SlurmExecutor, SlurmOptions, arrays, scripts
from recbole_conrec.cluster.resources import Resources
from recbole_conrec.cluster.task import Task, text
from recbole_conrec.leaderboard import schedule
from recbole_conrec.runs import records
from recbole_conrec.utils.errors import UserError

pytest.importorskip("submitit")


def task(folder, name="run", **resources):
    return Task(name, ("python",), folder / name, folder, folder, Resources(**resources))


def test_the_scripts_say_what_the_yaml_and_the_methods_say(tmp_path):
    options = SlurmOptions(
        partition="gpu", time=90, modules=("cuda/12.4", "python"), setup=("source env/bin/activate",), account="me"
    )
    alike = [task(tmp_path, f"run {n}", cpus=2, gpus=0.25, memory="4GB") for n in range(3)]
    counting = task(tmp_path, "counting", cpus=1, gpus=0, memory="500MB")
    first, second = scripts([*alike, counting], options, tmp_path)
    directives = dict(re.findall(r"#SBATCH --([\w-]+)=(\S+)", first))
    assert directives["array"] == "0-2%3" and directives["time"] == "90" and directives["partition"] == "gpu"
    assert (directives["cpus-per-task"], directives["mem"], directives["gpus-per-node"]) == ("2", "4GB", "1")
    assert directives["account"] == "me" and "run 0, run 1, run 2" in first
    lines = first.splitlines()
    setup = ["module load cuda/12.4", "module load python", "source env/bin/activate"]
    at = lines.index(setup[0])
    assert lines[at : at + 3] == setup and any("srun" in line for line in lines[at + 3 :])
    assert "gpus" not in second and "mem=1GB" in second
    assert "gres=gpu:a100:1" in scripts(alike, SlurmOptions(gres="gpu:a100:1"), tmp_path)[0]


def test_one_array_for_the_runs_that_take_the_same(tmp_path):
    tasks = [task(tmp_path, str(n), cpus=1 + n % 2) for n in range(6)]
    assert [[one.name for one in same] for same in arrays(tasks)] == [["0", "2", "4"], ["1", "3", "5"]]


def test_mistakes_in_options(tmp_path):
    file = tmp_path / "slurm.yaml"
    file.write_text("partion: gpu\n")
    with pytest.raises(UserError, match="slurm.yaml: unknown option 'partion'; did you mean 'partition'"):
        ClusterOptions(cluster="slurm", slurm=str(file)).slurm_options()
    with pytest.raises(UserError, match="cluster: 'rai'; expected ray, slurm, or the address"):
        ClusterOptions.read({"cluster": "rai"})
    with pytest.raises(UserError, match="--jobs: with --cluster=ray the cluster decides"):
        check(ClusterOptions(cluster="ray", jobs=2))
    with pytest.raises(UserError, match="--slurm is read with --cluster=slurm only"):
        check(ClusterOptions(slurm="a.yaml"))


@pytest.mark.slow
def test_a_dry_run_prints_the_script(board_file, options, tmp_path, capsys):
    (tmp_path / "slurm.yaml").write_text("partition: short\ntime: 30\nmodules: [python/3.11]\n")
    words = [f"--{key}={text(value)}" for key, value in options.items()]
    words += [f"--leaderboard={board_file}", f"--checkpoint_dir={tmp_path}/saved", f"--slurm={tmp_path}/slurm.yaml"]
    assert main([*words, "--cluster=slurm", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("#!/bin/bash") == 1 and "#SBATCH --array=0-5%6" in printed
    assert "#SBATCH --partition=short" in printed and "module load python/3.11" in printed


@pytest.mark.slow
def test_without_slurm_it_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    executor = SlurmExecutor(SlurmOptions(), tmp_path, print)
    executor.start(task(tmp_path))
    with pytest.raises(UserError, match="--cluster=slurm: .*start this command on a node with Slurm"):
        executor.ended()


@pytest.mark.slow
def test_runs_of_submitit_leave_the_records_of_one_machine(board, recorded, tmp_path):
    """A real run, and one that fails."""
    runs, said = [run for run in board.runs if run.seed == 5], []
    bad = dataclasses.replace(schedule.task_of(runs[1]), words=("sh", "-c", "echo no such luck; exit 3"))
    tasks = {runs[0]: schedule.task_of(runs[0]), runs[1]: bad}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(schedule, "task_of", lambda run, quiet: tasks[run])
        executor = SlurmExecutor(SlurmOptions(), tmp_path / "slurm", said.append, where="local")
        failed = schedule.execute(runs, executor, said.append)
    assert list(failed) == [runs[1]] and "no such luck" in failed[runs[1]]
    one, two = (records.read(each.folder, each.identity)[0] for each in (runs[0], recorded[1].runs[0]))
    mine, known = one.outcomes(), two.outcomes()
    assert one.result["metrics"] == two.result["metrics"]
    assert all(np.array_equal(mine[name], known[name], equal_nan=True) for name in known)
    assert on_slurm.SlurmWork().checkpoint(bad, executor._job).args[0] is bad
