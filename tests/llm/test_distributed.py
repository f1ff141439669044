"""Two processes on a CPU train and evaluate what one process does, without RecBole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import launched
import pytest
import torch
from llmtools import random_ids, tiny_backbone
from safetensors.torch import load_file

from recbole_conrec.utils import distributed
from recbole_conrec.utils.distributed import gather_by_id, my_batches
from recbole_conrec.utils.errors import UserError

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What one process left, which is this one, and two, in which RecBole cannot be imported."""
    folder = tmp_path_factory.mktemp("launched")
    paths = [str(HERE), str(HERE.parent.parent), os.environ.get("PYTHONPATH", "")]
    program = f"import sys; sys.modules['recbole'] = None; import launched; launched.two({str(folder)!r})"
    two = subprocess.Popen(
        [sys.executable, "-c", program],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)},
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as many as each of the two has: sums are rounded in the same order
    try:
        launched.main(str(folder))
    finally:
        torch.set_num_threads(threads)
        errors = two.communicate(timeout=300)[1]
    assert two.returncode == 0, errors[-3000:]
    return folder


@pytest.fixture(scope="module")
def results(folder):
    """{processes: [result of each process]}"""
    return {n: [load_file(folder / f"{n}-{rank}.safetensors") for rank in range(n)] for n in (1, 2)}


def test_evaluation_equals_that_of_one_process_to_the_last_digit(results):
    (one,), (first, second) = results[1], results[2]
    assert one["ids"].tolist() == list(range(23))
    for name in ("untrained", "untrained_scores"):
        assert torch.equal(one[name], first[name]) and torch.equal(one[name], second[name]), name
    for name in ("ids", "leaves", "scores"):
        assert torch.equal(first[name], second[name]), name
    assert torch.equal(first["ids"], one["ids"])


def test_both_processes_hold_the_same_model_after_training(results):
    first, second = results[2]
    for name in first:
        assert torch.equal(first[name], second[name]), name
    assert any(not torch.equal(first[name], first[name.replace("sft.", "grpo.")]) for name in first if "sft." in name)


def test_two_processes_fine_tune_the_model_that_one_does(results):
    """The same 8 examples a step, four on each process: the loss is the mean over all answer tokens."""
    (one,), (first, _) = results[1], results[2]
    torch.testing.assert_close(first["loss"], one["loss"], atol=1e-4, rtol=0)
    for name in one:
        if name.startswith(("sft.", "t5.")):
            torch.testing.assert_close(first[name], one[name], atol=1e-4, rtol=0, msg=name)


def test_the_engine_loads_decodes_and_trains_without_recbole_data_and_methods(folder):
    modules = json.loads((folder / "modules-0.json").read_text())
    assert "torch" in modules and not [name for name in modules if name.split(".")[0] == "recbole"]
    rooms = {name.split(".")[1] for name in modules if name.startswith("recbole_conrec.")}
    rooms_of_the_package = {"compat", "on_import"}  # what its root registers for when RecBole is imported
    assert rooms - rooms_of_the_package == {"llm", "options", "tokenizer", "utils"}


def test_one_process_takes_all_batches():
    assert my_batches(10, 4) == [range(4), range(4, 8), range(8, 10)]
    ids, leaves, _ = launched.evaluate(tiny_backbone(random_ids(60, (5, 6, 7))))
    assert ids.tolist() == list(range(23)) and leaves.shape == (23, 10)


def test_batches_are_dealt_out_whole(monkeypatch):
    class State:
        process_index, num_processes = 1, 3

    monkeypatch.setattr(distributed, "process_state", State)
    assert my_batches(18, 4) == [range(4, 8), range(16, 18)]
    assert my_batches(3, 4) == []


def test_instances_are_ordered_and_counted_once():
    ids, values = gather_by_id(torch.tensor([3, 1, 2]), torch.tensor([[30.0], [10.0], [20.0]]))
    assert ids.tolist() == [1, 2, 3] and values[:, 0].tolist() == [10.0, 20.0, 30.0]
    with pytest.raises(UserError, match="instance 1 was evaluated twice"):
        gather_by_id(torch.tensor([1, 0, 1]), torch.zeros(3))
