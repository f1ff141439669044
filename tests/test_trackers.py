"""What a run reports to TensorBoard, MLflow and W&B, against its record; and that nothing is written unasked."""

import json
from pathlib import Path

import pytest
import tinylog

from recbole_conrec.runs import trackers
from recbole_conrec.runs.checks import read_by
from recbole_conrec.runs.runner import run
from recbole_conrec.utils.errors import UserError

STAGES = [
    {
        "name": "warm-up",
        "task": "next",
        "max_steps": 4,
        "lr": 0.005,
        "batch_size": 4,
        "evaluate_every": 2,
        "save_every": 2,
    },
    {
        "name": "grpo",
        "task": "grpo",
        "samples": 16,
        "steps": 2,
        "prompts_per_step": 8,
        "G": 2,
        "beta": 0.05,
        "save_every": 1,
    },
]
CONREC = {
    "llm_options": {"tiny": {"layers": 1, "hidden": 32, "heads": 2, "kv_heads": 2, "intermediate": 64}},
    "tokenizer": {"name": "rqkmeans", "sizes": [8, 8, 8], "encoder": ["tfidf"]},
    "stages": STAGES,
    "history": 5,
    "beam": 20,
    "valid_sample": 20,
}
CASER = {"epochs": 2, "embedding_size": 8, "learning_rate": 0.01}


@pytest.fixture
def tiny_run(tiny_path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fixed = {"data_path": str(tiny_path), "gpu_id": "", "show_progress": False, "contrast_scoring": False}

    def call(model, **options):
        shared = {**read_by(model, tinylog.OPTIONS), **fixed, "present": {"use": "never"}}
        return run(model, "tiny", options={**shared, **options})

    return call


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """By name, [(step, value)] of the TensorBoard files in a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return {name: [(one.step, one.value) for one in found.Scalars(name)] for name in found.Tags()["scalars"]}


@pytest.mark.slow
def test_a_run_of_epochs_in_tensorboard(tiny_run, monkeypatch):
    found = tiny_run("Caser", **CASER, report_to="tensorboard")
    reported, record = events(found.run_dir / "tensorboard"), found.record
    assert reported["loss"] == [(one["epoch"], pytest.approx(one["loss"])) for one in record["curve"]]
    valid = [(one["epoch"], pytest.approx(one["valid"])) for one in record["curve"]]
    assert reported["valid/FRecall@20"] == valid and len(valid) == 2
    assert [value for _, value in reported["learning_rate"]] == [pytest.approx(0.01)] * 2
    assert all(0 < seconds < record["cost"]["fit_s"] for _, seconds in reported["time/epoch"])
    tests = {name: figure["value"] for name, figure in record["metrics"].items() if figure["value"] is not None}
    assert {f"test/{name}" for name in tests} == {name for name in reported if name.startswith("test/")}
    assert reported["test/HR@20"] == [(1, pytest.approx(tests["HR@20"]))]
    assert reported["cost/parameters"][0][1] == record["cost"]["parameters"]
    # where and how a run is reported does not make it another run
    monkeypatch.setattr("recbole_conrec.runs.runner._recorded", lambda *_: pytest.fail("run again"))
    assert tiny_run("Caser", **CASER).run_dir == found.run_dir


@pytest.mark.slow
def test_stages_in_every_tracker_and_nothing_twice(tiny_run, tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    found = tiny_run("CoNRec", **CONREC, report_to=["tensorboard", "mlflow"])
    reported, (first, second) = events(found.run_dir / "tensorboard"), found.record["stages"]
    assert {"warm-up/loss", "grpo/reward", "grpo/kl", "grpo/learning_rate", "grpo/time/generation"} <= set(reported)
    looks = [(one["step"], pytest.approx(one["valid"])) for one in first["validation"]]
    assert reported["valid/FRecall@20"] == [*looks, (6, pytest.approx(second["valid"]))] and len(looks) == 3
    rewards = [(4 + one["step"], pytest.approx(one["reward"])) for one in second["curve"] if "reward" in one]
    assert reported["grpo/reward"] == rewards and rewards
    assert reported["warm-up/seconds"] == [(4, pytest.approx(first["seconds"]))]

    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=(tmp_path / "saved" / "mlruns").as_uri())
    (kept,) = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    assert kept.info.status == "FINISHED" and kept.data.params["history"] == "5"
    assert kept.data.metrics["test/HR_at_20"] == found.record["metrics"]["HR@20"]["value"]
    history = client.get_metric_history(kept.info.run_id, "valid/FRecall_at_20")
    assert [(one.step, pytest.approx(one.value)) for one in history] == reported["valid/FRecall@20"]

    # another attempt at the run, whose stages are on disk by now, goes on in the same files
    (found.run_dir / "result.json").unlink()
    tiny_run("CoNRec", **CONREC, report_to=["tensorboard", "mlflow"])
    assert events(found.run_dir / "tensorboard")["warm-up/loss"] == reported["warm-up/loss"]
    assert len(client.get_metric_history(kept.info.run_id, "valid/FRecall_at_20")) == len(history)


@pytest.mark.slow
def test_wandb_offline(tiny_run, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    found = tiny_run("Pop", report_to="wandb")
    (file,) = found.run_dir.glob("wandb/offline-run-*/*.wandb")
    content = file.read_bytes()
    assert b"test/HR@20" in content and b"valid/FRecall@20" in content and b"learning_rate" in content


@pytest.mark.slow
def test_energy_is_in_the_record_where_it_is_asked_for(tiny_run):
    pytest.importorskip("codecarbon")
    assert tiny_run("Pop", report_to="codecarbon").record["cost"]["energy_kwh"] > 0


@pytest.mark.slow
def test_nothing_is_written_unless_asked(tiny_run, tmp_path):
    found = tiny_run("Pop")
    files = {file.name for file in found.run_dir.iterdir()}
    assert not files & {"tensorboard", "wandb", trackers.STATE} and "energy_kwh" not in found.record["cost"]
    assert {file.name for file in tmp_path.iterdir()} == {"saved"}


def test_a_resumed_attempt_repeats_nothing(tmp_path):
    class Kept:
        def __init__(self):
            self.seen, self.end = [], None

        def log(self, step, values):
            self.seen.append((step, values))

        def finish(self, figures, ended):
            self.end = figures, ended

    first, second = Kept(), Kept()
    report = trackers.Reporting(tmp_path, [first])
    report(0, {"loss": 3, "note": "text", "bad": float("nan"), "flag": True})
    report(1, {"loss": 2})
    report.finish()
    assert first.seen == [(0, {"loss": 3.0}), (1, {"loss": 2.0})] and first.end == ({}, False)
    report = trackers.Reporting(tmp_path, [second])
    for step, loss in enumerate((3, 2, 1)):
        report(step, {"loss": loss, "late": 7})
    assert second.seen == [(0, {"late": 7.0}), (1, {"late": 7.0}), (2, {"loss": 1.0, "late": 7.0})]
    assert json.loads((tmp_path / trackers.STATE).read_text())["last"] == {"loss": 2, "late": 2}
    record = {"metrics": {"HR@20": {"value": 0.5, "n": 3}, "LUF@20": {"value": None, "n": 0}}}
    report.finish({**record, "valid": {"HR@20": 0.4}, "cost": {"fit_s": 2.0, "peak_gpu_mb": None}})
    assert second.end == ({"test/HR@20": 0.5, "valid/best HR@20": 0.4, "cost/fit_s": 2.0}, True)


def test_a_tracker_that_is_not_installed_is_named(tiny_run, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(UserError, match=r"report_to: wandb cannot be imported .*pip install 'recbole-conrec\[wandb\]'"):
        tiny_run("Pop", report_to=["wandb"])
    assert not list(tmp_path.glob("saved/tiny/*"))
    with pytest.raises(UserError, match="report_to.*'neptune'.*one of tensorboard, wandb, mlflow, codecarbon"):
        tiny_run("Pop", report_to=["neptune"])
