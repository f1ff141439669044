"""A run has the number of threads that its options say, wherever it is started."""

import os

import faiss
import pytest
import tinylog
import torch
from threadpoolctl import threadpool_info

from recbole_conrec.filtering import predict_command
from recbole_conrec.runs.runner import run
from recbole_conrec.runs.threads import THREADS, pinned


def test_threads_are_pinned_inside_and_restored_after():
    before = torch.get_num_threads(), faiss.omp_get_max_threads(), {name: os.environ.get(name) for name in THREADS}
    for threads in (1, 2):
        with pinned(threads):
            assert torch.get_num_threads() == faiss.omp_get_max_threads() == threads
            assert {library["num_threads"] for library in threadpool_info()} <= {threads}
            assert {os.environ[name] for name in THREADS} == {str(threads)}
    after = torch.get_num_threads(), faiss.omp_get_max_threads(), {name: os.environ.get(name) for name in THREADS}
    assert after == before


@pytest.mark.slow
@pytest.mark.parametrize("threads", [None, 2])
def test_the_record_of_a_run_has_its_threads(threads, tiny_path, tmp_path):
    options = {**tinylog.OPTIONS, "data_path": str(tiny_path), "checkpoint_dir": str(tmp_path), "show_progress": False}
    given = {} if threads is None else {"threads": threads}
    record = run("Pop", "tiny", options={**options, "gpu_id": "", **given}).record
    assert record["config"]["threads"] == record["hardware"]["threads"] == (threads or 1)
    again = run("Pop", "tiny", options={**options, "gpu_id": "", "threads": 3 - (threads or 1)}).record
    assert again["identity"] != record["identity"]


def test_predict_takes_the_threads_of_the_run(tiny_path, tmp_path, monkeypatch):
    options = {**tinylog.OPTIONS, "data_path": str(tiny_path), "checkpoint_dir": str(tmp_path), "show_progress": False}
    folder = run("Pop", "tiny", options={**options, "gpu_id": "", "threads": 2}).run_dir
    seen, predict = [], predict_command.predict
    monkeypatch.setattr(
        predict_command, "predict", lambda *args: (seen.append(torch.get_num_threads()), predict(*args))[1]
    )
    chosen = predict_command.PredictOptions(run=str(folder), out=str(tmp_path / "sets"))
    with pinned(1):
        predict_command.predict_command(chosen, {"data_path": str(tiny_path), "use_gpu": False})
    assert seen == [2]
