"""The walks of CONTRIBUTING.md, run literally: their files are written, their commands typed."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import forked
import pytest

ROOT = Path(__file__).parent.parent
WALKS = {
    walk.splitlines()[0]: re.findall(r"```(\w+)\n(.*?)```", walk, flags=re.S)
    for walk in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("\n## ")[1:]
}


def test_there_are_five_walks():
    assert list(WALKS) == ["Add a method", "Add a metric", "Add a data set", "Add a reward", "Add a stage"]


def few_users(source: Path, target: Path) -> None:
    """Copy a data set with every sixth user."""
    shutil.copytree(source, target)
    file = target / f"{target.name}.inter"
    head, *rows = file.read_text(encoding="utf-8").splitlines(keepends=True)
    users = sorted({row.split("\t")[0] for row in rows})[::6]
    file.write_text(head + "".join(row for row in rows if row.split("\t")[0] in users), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("walk", WALKS)
def test_a_walk_works_as_it_is_written(walk, tmp_path):
    few_users(ROOT / "dataset" / "sim-small", tmp_path / "dataset" / "sim-small")
    (tmp_path / "run_recbole_conrec.py").symlink_to(ROOT / "run_recbole_conrec.py")
    environment = {"PYTHONPATH": str(tmp_path), "CUDA_VISIBLE_DEVICES": ""}
    commands, said = [], ""
    for kind, text in WALKS[walk]:
        if kind == "bash":
            commands += text.strip().splitlines()
        else:
            name = text.splitlines()[0].removeprefix("# ")
            (tmp_path / name).write_text(text, encoding="utf-8")
    for command in commands:
        first, *words = shlex.split(command)
        if first == "python":
            done = forked.run(words, tmp_path, environment)
        else:
            done = subprocess.run([first, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        said += done.stdout
    expected = {
        "Add a method": "DislikeShare",
        "Add a metric": "FirstHit@20",
        "Add a data set": "my-log: n",
        "Add a reward": "CoNRec",
        "Add a stage": "CoNRec",
    }
    assert expected[walk] in said
    if walk == "Add a stage":
        assert "best_of_n" in next(tmp_path.glob("saved/sim-small/CoNRec-*/config.yaml")).read_text(encoding="utf-8")
