"""benchmarks/reproduce.py: a run that is stopped and resumed ends where an uninterrupted one does."""

import json
from pathlib import Path

import forked
import numpy as np
import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "reproduce.py"
SIZES = "{layers: 1, d_model: 16, heads: 2, d_kv: 8, d_ff: 32}"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The files of 30 users who walk along 40 items."""
    folder, rng = tmp_path_factory.mktemp("letter"), np.random.default_rng(0)
    users = {u: [int(i) for i in (rng.integers(40) + np.arange(rng.integers(5, 9))) % 40] for u in range(30)}
    index = {i: [f"<a_{i // 8}>", f"<b_{i % 8}>"] for i in range(40)}
    for name, content in (("inter", users), ("index", index)):
        (folder / f"Beauty.{name}.json").write_text(json.dumps(content))
    return folder


def reproduce(data, *given, status: int = 0) -> list[str]:
    command = ["-W", "ignore", SCRIPT, "--data", data, "--device", "cpu", "--sizes", SIZES, *given]
    done = forked.run(command, data)
    assert done.returncode == status, done.stderr[-2000:]
    return done.stdout.splitlines() + done.stderr.splitlines()


def figures(lines) -> list[dict]:
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return [{k: v for k, v in one.items() if not k.startswith("train_")} for one in found]


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_figures(data, tmp_path):
    options = ["--preset", "small", "--batch", "8", "--users", "20", "--share", "0.5"]
    whole = figures(reproduce(data, *options))
    assert [one["part"] for one in whole] == ["validation", "test"] and whole[0]["epochs"] == 1.5
    work = ["--work", tmp_path / "run"]
    stopped = reproduce(data, *options, *work, "--minutes", "0", status=3)
    assert stopped[-1].startswith("not finished") and (tmp_path / "run" / "checkpoint-1").is_dir()
    assert figures(reproduce(data, *options, *work)) == whole
    assert figures((tmp_path / "run" / "results.jsonl").read_text().splitlines()) == whole
    assert figures(reproduce(data, *options, *work)) == whole  # nothing is left to train
    other = reproduce(data, *options, *work, "--lr", "0.1", status=1)
    assert any("a run with other options (lr 0.004 -> 0.1)" in line for line in other)
