"""Stock RecBole finds what is ours by name, and our shims leave it working."""

import subprocess
import sys

import numpy as np
import pytest
import tinylog
import torch
from recbole.config import Config
from recbole.data import create_dataset
from recbole.evaluator.register import metric_information, metric_types, metrics_dict
from recbole.utils import get_model, get_trainer

import recbole_conrec
from recbole_conrec.data.dataset import NegativeFeedbackDataset
from recbole_conrec.utils.errors import UserError


def test_models_and_trainers_by_name():
    from recbole_conrec.generative.trainer import StagedTrainer
    from recbole_conrec.model.conrec import CoNRec
    from recbole_conrec.runs.trainer import HarnessMixin

    assert get_model("CoNRec") is CoNRec
    assert get_trainer(CoNRec.type, "CoNRec") is StagedTrainer
    assert issubclass(get_trainer(CoNRec.type, "ItemSwing"), HarnessMixin)
    assert get_model("SASRec").__module__ == "recbole.model.sequential_recommender.sasrec"  # stock stays stock
    assert not issubclass(get_trainer(CoNRec.type, "SASRec"), HarnessMixin)


def test_metrics_by_name():
    for name in ("hr", "fhr", "frecall", "luf", "lif", "candacc"):
        assert name in metrics_dict and name in metric_information and name in metric_types


def test_stock_config_and_dataset(monkeypatch, tmp_path):
    """Config(model='CoNRec') of stock RecBole, with none of our layers, gives a data set with our defaults."""
    monkeypatch.setattr("sys.argv", ["test"])
    config = Config(
        model="CoNRec",
        dataset="ml-100k",
        config_dict={
            "checkpoint_dir": str(tmp_path),
            "metrics": ["HR", "FHR"],
            "valid_metric": "HR@20",
            "topk": [20],
            "window": {"length": 5},
        },
    )
    dataset = create_dataset(config)
    assert isinstance(dataset, NegativeFeedbackDataset)
    assert config["window"] == {"unit": "events", "length": 5}  # the user's word over ours, key by key
    assert config["stages"] and config["metrics"] == ["HR", "FHR"]
    assert len(dataset[torch.tensor([1])]) == 1


def test_stock_models_with_our_metrics_say_what_is_missing():
    from recbole.evaluator.collector import DataStruct

    with pytest.raises(UserError, match="NegativeFeedbackDataset"):
        metrics_dict["fhr"]({"topk": [20], "metric_decimal_place": 4}).calculate_metric(DataStruct())


def test_shims():
    assert np.float_ is np.float64 and np.float is np.float64
    assert not torch.is_anomaly_enabled()  # RecBole's SINE turns it on
    recbole_conrec.compat.apply()  # again changes nothing
    assert np.float_ is np.float64


@pytest.mark.slow
@pytest.mark.parametrize("model", ["ItemSwing", "CoNRec"])
def test_stock_run_recbole(model, monkeypatch, tmp_path, tiny_path):
    """RecBole's own run_recbole, where ray can be imported, trains and evaluates our models."""
    pytest.importorskip("ray", reason="recbole.quick_start imports ray, which has no wheel for this Python")
    from recbole.quick_start import run_recbole

    monkeypatch.setattr("sys.argv", ["test"])
    monkeypatch.chdir(tmp_path)
    options = {
        **tinylog.OPTIONS,
        "data_path": str(tiny_path),
        "checkpoint_dir": str(tmp_path),
        "gpu_id": "",
        "metrics": ["HR", "FHR", "Recall"],
        "valid_metric": "HR@20",
        "topk": [20],
        "loss_type": "CE",
        "train_neg_sample_args": None,
        "show_progress": False,
        "stages": [{"name": "warm-up", "task": "next", "epochs": 3, "lr": 0.005, "batch_size": 8}],
    }
    result = run_recbole(model=model, dataset="tiny", config_dict=options)
    assert set(result["test_result"]) == {"hr@20", "fhr@20", "recall@20"}
    assert result["test_result"]["hr@20"] == result["test_result"]["recall@20"] > 0  # one relevant item each


def test_stock_defaults_do_not_stop_methods_that_are_trained_in_stages(monkeypatch, tmp_path):
    """RecBole's own valid_metric is MRR@10, which selects none of them."""
    monkeypatch.setattr("sys.argv", ["test"])
    config = Config(model="CoNRec", dataset="ml-100k", config_dict={"checkpoint_dir": str(tmp_path)})
    create_dataset(config)
    assert config["valid_metric"] == "FRecall@10"
    given = Config(model="CoNRec", dataset="ml-100k", config_dict={"valid_metric": "CandAcc", "metrics": ["CandAcc"]})
    create_dataset(given)
    assert given["valid_metric"].lower() == "candacc"


def test_the_package_alone_imports_neither_recbole_nor_torch():
    code = "import sys, recbole_conrec; assert not {'torch', 'numpy', 'recbole'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


FIRST = (
    "data.atomic",
    "data.loading",
    "evaluation.plugin",
    "evaluation.collector",
    "evaluation.ranking",
    "runs.config",
)
ANY_FIRST = """
import importlib, sys
import pandas, torch  # what takes long and is not purged

for name in sys.argv[1:]:
    for known in [known for known in sys.modules if known.split(".")[0] in ("recbole", "recbole_conrec")]:
        del sys.modules[known]
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "recbole_conrec.on_import"]
    importlib.import_module(f"recbole_conrec.{name}")
    import recbole.data.dataset, recbole.evaluator.register, recbole.trainer

    assert {"fhr", "candacc"} <= set(recbole.evaluator.register.metrics_dict), name
    assert recbole.data.dataset.CoNRecDataset and not hasattr(recbole.data.dataset, "SASRecDataset"), name
    assert not hasattr(recbole.trainer, "SASRecTrainer") and recbole.trainer.__getattr__, name
"""


@pytest.mark.slow
def test_whichever_module_comes_first_registers_everything():
    """None of our modules that import RecBole is needed, half loaded, by what RecBole's import sets off."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", ANY_FIRST, *FIRST], check=True)
