"""The walks of CONTRIBUTING.md, run literally: their files are written, their commands typed."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WALKS = {
    walk.splitlines()[0]: re.findall(r"```(\w+)\n(.*?)```", walk, flags=re.S)
    for walk in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("\n## ")[1:]
}


def test_there_are_five_walks():
    assert list(WALKS) == ["Add a method", "Add a metric", "Add a data set", "Add a reward", "Add a stage"]


@pytest.mark.slow
@pytest.mark.parametrize("walk", WALKS)
def test_a_walk_works_as_it_is_written(walk, tmp_path):
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "sim-small").symlink_to(ROOT / "dataset" / "sim-small")
    (tmp_path / "run_recbole_conrec.py").symlink_to(ROOT / "run_recbole_conrec.py")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "CUDA_VISIBLE_DEVICES": ""}
    commands, said = [], ""
    for kind, text in WALKS[walk]:
        if kind == "bash":
            commands += text.strip().splitlines()
        else:
            name = text.splitlines()[0].removeprefix("# ")
            (tmp_path / name).write_text(text, encoding="utf-8")
    for command in commands:
        words = [sys.executable if word == "python" else word for word in shlex.split(command)]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
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
