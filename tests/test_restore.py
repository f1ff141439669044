"""A finished run's model again: the same answers, and nothing else under its name."""

import json
import shutil

import numpy as np
import pytest
import tinylog
import torch

from recbole_conrec.evaluation import ranking
from recbole_conrec.runs import records
from recbole_conrec.runs.restore import load_run
from recbole_conrec.runs.runner import run
from recbole_conrec.utils.errors import UserError

pytestmark = pytest.mark.slow

TINY = {
    "llm_options": {"tiny": {"layers": 1, "hidden": 32, "heads": 2, "kv_heads": 2, "intermediate": 64}},
    "tokenizer": {"name": "rqkmeans", "sizes": [8, 8, 8], "encoder": ["tfidf"]},
    "beam": 10,
    "stages": [{"name": "warm-up", "task": "next", "epochs": 1, "lr": 0.005, "batch_size": 4}],
}
LORA = {**TINY, "llm_options": {**TINY["llm_options"], "lora": {}}}


@pytest.fixture
def train(tiny_path, tmp_path):
    fixed = {
        **tinylog.OPTIONS,
        "data_path": str(tiny_path),
        "checkpoint_dir": str(tmp_path / "saved"),
        "gpu_id": "",
        "topk": [5],
        "valid_metric": "HR@5",
        "show_progress": False,
    }
    return lambda model, **options: run(model, "tiny", options={**fixed, **options}).run_dir


@pytest.mark.parametrize("model, options", [("Pop", {}), ("SASRec", {"epochs": 1}), ("CoNRec", TINY), ("CoNRec", LORA)])
def test_the_same_answers(train, model, options):
    folder = train(model, **options)
    loaded = load_run(folder, {"gpu_id": ""})
    test = loaded.data.build()[2]
    outcomes = records.read(folder)[0].outcomes()["HR@5"]
    with torch.no_grad():
        items = ranking.recommend(loaded.model, test[np.arange(len(test))], 5, test).numpy()
    np.testing.assert_array_equal((items == test.instances.item[:, None]).any(axis=1), outcomes)
    assert loaded.fingerprints["run"] == loaded.record["identity"] and loaded.fingerprints["semantic_ids"]


def test_what_does_not_belong_together_is_refused(train, tiny_path, tmp_path):
    folder = train("SASRec", epochs=1)
    with pytest.raises(UserError, match="'seed' is decided by the run"):
        load_run(folder, {"seed": 3})
    with pytest.raises(UserError, match="no finished run .result.json is missing"):
        load_run(tmp_path)

    other = shutil.copytree(tiny_path, tmp_path / "data")
    with open(other / "tiny" / "tiny.inter", "a") as file:
        file.write("u1\ti1\t5\t1005184000\n")
    with pytest.raises(UserError, match="data in .* are not those that it was trained on"):
        load_run(folder, {"data_path": str(other)})

    def damaged(change, words):
        copy = folder.with_name(f"{folder.name}-copy")
        shutil.copytree(folder, copy)
        change(copy)
        with pytest.raises(UserError, match=words):
            load_run(copy, {"gpu_id": ""})
        shutil.rmtree(copy)

    def edit(**changes):
        def change(copy):
            record = json.loads((copy / "result.json").read_text())
            (copy / "result.json").write_text(json.dumps(record | {k: record[k] | v for k, v in changes.items()}))

        return change

    damaged(lambda copy: (copy / "model.safetensors").unlink(), "no such file")
    damaged(lambda copy: (copy / "model.safetensors").write_bytes(b"x" * 99), "not the weights of this model")
    damaged(lambda copy: flip(copy / "model.safetensors"), "not those that the run ended with")
    damaged(edit(versions={"recbole-conrec": "0.0.1"}), "trained by version 0.0.1")
    damaged(edit(fingerprints={"weights": "0" * 64}), "not those that the run ended with")


def flip(file):
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
