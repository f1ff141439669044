"""Damaged files of earlier attempts are named, set aside, and what they held is done again; so is nothing else."""

import json
import math
import shutil
from dataclasses import replace

import pytest
import tinylog
import torch

from recbole_conrec.generative.stage_store import StageStore, checkpoint_damage
from recbole_conrec.runs import records
from recbole_conrec.runs.checks import read_by
from recbole_conrec.runs.runner import run
from recbole_conrec.runs.trainer import Harness
from recbole_conrec.utils import damage
from recbole_conrec.utils.errors import UserError

pytestmark = pytest.mark.slow

TINY = {"layers": 1, "hidden": 16, "heads": 2, "kv_heads": 2, "intermediate": 16}
STAGED = {
    "llm_options": {"tiny": TINY},
    "tokenizer": {"name": "rqkmeans", "sizes": [8, 8, 8], "encoder": ["tfidf"]},
    "valid_sample": 20,
    "stages": [
        {"name": "first", "task": "translation", "epochs": 1, "lr": 0.003, "batch_size": 16},
        {"name": "second", "task": "next", "epochs": 2, "lr": 0.003, "batch_size": 16, "save_every": 2},
    ],
}
BROKEN = {
    "empty": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "other": lambda file: file.write_bytes(b"not what it was"),
}


def fixed(tiny_path) -> dict:
    """Options of all runs here."""
    return {"data_path": str(tiny_path), "gpu_id": "", "topk": [5], "valid_metric": "HR@5", "show_progress": False}


@pytest.fixture
def train(tiny_path, tmp_path, monkeypatch):
    """Function (model, **options) -> Result on the small log."""
    monkeypatch.chdir(tmp_path)
    given = fixed(tiny_path)
    return lambda model, **options: run(model, "tiny", options={**read_by(model, tinylog.OPTIONS), **given, **options})


@pytest.fixture(scope="module")
def _trained(tiny_path, tmp_path_factory):
    """Function (model, **options) -> (Result, folder with `saved`), each trained once for all tests: read only."""
    made = {}

    def once(model, **options):
        key = json.dumps([model, options])
        if key not in made:
            folder = tmp_path_factory.mktemp("trained")
            given = {**read_by(model, tinylog.OPTIONS), **fixed(tiny_path), "checkpoint_dir": str(folder / "saved")}
            made[key] = run(model, "tiny", options={**given, **options}), folder
        return made[key]

    return once


@pytest.fixture
def trained(_trained, train, tmp_path):
    """Function (model, **options) -> Result: what `train` gives, copied from a run that tests share."""

    def copied(model, **options):
        result, folder = _trained(model, **options)
        shutil.copytree(folder / "saved", tmp_path / "saved")
        return replace(result, run_dir=tmp_path / result.run_dir.relative_to(folder))

    return copied


def unfinished(result):
    """The run's folder as if it had been killed before its result."""
    (result.run_dir / "result.json").unlink()
    return result.run_dir


@pytest.mark.parametrize(
    ("name", "how"),
    [("last.pt", "empty"), ("last.pt", "cut"), ("model.safetensors", "cut"), ("model.safetensors", "other")],
)
def test_a_damaged_checkpoint_is_trained_again(train, trained, name, how):
    whole = trained("SASRec", epochs=2)
    folder = unfinished(whole)
    BROKEN[how](folder / name)
    with pytest.warns(UserWarning, match=f"{name} is damaged"):
        again = train("SASRec", epochs=2)
    assert (folder / f"{name}.damaged").exists()
    assert again.record["metrics"] == whole.record["metrics"]
    assert [entry["loss"] for entry in again.record["curve"]] == [entry["loss"] for entry in whole.record["curve"]]


def test_half_a_state_leaves_no_trace(train, trained):
    """Weights that load and an optimizer that does not."""
    whole = trained("SASRec", epochs=2)
    folder = unfinished(whole)
    state = torch.load(folder / "last.pt", weights_only=True)
    torch.save({**state, "optimizer": {}}, folder / "last.pt")
    with pytest.warns(UserWarning, match="last.pt is damaged"):
        assert train("SASRec", epochs=2).record["metrics"] == whole.record["metrics"]


def test_damaged_pretrained_weights_are_made_again(train):
    whole = train("S3Rec", epochs=1, pretrain_epochs=1)
    folder = unfinished(whole)
    (folder / "last.pt").unlink()
    BROKEN["cut"](folder / "pretrained.safetensors")
    with pytest.warns(UserWarning, match="pretrained.safetensors is damaged"):
        assert train("S3Rec", epochs=1, pretrain_epochs=1).record["metrics"] == whole.record["metrics"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "how"),
    [("stage.json", "cut"), ("stage.json", "keys"), ("weights.safetensors", "other"), ("weights.safetensors", "gone")],
)
def test_a_damaged_stage_is_trained_again(train, trained, tmp_path, name, how):
    whole = trained("CoNRec", **STAGED)
    unfinished(whole)
    files = sorted((tmp_path / "saved" / "tiny" / "stages").glob(f"*/{name}"))
    assert len(files) == 2
    for file in files:
        if how == "keys":
            content = json.loads(file.read_text()) if name == "stage.json" else {}
            file.write_text(json.dumps({**content, "valid": None}))
        elif how == "gone":
            file.unlink()
        else:
            BROKEN[how](file)
    if how == "gone":
        again = train("CoNRec", **STAGED)
    else:
        with pytest.warns(UserWarning, match=f"{name} is damaged"):
            again = train("CoNRec", **STAGED)
    assert again.record["metrics"] == whole.record["metrics"]
    valid = [[stage["valid"] for stage in result.record["stages"]] for result in (whole, again)]
    assert valid[0] == valid[1]


@pytest.fixture(scope="module")
def _checkpoint(_trained, tmp_path_factory):
    kept = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(StageStore, "write", lambda self, *_: shutil.copytree(self.folder, kept, dirs_exist_ok=True))
        _trained("CoNRec", **STAGED, seed=3)  # a run of its own: its stages are not written
    return kept


@pytest.fixture
def checkpoint(_checkpoint, tmp_path):
    """A whole checkpoint folder of an interrupted stage."""
    kept = shutil.copytree(_checkpoint, tmp_path / "kept")
    return max(kept.glob("checkpoint-*"), key=lambda folder: int(folder.name.split("-")[1]))


def test_damage_of_a_checkpoint_is_seen(checkpoint):
    assert checkpoint_damage(checkpoint) == ""
    names = [file.name for file in checkpoint.iterdir()]
    needed = {"best.json", "trainer_state.json", "optimizer.pt", "scheduler.pt", "model.safetensors", "rng_state.pth"}
    assert needed <= set(names)
    for name in needed:
        for change in (*BROKEN.values(), lambda file: file.unlink()):
            before = (checkpoint / name).read_bytes()
            change(checkpoint / name)
            assert checkpoint_damage(checkpoint), name
            (checkpoint / name).write_bytes(before)
    assert checkpoint_damage(checkpoint) == ""


def test_an_earlier_checkpoint_takes_the_place_of_a_damaged_one(checkpoint, tmp_path):
    store = StageStore(tmp_path / "stage")
    for number in (2, 4, 10):
        shutil.copytree(checkpoint, store.folder / f"checkpoint-{number}")
    (store.folder / "checkpoint-10" / "best.json").unlink()  # was being written
    (store.folder / "checkpoint-4" / "optimizer.pt").write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="checkpoint-4 was damaged .optimizer.pt is missing or not whole."),
        store.hold(),
    ):
        assert store.checkpoint() == str(store.folder / "checkpoint-2")
    assert sorted(folder.name for folder in store.folder.glob("checkpoint-*")) == ["checkpoint-2"]


def test_what_a_full_disk_cut_short_is_removed_at_once(tmp_path):
    store = StageStore(tmp_path / "stage")
    with pytest.raises(UserError), store.hold():
        (store.folder / "checkpoint-3").mkdir()
        (store.folder / "checkpoint-3" / "model.safetensors").write_bytes(b"half")
        raise UserError("the disk is full")
    assert not list(store.folder.glob("checkpoint-*"))


def test_a_metric_that_counts_no_validation_instance_is_named(train, monkeypatch):
    monkeypatch.setattr(Harness.__mro__[2], "_valid_epoch", lambda *_: (float("nan"), {}))
    with pytest.raises(
        UserError, match="^valid_metric: LIF@5 is nan, as it counts none of the .* instances; give another"
    ):
        train("Pop", valid_metric="LIF@5")


def test_a_loss_that_is_no_number_is_one_line(train):
    with pytest.raises(UserError, match="SASRec: (the loss is nan in training|training gave weights)"):
        train("SASRec", epochs=3, learning_rate=1e30)


def test_epochs_that_are_never_validated_end_with_the_last_weights(train):
    result = train("SASRec", epochs=1, eval_step=5)
    assert 0 <= result.record["valid"]["HR@5"] <= 1 and result.record["metrics"]["HR@5"]["n"]


def test_records_hold_no_nan(train):
    folder = train("Pop").run_dir
    json.loads((folder / "result.json").read_text(), parse_constant=lambda name: pytest.fail(name))


@pytest.mark.parametrize("text", ["", "[]", '{"a": NaN}', '{"a": 1', "\x00"])
def test_what_is_no_object_is_refused(tmp_path, text):
    (tmp_path / "file").write_text(text)
    with pytest.raises(ValueError):
        damage.read_object(tmp_path / "file")
    (tmp_path / "file").write_text('{"a": 1}')
    assert damage.read_object(tmp_path / "file") == {"a": 1}


@pytest.mark.parametrize("how", ["empty", "nested", "nan in its curve", "of another run", "outcomes"])
def test_a_damaged_record_is_set_aside_and_its_run_repeated(how, train):
    whole = train("Pop")
    file = whole.run_dir / records.RESULT
    content = json.loads(file.read_text())
    texts = {
        "empty": "",
        "nested": "[" * 100_000,
        "nan in its curve": json.dumps({**content, "curve": [{"epoch": 0, "valid": math.nan}]}),
        "of another run": json.dumps({**content, "identity": "0" * 64}),
    }
    (whole.run_dir / records.OUTCOMES if how == "outcomes" else file).write_text(texts.get(how, "PAR1"))
    with pytest.warns(UserWarning, match=r"result.json is damaged \(.*its work is done again"):
        again = train("Pop")
    assert again.record["metrics"] == whole.record["metrics"]
    assert {path.name for path in whole.run_dir.glob("*.damaged")} == {
        f"{n}.damaged" for n in (records.RESULT, records.OUTCOMES)
    }
    assert records.read(whole.run_dir, content["identity"])[0]
