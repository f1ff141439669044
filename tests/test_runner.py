"""The whole line on a small log: train, decode, evaluate, record, and the same numbers again."""

import json
import shutil
import socket
from pathlib import Path

import forked
import numpy as np
import pytest
import tinylog
import torch
import yaml

from recbole_conrec.cli import main
from recbole_conrec.runs import records
from recbole_conrec.runs.checks import read_by
from recbole_conrec.runs.runner import run

ROOT = Path(__file__).parent.parent
SMALL = {
    "context": "negative",
    "llm_options": {"tiny": {"layers": 1, "hidden": 32, "heads": 2, "kv_heads": 2, "intermediate": 64}},
    "tokenizer": {"name": "rqkmeans", "sizes": [8, 8, 8], "encoder": ["tfidf"]},
    "stages": [
        {"name": "translation", "task": "translation", "epochs": 1, "lr": 0.003, "batch_size": 16},
        {"name": "alignment", "task": "alignment", "samples": 64, "epochs": 1, "lr": 0.003, "batch_size": 16},
        {"name": "warm-up", "task": "next", "epochs": 40, "lr": 0.005, "batch_size": 4, "evaluate_every": 40},
        {
            "name": "grpo",
            "task": "grpo",
            "context": "both",
            "samples": 64,
            "steps": 3,
            "prompts_per_step": 8,
            "G": 4,
            "beta": 0.05,
            "gamma": 0.5,
            "lr": 0.0001,
            "reward": "negatives_minus_positives",
            "neighbours": 5,
            "clean": {"threshold": 0.6, "factor": 2},
        },
    ],
}


@pytest.fixture
def tiny_run(tiny_path, tmp_path, monkeypatch):
    """Function (model, **options) -> Result on the small log, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    fixed = {
        "data_path": str(tiny_path),
        "checkpoint_dir": "saved",
        "gpu_id": "",
        "topk": [5],
        "valid_metric": "HR@5",
        "show_progress": False,
    }

    def run_on_tiny(model, **options):
        return run(model, "tiny", options={**read_by(model, tinylog.OPTIONS), **fixed, **options})

    return run_on_tiny


def popularity(tiny_run) -> float:
    return tiny_run("Pop").record["metrics"]["HR@5"]["value"]


@pytest.mark.slow
def test_conrec_end_to_end(tiny_run):
    result = tiny_run("CoNRec", **SMALL)
    record = json.loads((result.run_dir / "result.json").read_text())
    assert [stage["name"] for stage in record["stages"]] == ["translation", "alignment", "warm-up", "grpo"]
    curve = [e["loss"] for e in record["stages"][2]["curve"] if "loss" in e]
    assert curve[-1] < curve[0]
    assert any("reward" in entry for entry in record["stages"][3]["curve"])
    for name in ("HR@5", "FHR@5", "FRecall@5", "LUF@5", "LIF@5", "CandAcc"):
        assert record["metrics"][name]["n"] > 0, name
    assert record["metrics"]["HR@5"]["value"] > 1.2 * popularity(tiny_run)
    assert record["cost"]["parameters"] > 0 and record["versions"]["trl"] and record["data_fingerprint"]
    outcomes = records.read(result.run_dir)[0].outcomes()
    assert np.nanmean(outcomes["HR@5"]) == record["metrics"]["HR@5"]["value"]


@pytest.mark.slow
def test_conrec_repeats_itself(tiny_run):
    first, second, third, last = SMALL["stages"]
    options = {**SMALL, "stages": [first, second, {**third, "epochs": 2, "evaluate_every": 2}, last]}
    result = tiny_run("CoNRec", **options)
    (result.run_dir / "result.json").unlink()
    again = tiny_run("CoNRec", **options)  # finished stages are found again, and end with the same numbers
    assert again.record["metrics"] == result.record["metrics"]
    (result.run_dir / "result.json").unlink()
    shutil.rmtree(result.run_dir.parent / "stages")
    again = tiny_run("CoNRec", **options)  # and so does training again
    assert again.record["metrics"] == result.record["metrics"]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["SASRec", "BERT4Rec", "Caser", "FDSA", "S3Rec"])
def test_stock_models_fill_every_column(tiny_run, model):
    result = tiny_run(model, epochs=2, pretrain_epochs=1) if model == "S3Rec" else tiny_run(model, epochs=2)
    for name, figure in result.record["metrics"].items():
        low = -1 if name.startswith("DeltaHR") else 0
        high = np.inf if name.startswith(("AveragePopularity", "ShannonEntropy")) else 1  # a count, and nats
        assert figure["n"] > 0 and low <= figure["value"] <= high, name
    assert result.record["instances"]["test"] == result.record["metrics"]["HR@5"]["n"]


@pytest.mark.slow
def test_sasrec_learns_and_repeats_itself(tiny_run):
    options = {"epochs": 12, "train_batch_size": 64, "learning_rate": 0.005}
    first = tiny_run("SASRec", **options)
    losses = [entry["loss"] for entry in first.record["curve"]]
    assert losses[-1] < losses[0]
    assert first.record["metrics"]["HR@5"]["value"] > popularity(tiny_run)
    second = tiny_run("SASRec", **options, checkpoint_dir="elsewhere")
    assert second.run_dir != first.run_dir
    assert second.record["metrics"] == first.record["metrics"]
    assert second.record["curve"] == first.record["curve"]
    third = tiny_run("SASRec", **options, checkpoint_dir="third", context="both")
    assert third.record["curve"] != first.record["curve"]  # `context` reaches the model
    assert third.record["data_fingerprint"] == first.record["data_fingerprint"]  # and leaves the instances alone


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_numbers(tiny_run, monkeypatch):
    options = {"epochs": 6, "train_batch_size": 64, "learning_rate": 0.005}
    whole = tiny_run("SASRec", **options, checkpoint_dir="whole")

    from recbole_conrec.runs.trainer import HarnessMixin

    save = HarnessMixin._save_last

    def die(self, epoch):
        save(self, epoch)
        if epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(HarnessMixin, "_save_last", die)
        tiny_run("SASRec", **options, checkpoint_dir="killed")
    resumed = tiny_run("SASRec", **options, checkpoint_dir="killed")
    assert resumed.record["curve"] == whole.record["curve"]
    assert resumed.record["metrics"] == whole.record["metrics"]


@pytest.mark.slow
def test_two_processes_evaluate_as_one(tiny_path, tmp_path):
    """On two CPU processes, as `accelerate launch` starts them: every instance once, and to the last digit."""
    options = {
        **read_by("CoNRec", tinylog.OPTIONS),
        **SMALL,
        "data_path": str(tiny_path),
        "gpu_id": "",
        "eval_batch_size": 16,
        "topk": [5],
        "valid_metric": "HR@5",
        "checkpoint_dir": "saved",
        "stages": [{**SMALL["stages"][2], "epochs": 2}],
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(options))
    command = ["-W", "ignore", ROOT / "run_recbole_conrec.py", "--model=CoNRec", "--dataset=tiny"]
    command += ["--config_files=tiny.yaml"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    world["ACCELERATE_USE_CPU"] = "true"
    seen = []
    for ranks in ([{}], [{**world, "RANK": rank, "LOCAL_RANK": rank} for rank in "01"]):
        running = [forked.start(command, tmp_path, environment) for environment in ranks]
        done = [one.wait() for one in running]  # the two find the trained stage and only evaluate
        assert not any(one.returncode for one in done), done
        assert sum(one.stdout.count("written to") for one in done) == 1
        (folder,) = (tmp_path / "saved" / "tiny").glob("CoNRec-*")
        seen.append(records.read(folder)[0].outcomes())
        (folder / "outcomes.parquet").unlink()
    for name, values in seen[0].items():
        np.testing.assert_array_equal(values, seen[1][name], err_msg=name)


@pytest.mark.slow
def test_files_hold_no_pickled_objects(tiny_run):
    result = tiny_run("SASRec", epochs=1)
    assert torch.load(result.run_dir / "last.pt", weights_only=True)["epoch"] == 0
    assert {file.name for file in result.run_dir.iterdir()} == {
        "result.json",
        "config.yaml",
        "outcomes.parquet",
        "model.safetensors",
        "last.pt",
        "run.log",
        "spent.json",
        "lock",
    }


def test_command_line(tiny_path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump({**tinylog.OPTIONS, "data_path": str(tiny_path), "gpu_id": ""}))
    assert main(["--model=Pop", "--dataset=tiny", f"--config_files={file}", "--show_progress=False"]) == 0
    printed = capsys.readouterr().out
    assert "HR@20" in printed and "CandAcc" in printed and "written to saved/tiny/Pop-" in printed


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--model=Nope"], "unknown model 'Nope'"),
        (["--model=Pop", "--dataset=absent"], "absent"),
        (["--model=Pop", "--feedback={negative: 'rating < 0'}"], "rating"),
        (["--model=Pop", "--feedback={negative: 'stars <= 2'}"], "stars"),
        (["--model=Pop", "--window.unit=weeks"], "weeks"),
        (["--model=Pop", "--valid_metric=HR@7"], "valid_metric"),
        (["--model"], "expected --KEY=VALUE"),
        (["trian"], "unknown subcommand 'trian'"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and words in error and error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--seed=abc"], "seed: 'abc'; expected a whole number"),
        (["--epochs.x=3"], "epochs"),
        (["--swing.top=abc"], "swing.top: 'abc'; expected a whole number"),
        (["--topk=0"], "topk"),
        (["--encoding=nope"], "encoding"),
        (["--state=loud"], "state"),
        (["--dataset=5"], "dataset"),
        (["--model=BPR"], "SequentialRecommender"),
        (["--model=CoNRec", "--stages=[{name: a, task: next, epochs: 0}]"], "stages.a.epochs: 0; expected"),
        (["--model=CoNRec", "--stages=[{name: a, task: fly}]"], "task"),
    ],
)
def test_wrong_values_are_named(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["--model=Pop", *arguments] if "--model" not in arguments[0] else arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and words in error and error.count("\n") == 1


@pytest.mark.slow
def test_a_run_killed_before_its_result_keeps_its_best_epoch(tiny_run):
    options = {"epochs": 8, "stopping_step": 8, "train_batch_size": 16, "learning_rate": 0.02}
    whole = tiny_run("SASRec", **options)
    scores = [entry["valid"] for entry in whole.record["curve"]]
    assert scores[-1] < max(scores)  # or this test could not fail
    (whole.run_dir / "result.json").unlink()
    assert tiny_run("SASRec", **options).record["metrics"] == whole.record["metrics"]
