"""Fixtures for all tests. A small data set with structure in it (see tests/tinylog.py):

def test_something(tiny_dataset):                 # a NegativeFeedbackDataset, split by time; do not change it
    train, valid, test = tiny_dataset.build()

def test_another(make_tiny):                      # a fresh one, with options of your own
    config, dataset = make_tiny("SASRec", context="both", split={"by": "user"})

def test_files(tiny_path):                        # the folder for `data_path`; `dataset` is "tiny"
    ...
"""

import forked
import pytest
import tinylog

from recbole_conrec.cluster import warm
from recbole_conrec.data.dataset import NegativeFeedbackDataset
from recbole_conrec.runs.checks import read_by
from recbole_conrec.runs.config import make_config


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory):
    """Folder (`data_path`) that holds the data set `tiny`. Read only: it is written once for all tests."""
    return tinylog.write_tiny(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def make_tiny(tiny_path, tmp_path_factory):
    """Function (model="SASRec", **options) -> (RecBole Config, NegativeFeedbackDataset) on `tiny`, on CPU."""
    saved = tmp_path_factory.mktemp("saved")

    def make(model: str = "SASRec", **options):
        fixed = {"data_path": str(tiny_path), "checkpoint_dir": str(saved), "use_gpu": False, "gpu_id": ""}
        shared = read_by(model, tinylog.OPTIONS)
        config = make_config(model, "tiny", options={**shared, **fixed, **options})
        return config, NegativeFeedbackDataset(config)

    return make


@pytest.fixture(scope="session")
def tiny_dataset(make_tiny):
    """The data set `tiny` with its default options, shared by all tests: read only."""
    return make_tiny()[1]


@pytest.fixture
def quick_boards(monkeypatch):
    """Boards that a test runs in this process fork their short runs from one that is there (see tests/forked.py)."""
    monkeypatch.setattr(warm, "subprocess", forked.Warm())
