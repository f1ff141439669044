"""Writing Predict Sets: their content, what the model may have seen, and what an interruption or damage leaves."""

import copy
import json
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import forked
import numpy as np
import pytest
from pyarrow import parquet

from recbole_conrec.data.events import NEGATIVE, FeedbackStream
from recbole_conrec.filtering import NegativeFilter
from recbole_conrec.filtering import folder as layout
from recbole_conrec.filtering import predict as module
from recbole_conrec.filtering.future import top_lists
from recbole_conrec.filtering.predict import SetOptions, predict
from recbole_conrec.filtering.sets import moments, predict_sets
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import HOST


def test_parts_hold_the_models_answers(trained, sets_folder):
    data, ids = trained.data, trained.semantic_ids
    table = parquet.read_table(sets_folder / "parts").to_pylist()
    assert [row["user_id"] for row in table] == [f"{t}" for t in data.field2id_token["user_id"][1:]]
    names = sorted(file.name for file in (sets_folder / "parts").iterdir())
    assert names == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    negative = NegativeFilter.load(sets_folder)
    for user in (1, 17, 60):
        row, items = table[user - 1], predict_sets(trained, np.array([user]), moments(data, "end"), 8)
        known = items.items[0][items.items[0] > 0]
        assert row["item_ids"] == data.id2token("item_id", known).tolist() and len(known) == 8
        assert row["sids"] == [ids.text(item) for item in known]
        np.testing.assert_allclose(row["scores"], items.scores[0], atol=1e-4)
        assert (np.diff(row["scores"]) <= 1e-5).all()  # a likelihood, best first
        np.testing.assert_array_equal(row["embeddings"], ids.embeddings(known))
        assert row["activity"] == (data.log.feedback[data.log.user == user] != 0).sum()
        sets = negative.sets
        assert sets.rows[sets.ptr[user - 1] : sets.ptr[user]].tolist() == row["rows"] == (known - 1).tolist()
        disliked = data.log.item[(data.log.user == user) & (data.log.feedback == NEGATIVE)]
        assert not set(disliked) & set(known)


@pytest.mark.parametrize("at", ["valid", "test"])
def test_nothing_from_the_moment_on_is_seen(trained, at):
    data, t0 = trained.data, moments(trained.data, at)
    log = data.log
    late = log.time >= t0[log.user]
    assert 0 < late.sum() < len(log)
    rng = np.random.default_rng(3)
    other = replace(
        log,
        item=np.where(late, rng.integers(1, log.n_items, len(log)), log.item),
        feedback=np.where(late, rng.integers(-1, 2, len(log)), log.feedback).astype(np.int8),
    )
    users = np.arange(1, 40)
    before = predict_sets(trained, users, t0, 6)
    changed = copy.copy(data)
    changed.log, changed._history = other, FeedbackStream(other, data.options.kinds)
    model = copy.copy(trained.model)
    model.log = other
    model.prompts = copy.copy(model.prompts)
    model.prompts.log = other
    after = predict_sets(replace(trained, data=changed, model=model), users, t0, 6)
    for name in ("items", "scores", "activity"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
    whole = predict_sets(trained, users, moments(data, "end"), 6)
    assert (whole.items != before.items).any()  # or the comparison above could not fail


def test_users_without_feedback_get_no_set(trained):
    data, t0 = trained.data, moments(trained.data, "valid")
    begin, end = data.log.start[:-1], data.log.first_at_or_after(np.arange(data.log.n_users), t0)
    strangers = np.flatnonzero((end == begin) & (np.arange(data.log.n_users) > 0))
    assert len(strangers)
    sets = predict_sets(trained, np.append(strangers, 1), t0, 5)
    assert (sets.items[:-1] == 0).all() and (sets.scores[:-1] == -np.inf).all() and (sets.items[-1] > 0).all()


def test_an_interruption_leaves_no_folder_that_loads(trained, sets_folder, tmp_path, monkeypatch):
    out, ask = tmp_path / "sets", module.predict_sets

    def die_in_the_second_part(run, users, t0, size):
        if users[0] > 25:
            raise KeyboardInterrupt
        return ask(run, users, t0, size)

    monkeypatch.setattr(module, "predict_sets", die_in_the_second_part)
    with pytest.raises(KeyboardInterrupt):
        predict(trained, out, SetOptions(size=8, part_users=25))
    assert [file.name for file in (out / "parts").iterdir()] == ["part-00000.parquet"]  # and no half of another
    with pytest.raises(UserError, match="not complete"):
        NegativeFilter.load(out)

    asked = []
    monkeypatch.setattr(module, "predict_sets", lambda *given: asked.append(given[1][0]) or ask(*given))
    predict(trained, out, SetOptions(size=8, part_users=25))
    assert asked == [26, 51]  # the first part was not asked for again
    whole, parts = layout.read_manifest(sets_folder), layout.read_manifest(out)
    assert whole == parts  # the digests of all files are in it


def test_a_failure_before_the_manifest_leaves_none(trained, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(module, "build_index", fail)
    with pytest.raises(OSError):
        predict(trained, tmp_path / "sets", SetOptions(size=4))
    with pytest.raises(UserError, match="not complete"):
        NegativeFilter.load(tmp_path / "sets")


def spoil(file: Path, how: str) -> None:
    content = bytearray(file.read_bytes())
    if how == "cut":
        content = content[:-10]
    else:
        content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("name", ["parts/part-00001.parquet", "index/rows.npy", "tokenizer/semantic_ids.safetensors"])
@pytest.mark.parametrize("how", ["cut", "flip"])
def test_damaged_files_are_named_and_they_alone_are_written_again(trained, sets_copy, sets_folder, name, how, capsys):
    spoil(sets_copy / name, how)
    with pytest.raises(UserError, match=name):
        NegativeFilter.load(sets_copy)
    others = [sets_copy / layout.part_file(n) for n in range(3) if layout.part_file(n) != name]
    times = [file.stat().st_mtime_ns for file in others]
    predict(trained, sets_copy, SetOptions(size=8, part_users=25))
    assert name in capsys.readouterr().err
    assert [file.stat().st_mtime_ns for file in others] == times
    NegativeFilter.load(sets_copy)
    assert (sets_copy / name).read_bytes() == (sets_folder / name).read_bytes()


def test_quick_loading_sees_sizes(sets_copy):
    spoil(sets_copy / "index/rows.npy", "flip")
    NegativeFilter.load(sets_copy, verify=False)
    spoil(sets_copy / "index/rows.npy", "cut")
    with pytest.raises(UserError, match="bytes instead of"):
        NegativeFilter.load(sets_copy, verify=False)


def test_a_damaged_manifest_is_found_and_replaced(trained, sets_copy):
    file = sets_copy / layout.MANIFEST
    file.write_text(file.read_text().replace('"empty": 0', '"empty": 1'))
    with pytest.raises(UserError, match="manifest.json: damaged"):
        NegativeFilter.load(sets_copy)
    predict(trained, sets_copy, SetOptions(size=8, part_users=25))
    assert layout.read_manifest(sets_copy)["empty"] == 0
    file.write_text("{")
    with pytest.raises(UserError, match="manifest.json: damaged"):
        NegativeFilter.load(sets_copy)


def test_another_prediction_is_not_mixed_in(trained, sets_copy):
    with pytest.raises(UserError, match=r"with another size \(8, now 5\); give another --out, or --overwrite"):
        predict(trained, sets_copy, SetOptions(size=5, part_users=25))
    other = replace(trained, fingerprints={**trained.fingerprints, "code": "other"})
    with pytest.raises(UserError, match="fingerprint of the code"):
        predict(other, sets_copy, SetOptions(size=8, part_users=25))
    assert predict(trained, sets_copy, SetOptions(size=5, part_users=25, overwrite=True))["predicted"] == 5 * 60
    assert not (sets_copy / "valid").exists()


def test_a_damaged_plan_does_not_let_another_prediction_pass(trained, sets_copy):
    (sets_copy / layout.PLAN).write_text("{")
    assert predict(trained, sets_copy, SetOptions(size=5, part_users=25))["size"] == 5
    assert NegativeFilter.load(sets_copy).manifest["predicted"] == 5 * 60


def test_users_of_a_file(trained, tmp_path):
    users = str(tmp_path / "users.txt")
    (tmp_path / "users.txt").write_text("u3\nu41\n\nu3\n")
    manifest = predict(trained, tmp_path / "sets", SetOptions(users=users, size=4))
    assert manifest["users"] == 2
    negative = NegativeFilter.load(tmp_path / "sets", theta=0.5)
    assert negative.users.rows(["u3", "u41", "u5"]).tolist() == [0, 1, -1]
    (tmp_path / "users.txt").write_text("u3\nu999\n")
    with pytest.raises(UserError, match=r"users.txt: line 2: no user 'u999'"):
        predict(trained, tmp_path / "other", SetOptions(users=users))
    with pytest.raises(UserError, match="neither 'all' nor a file"):
        predict(trained, tmp_path / "other", SetOptions(users="absent.txt"))


def test_a_file_of_users_may_have_a_mark_and_blanks(trained, tmp_path):
    (tmp_path / "users.txt").write_bytes("\ufeff u3\r\nu41\t\r\n".encode())
    assert predict(trained, tmp_path / "sets", SetOptions(users=str(tmp_path / "users.txt"), size=4))["users"] == 2
    (tmp_path / "users.txt").write_text("u3\n" + "".join(f"x{n}\n" for n in range(7)))
    with pytest.raises(UserError, match=r"line 2: no user 'x0', .*line 6: no user 'x4' and 2 more in the data set"):
        predict(trained, tmp_path / "other", SetOptions(users=str(tmp_path / "users.txt")))


def test_a_set_is_no_larger_than_the_catalogue(trained, tmp_path):
    users = tmp_path / "users.txt"
    users.write_text("u3\n")
    manifest = predict(trained, tmp_path / "sets", SetOptions(users=str(users), size=100_000_000))
    assert manifest["size"] == trained.data.item_num - 1
    assert top_lists(trained.data, np.array([1]), "test", 100_000_000).shape == (1, trained.data.item_num)


def test_only_a_folder_of_sets_or_an_empty_one_is_written_to(trained, run_folder, sets_copy, tmp_path):
    before = sorted(str(file) for file in run_folder.rglob("*"))
    for overwrite in (False, True):
        with pytest.raises(UserError, match="is no folder of Predict Sets; it holds .*; give a new or an empty folder"):
            predict(trained, run_folder, SetOptions(size=8, overwrite=overwrite))
    assert sorted(str(file) for file in run_folder.rglob("*")) == before
    own = sets_copy / "parts" / "notes.txt"
    own.write_text("mine")
    with pytest.raises(UserError, match=r"--overwrite would remove 'parts/notes.txt', which no prediction wrote"):
        predict(trained, sets_copy, SetOptions(size=5, part_users=25, overwrite=True))
    assert own.read_text() == "mine" and NegativeFilter.load(sets_copy).manifest["size"] == 8


def test_temporary_files_of_killed_predictions_go(trained, sets_copy):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = (".plan.json", "parts/.part-00001.parquet", "tokenizer/.features.json", "index/.users.npy")
    left = [sets_copy / f"{name}.{HOST}.{dead.pid}" for name in names]
    kept = sets_copy / ".notes.12"
    for file in (*left, kept):
        file.write_text("half")
    predict(trained, sets_copy, SetOptions(size=8, part_users=25))
    assert not any(file.exists() for file in left) and kept.exists()


def test_manifest_names_everything(trained, sets_folder):
    manifest = json.loads((sets_folder / layout.MANIFEST).read_text())
    prints = trained.fingerprints
    assert manifest["model"] == {"name": "CoNRec", "run": prints["run"], "weights": prints["weights"]}
    assert manifest["data"]["fingerprint"] == trained.record["data_fingerprint"] and manifest["data"]["at"] == "end"
    assert manifest["tokenizer"]["fingerprint"] == trained.semantic_ids.fingerprint
    assert manifest["code"]["fingerprint"] == prints["code"] == manifest["code"]["trained_with"]
    assert {layout.part_file(n) for n in range(3)} < set(manifest["files"]) and manifest["theta"] is None


@pytest.mark.slow
def test_two_processes_write_what_one_does(run_folder, sets_folder, tmp_path):
    """With the variables that `accelerate launch` gives its processes (tests/test_runner.py launches by it)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    options = ["--out=sets", "--size=8", "--part_users=25", "--gpu_id=", "--show_progress=False"]
    command = ["-W", "ignore", "-m", "recbole_conrec", "predict", f"--run={run_folder}", *options]
    started = [
        forked.start(command, tmp_path, place | {"OMP_NUM_THREADS": "1", "RANK": rank, "LOCAL_RANK": rank})
        for rank in "01"
    ]
    ends = [one.wait() for one in started]
    assert [done.returncode for done in ends] == [0, 0], ends
    assert sum(done.stdout.count("written to sets/") for done in ends) == 1
    one, two = (parquet.read_table(folder / "parts").to_pylist() for folder in (sets_folder, tmp_path / "sets"))
    for first, second in zip(one, two, strict=True):
        assert {**first, "scores": None} == {**second, "scores": None}
    NegativeFilter.load(tmp_path / "sets")
