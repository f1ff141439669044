"""One small trained CoNRec for all tests of the room, and Predict Sets of it."""

import shutil

import pytest
import tinylog

from recbole_conrec.filtering.predict import SetOptions, predict
from recbole_conrec.runs.checks import read_by
from recbole_conrec.runs.restore import load_run
from recbole_conrec.runs.runner import run

MODEL = {
    "llm_options": {"tiny": {"layers": 1, "hidden": 32, "heads": 2, "kv_heads": 2, "intermediate": 64}},
    "tokenizer": {"name": "rqkmeans", "sizes": [8, 8, 8], "encoder": ["tfidf"]},
    "stages": [{"name": "warm-up", "task": "next", "epochs": 2, "lr": 0.005, "batch_size": 4}],
    "topk": [5],
    "valid_metric": "HR@5",
    "gpu_id": "",
    "show_progress": False,
    "beam": 10,
    "history": 30,
}


@pytest.fixture(scope="session")
def run_folder(tiny_path, tmp_path_factory):
    """The folder of a finished run; read only."""
    saved = tmp_path_factory.mktemp("runs")
    options = {**read_by("CoNRec", tinylog.OPTIONS), **MODEL, "data_path": str(tiny_path), "checkpoint_dir": str(saved)}
    return run("CoNRec", "tiny", options=options).run_dir


@pytest.fixture(scope="session")
def trained(run_folder):
    return load_run(run_folder, {"show_progress": False, "gpu_id": ""})


@pytest.fixture(scope="session")
def sets_folder(trained, tmp_path_factory):
    """Predict Sets of all users as of the end, and in valid/ as of validation; read only."""
    out = tmp_path_factory.mktemp("sets") / "out"
    predict(trained, out, SetOptions(size=8, part_users=25))
    predict(trained, out / "valid", SetOptions(at="valid", size=8, part_users=25))
    return out


@pytest.fixture
def sets_copy(sets_folder, tmp_path):
    """A copy to damage."""
    return shutil.copytree(sets_folder, tmp_path / "sets")
