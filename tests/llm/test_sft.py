"""SFT: the loss is TRL's, on answers only; mixtures and buckets show what they promise; resume; errors."""

import copy

import numpy as np
import pytest
import torch
from llmtools import prompts, random_ids, tiny_backbone
from transformers import Trainer
from trl import SFTTrainer

from recbole_conrec.llm import sft
from recbole_conrec.llm.mixture import MixtureSampler
from recbole_conrec.llm.sft import CompactSFTTrainer, train_sft
from recbole_conrec.utils.errors import UserError


@pytest.fixture
def backbone():
    return tiny_backbone(random_ids(60, (5, 6, 7)))


def training_rows(backbone, n=24, seed=0):
    """Rows with answers in several places."""
    rng = np.random.default_rng(seed)
    rows = [{"input_ids": row} for row in prompts(backbone, rng.integers(4, 30, size=n), seed)]
    for row in rows:
        row["completion_mask"] = (rng.random(len(row["input_ids"])) < 0.4).astype(int).tolist()
        row["completion_mask"][-1] = 1
    return rows


def train(backbone, tmp_path, rows, **options):
    return train_sft(backbone, rows, output_dir=str(tmp_path), **{"batch_size": 4, "lr": 1e-3} | options)


def weights(backbone):
    return {name: p.detach().clone() for name, p in backbone.model.named_parameters()}


def test_it_trains_the_same_model_as_trls_trainer(backbone, tmp_path, monkeypatch):
    """One optimizer step of plain gradient descent over ragged rows, accumulated over two batches."""
    rows = training_rows(backbone, 8)
    theirs = copy.deepcopy(backbone)
    options = {"max_steps": 2, "batch_size": 2, "accumulate": 2, "schedule": "constant", "warmup": 0.0, "lr": 1e-2}
    mine_log = train(backbone, tmp_path / "a", rows, **options, logging_steps=1)
    monkeypatch.setattr(CompactSFTTrainer, "compute_loss", SFTTrainer.compute_loss)
    padded = sft._Collator.__call__

    def with_padding_mask(self, examples):  # TRL's loss needs it for its token count
        batch = padded(self, examples)
        return batch | {"attention_mask": (batch["input_ids"] != self.pad_id).long()}

    monkeypatch.setattr(sft._Collator, "__call__", with_padding_mask)
    their_log = train(theirs, tmp_path / "b", rows, **options, logging_steps=1)
    assert mine_log[0]["loss"] == pytest.approx(their_log[0]["loss"], abs=1e-5)
    assert mine_log[0]["grad_norm"] == pytest.approx(their_log[0]["grad_norm"], rel=1e-5)
    for name, value in weights(backbone).items():
        torch.testing.assert_close(value, weights(theirs)[name], atol=2e-5, rtol=0, msg=name)


def test_loss_is_on_the_marked_tokens_only(backbone, tmp_path):
    rows = training_rows(backbone, 4)
    log = train(backbone, tmp_path, rows, max_steps=1, lr=0.0, logging_steps=1)
    nll = []
    with torch.no_grad():
        for row in rows:
            ids = torch.tensor([row["input_ids"]])
            logps = backbone.model(ids).logits.log_softmax(-1)[0, :-1].gather(1, ids[0, 1:, None])[:, 0]
            nll += (-logps[torch.tensor(row["completion_mask"][1:], dtype=torch.bool)]).tolist()
    assert log[0]["loss"] == pytest.approx(np.mean(nll), abs=1e-4)


def test_it_learns_and_reports(backbone, tmp_path):
    rows = training_rows(backbone)
    seen = []
    log = train(
        backbone,
        tmp_path,
        rows,
        epochs=20,
        lr=1e-2,
        logging_steps=10,
        progress=lambda step, of, entry: seen.append((step, of)),
    )
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert losses[-1] < losses[0] / 2
    assert seen[0] == (10, 120) and log[-1]["train_samples_per_second"] > 0
    assert not backbone.model.training
    assert not list(tmp_path.glob("checkpoint-*"))


@pytest.mark.parametrize("stop", [5, 7])
def test_resume_is_exact_within_and_across_epochs(backbone, tmp_path, stop):
    straight, interrupted = copy.deepcopy(backbone), copy.deepcopy(backbone)
    rows = training_rows(backbone)  # 6 steps an epoch
    train(straight, tmp_path, rows, max_steps=9, save_steps=stop)
    train(interrupted, tmp_path, rows, max_steps=9, save_steps=stop, resume=str(tmp_path / f"checkpoint-{stop}"))
    for name, value in weights(straight).items():
        assert torch.equal(value, weights(interrupted)[name]), name


def test_a_run_without_anomaly_detection_and_telemetry(backbone, tmp_path, monkeypatch):
    """RecBole's SINE switches autograd's anomaly detection on for the whole process: four times slower."""
    modes = []
    step = Trainer.training_step
    monkeypatch.setattr(
        Trainer, "training_step", lambda *a, **k: (modes.append(torch.is_anomaly_enabled()), step(*a, **k))[1]
    )
    monkeypatch.setattr("trl.trainer.base_trainer.send_telemetry", lambda *a, **k: pytest.fail("telemetry"))
    with torch.autograd.set_detect_anomaly(True):
        train(backbone, tmp_path, training_rows(backbone, 4), max_steps=1)
    assert modes == [False]


def test_mixture_shows_each_task_as_often_as_its_weight_says():
    task = np.repeat([0, 1, 2], [100, 40, 10])
    lengths = np.random.default_rng(0).integers(5, 50, size=150)
    sampler = MixtureSampler(lengths, task, [1.0, 0.5, 2.5], batch_size=8, seed=3)
    epochs = []
    for sampler.epoch in (0, 1, 0):
        order = np.array(list(sampler))
        assert len(order) == len(sampler) == 100 + 20 + 25
        times = np.bincount(order, minlength=150)
        assert (times[task == 0] == 1).all()
        assert sorted(times[task == 1].tolist()) == [0] * 20 + [1] * 20
        assert sorted(times[task == 2].tolist()) == [2] * 5 + [3] * 5
        epochs.append(order)
    assert (epochs[0] == epochs[2]).all()  # a function of the seed and the epoch
    assert set(epochs[0][task[epochs[0]] == 1]) != set(epochs[1][task[epochs[1]] == 1])


def test_batches_hold_rows_of_like_length():
    lengths = np.random.default_rng(0).integers(5, 200, size=2000)
    sampler = MixtureSampler(lengths, np.zeros(2000, dtype=int), [1.0], batch_size=16, seed=0)
    batches = lengths[np.array(list(sampler))].reshape(-1, 16)
    padding = batches.max(1).sum() * 16 / batches.sum() - 1
    shuffled = np.random.default_rng(1).permutation(lengths).reshape(-1, 16)
    assert padding < 0.05 < 0.5 < shuffled.max(1).sum() * 16 / shuffled.sum() - 1
    assert np.corrcoef(np.arange(len(batches)), batches.mean(1))[0, 1] < 0.3  # and the batches are not sorted


def test_tasks_with_weights_train_together(backbone, tmp_path):
    tasks = {"next": training_rows(backbone, 8), "title": training_rows(backbone, 8, seed=1)}
    log = train(backbone, tmp_path, tasks, weights={"title": 0.5}, logging_steps=1)
    assert log[-1]["step"] == 3  # 8 + 4 rows, 4 a step


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda rows: rows.clear(), "there are none"),
        (lambda rows: rows[2]["input_ids"].__setitem__(0, 9999), "training row 2: token 9999 is not in the vocabulary"),
        (
            lambda rows: rows[1]["completion_mask"].pop(),
            "training row 1: completion_mask and input_ids differ in length",
        ),
    ],
)
def test_bad_rows_are_named(backbone, tmp_path, change, message):
    rows = training_rows(backbone, 4)
    change(rows)
    with pytest.raises(UserError, match=message):
        train(backbone, tmp_path, rows)


def test_a_missing_checkpoint_is_named(backbone, tmp_path):
    with pytest.raises(UserError, match="is no checkpoint folder"):
        train(backbone, tmp_path, training_rows(backbone, 4), resume=str(tmp_path / "checkpoint-7"))


def test_bad_weights_are_named(backbone, tmp_path):
    rows = {"next": training_rows(backbone, 4)}
    with pytest.raises(UserError, match="no task is called 'nxt'; tasks are next"):
        train(backbone, tmp_path, rows, weights={"nxt": 1.0})
    with pytest.raises(UserError, match="the weights leave no training rows"):
        train(backbone, tmp_path, rows, weights={"next": 0.0})
