"""A run counts the content of what its options name: a base model's files, the revision of a model of the hub."""

import json
import os
import shutil

import pytest
import tinylog
from safetensors.torch import load_file, save_file

from recbole_conrec import registry
from recbole_conrec.generative.prompts import ID_TEXTS
from recbole_conrec.generative.text_prompts import TITLE_TEXTS
from recbole_conrec.llm.tiny import TinyOptions, build_model, build_tokenizer
from recbole_conrec.runs.checks import read_by
from recbole_conrec.runs.config import make_config
from recbole_conrec.runs.identity import hub_models, identify, named_files, plain
from recbole_conrec.runs.restore import load_run
from recbole_conrec.runs.runner import run
from recbole_conrec.utils import model_files
from recbole_conrec.utils.errors import UserError

SMALL = TinyOptions(layers=1, hidden=16, heads=2, kv_heads=2, intermediate=16)


@pytest.fixture
def base(tmp_path):
    """A folder with a model and its tokenizer."""
    folder = tmp_path / "base"
    tokenizer = build_tokenizer([*ID_TEXTS, *TITLE_TEXTS], SMALL)
    build_model(len(tokenizer), SMALL).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def replace_weights(folder):
    """Other weights of the same size, with the times of the old ones but for a nanosecond."""
    file = folder / "model.safetensors"
    stat = file.stat()
    save_file({name: tensor * 3 for name, tensor in load_file(file).items()}, file, metadata={"format": "pt"})
    assert file.stat().st_size == stat.st_size
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))


def identity(model="LCRec", **options):
    config = make_config(model, "ml-100k", options=options)
    return identify(config, registry.find_model(model))


@pytest.mark.slow
def test_the_files_of_a_model_folder_count(base, tmp_path):
    for options in (
        {"llm": str(base)},
        {"tokenizer": {"encoder": {"name": "sentence-transformers", "model": str(base)}}},
    ):
        before = identity(**options)
        assert identity(**options) == before
        replace_weights(base)
        assert identity(**options) != before
    before = identity(llm=str(base))
    (base / "README.md").write_text("words")
    (base / ".cache").mkdir()
    (base / ".cache" / "x").write_text("words")
    assert identity(llm=str(base)) == before
    (base / "generation_config.json").write_text("{}")
    assert identity(llm=str(base)) != before


def test_the_base_of_an_adapter_counts(base, tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    before = named_files({"llm": str(adapter)})
    replace_weights(base)
    after = named_files({"llm": str(adapter)})
    assert len(before) == len(after) > 3 and before != after
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(adapter)}))
    assert len(named_files({"llm": str(adapter)})) == 1


@pytest.mark.parametrize("model, options", [("SASRec", {}), ("CoNRec", {}), ("LCRec", {"llm": "somebody/unknown"})])
def test_runs_that_name_no_files_are_as_they_were(model, options, monkeypatch, tmp_path):
    config = make_config(model, "ml-100k", options=options)
    assert named_files(plain(config)) == []
    monkeypatch.chdir(tmp_path)
    (tmp_path / "both").mkdir()  # the value of an option, and no model
    (tmp_path / "both" / "notes.txt").write_text("words")
    assert named_files({"context": "both", "llm": "tiny"}) == []


def test_the_revision_of_a_cached_model_counts(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path), raising=False)
    repository = tmp_path / "models--somebody--model"
    seen = [identity(llm="somebody/model")]
    for commit in ("a" * 40, "b" * 40):
        (repository / "refs").mkdir(parents=True, exist_ok=True)
        (repository / "refs" / "main").write_text(commit)
        (repository / "snapshots" / commit).mkdir(parents=True)
        (repository / "snapshots" / commit / "config.json").write_text("{}")
        assert model_files.revision("somebody/model") == commit
        seen.append(identity(llm="somebody/model"))
    assert len(set(seen)) == 3
    assert named_files({"llm": "somebody/model", "context": "somebody/model"}) == [f"somebody/model {'b' * 40}"]
    encoders = {"tokenizer": {"encoder": [{"name": "sentence-transformers", "model": "somebody/model"}, "tfidf"]}}
    assert hub_models({**encoders, "llm": "gpt"}) == ["gpt", "somebody/model"]
    assert hub_models({"tokenizer": {"encoder": "tfidf"}, "llm": "tiny"}) == []
    for name in ("tiny", "a/b/c", "../x", "", "some body/x", str(tmp_path)):
        assert model_files.revision(name) is None


@pytest.mark.slow
def test_another_base_model_is_another_run_and_the_old_one_cannot_be_loaded(base, tiny_path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stage = {"name": "next", "task": "next", "epochs": 1, "lr": 0.001, "batch_size": 16}
    options = {
        **read_by("CoNRec", tinylog.OPTIONS),
        "data_path": str(tiny_path),
        "gpu_id": "",
        "topk": [5],
        "valid_metric": "HR@5",
        "show_progress": False,
        "llm": str(base),
        "llm_options": {"lora": {"r": 2}},
        "tokenizer": {"name": "rqkmeans", "sizes": [8, 8, 8], "encoder": ["tfidf"]},
        "stages": [stage],
    }
    first = run("CoNRec", "tiny", options=options)
    files = first.record["fingerprints"]["files"]
    assert load_run(first.run_dir, {"gpu_id": ""}).fingerprints["files"] == files
    kept = shutil.copytree(base, tmp_path / "kept")
    replace_weights(base)
    with pytest.raises(UserError, match="files that its options name .* are not those that it was trained with"):
        load_run(first.run_dir, {"gpu_id": ""})
    second = run("CoNRec", "tiny", options=options)
    assert second.run_dir != first.run_dir
    assert len(list((tmp_path / "saved" / "tiny" / "stages").iterdir())) == 2
    shutil.rmtree(base)
    with pytest.raises(UserError, match="files that its options name"):
        load_run(first.run_dir, {"gpu_id": ""})
    kept.rename(base)
    assert load_run(first.run_dir, {"gpu_id": ""}).fingerprints["files"] == files
