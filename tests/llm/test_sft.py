"""SFT: the loss is TRL's, on answers only; mixtures and buckets keep their promises; resume; errors."""

import copy

import numpy as np
import pytest
import torch
from llmtools import prompts, random_ids, tiny_backbone
from transformers import Trainer, TrainerCallback
from trl import SFTTrainer

from recbole_conrec.llm.collators import CausalCollator
from recbole_conrec.llm.mixture import MixtureSampler
from recbole_conrec.llm.sft import CompactSFTTrainer, SFTOptions, train_sft
from recbole_conrec.llm.training import Runtime
from recbole_conrec.utils.errors import UserError

pytestmark = pytest.mark.slow


@pytest.fixture
def backbone():
    return tiny_backbone(random_ids(60, (5, 6, 7)))


def training_examples(backbone, n=24, seed=0):
    """Examples with answers in several places."""
    rng = np.random.default_rng(seed)
    examples = [{"input_ids": ids} for ids in prompts(backbone, rng.integers(4, 30, size=n), seed)]
    for example in examples:
        example["completion_mask"] = (rng.random(len(example["input_ids"])) < 0.4).astype(int).tolist()
        example["completion_mask"][-1] = 1
    return examples


def train(backbone, tmp_path, examples, weights=None, runtime=None, **options):
    runtime = Runtime(str(tmp_path), **{"logging_steps": 1} | (runtime or {}))
    return train_sft(backbone, examples, SFTOptions(**{"batch_size": 4} | options), runtime, weights=weights)


def weights(backbone):
    return {name: p.detach().clone() for name, p in backbone.model.named_parameters()}


def test_it_trains_the_same_model_as_trls_trainer(backbone, tmp_path, monkeypatch):
    """Two optimizer steps over ragged examples, each accumulated over two batches."""
    examples = training_examples(backbone, 8)
    theirs = copy.deepcopy(backbone)
    options = {"max_steps": 2, "batch_size": 2, "accumulate": 2, "schedule": "constant", "warmup": 0.0, "lr": 1e-2}
    mine_log = train(backbone, tmp_path / "a", examples, **options)
    monkeypatch.setattr(CompactSFTTrainer, "compute_loss", SFTTrainer.compute_loss)
    padded = CausalCollator.__call__

    def with_padding_mask(self, numbers):  # TRL's loss needs it for its token count
        batch = padded(self, numbers)
        return batch | {"attention_mask": (batch["input_ids"] != self.pad_id).long()}

    monkeypatch.setattr(CausalCollator, "__call__", with_padding_mask)
    their_log = train(theirs, tmp_path / "b", examples, **options)
    assert mine_log[0]["loss"] == pytest.approx(their_log[0]["loss"], abs=1e-5)
    assert mine_log[0]["grad_norm"] == pytest.approx(their_log[0]["grad_norm"], rel=1e-5)
    for name, value in weights(backbone).items():
        torch.testing.assert_close(value, weights(theirs)[name], atol=2e-5, rtol=0, msg=name)


def test_loss_is_on_the_marked_tokens_only(backbone, tmp_path):
    examples = training_examples(backbone, 4)
    log = train(backbone, tmp_path, examples, max_steps=1, lr=0.0)
    nll = []
    with torch.no_grad():
        for example in examples:
            ids = torch.tensor([example["input_ids"]])
            logps = backbone.model(ids).logits.log_softmax(-1)[0, :-1].gather(1, ids[0, 1:, None])[:, 0]
            nll += (-logps[torch.tensor(example["completion_mask"][1:], dtype=torch.bool)]).tolist()
    assert log[0]["loss"] == pytest.approx(np.mean(nll), abs=1e-4)


def test_weighted_tokens_bear_their_share_of_the_loss(backbone, tmp_path):
    """The loss of one step is the weighted mean over the tokens, whatever the scale of the weights."""
    examples = training_examples(backbone, n=4)
    rng = np.random.default_rng(1)
    for example in examples:
        mask = np.array(example["completion_mask"])
        example["completion_mask"] = (mask * rng.choice([0.25, 1.0], len(mask))).tolist()
    model = copy.deepcopy(backbone.model)
    total = weight = 0.0
    for example in examples:  # by hand
        ids = torch.tensor([example["input_ids"]])
        logps = model(ids).logits[0, :-1].detach().log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
        mask = torch.tensor(example["completion_mask"])[1:]
        total, weight = total - float((logps * mask).sum()), weight + float(mask.sum())
    halved = [{**one, "completion_mask": [m / 2 for m in one["completion_mask"]]} for one in examples]
    for given in (examples, halved):
        log = train(copy.deepcopy(backbone), tmp_path, given, max_steps=1)
        assert log[0]["loss"] == pytest.approx(total / weight, rel=1e-4)


def test_it_learns_and_reports(backbone, tmp_path):
    seen = []
    runtime = {"logging_steps": 10, "progress": lambda step, last, entry: seen.append((step, last))}
    log = train(backbone, tmp_path, training_examples(backbone), epochs=20, lr=1e-2, runtime=runtime)
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert losses[-1] < losses[0] / 2
    assert seen[0] == (10, 120) and log[-1]["train_samples_per_second"] > 0
    assert not backbone.model.training
    assert not list(tmp_path.glob("checkpoint-*"))


@pytest.mark.parametrize("stop", [5, 7])
def test_resume_is_exact_within_and_across_epochs(backbone, tmp_path, stop):
    straight, interrupted = copy.deepcopy(backbone), copy.deepcopy(backbone)
    examples = training_examples(backbone)  # 6 steps an epoch
    train(straight, tmp_path, examples, max_steps=9, runtime={"save_steps": stop})
    resume = {"save_steps": stop, "resume": str(tmp_path / f"checkpoint-{stop}")}
    train(interrupted, tmp_path, examples, max_steps=9, runtime=resume)
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
        train(backbone, tmp_path, training_examples(backbone, 4), max_steps=1)
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


def test_batches_hold_examples_of_like_length():
    lengths = np.random.default_rng(0).integers(5, 200, size=2000)
    sampler = MixtureSampler(lengths, np.zeros(2000, dtype=int), [1.0], batch_size=16, seed=0)
    batches = lengths[np.array(list(sampler))].reshape(-1, 16)
    padding = batches.max(1).sum() * 16 / batches.sum() - 1
    shuffled = np.random.default_rng(1).permutation(lengths).reshape(-1, 16)
    assert padding < 0.05 < 0.5 < shuffled.max(1).sum() * 16 / shuffled.sum() - 1
    assert np.corrcoef(np.arange(len(batches)), batches.mean(1))[0, 1] < 0.3  # and the batches are not sorted


def test_tasks_with_weights_train_together(backbone, tmp_path):
    tasks = {"next": training_examples(backbone, 8), "title": training_examples(backbone, 8, seed=1)}
    log = train(backbone, tmp_path, tasks, weights={"title": 0.5})
    assert log[-1]["step"] == 3  # 8 + 4 examples, 4 a step


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda examples: examples.clear(), "training examples: there are none"),
        (
            lambda examples: examples[2]["input_ids"].__setitem__(0, 9999),
            "training example 2: token 9999 is not in the vocabulary",
        ),
        (
            lambda examples: examples[1]["completion_mask"].pop(),
            "training example 1: completion_mask and input_ids differ in length",
        ),
    ],
)
def test_bad_examples_are_named(backbone, tmp_path, change, message):
    examples = training_examples(backbone, 4)
    change(examples)
    with pytest.raises(UserError, match=message):
        train(backbone, tmp_path, examples)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"epochs": 0}, "stages[0].epochs: 0; expected a number above 0"),
        ({"batch_size": 0}, "stages[0].batch_size: 0; expected a whole number of at least 1"),
        ({"schedule": "cosin"}, "stages[0].schedule: 'cosin'; expected one of cosine, .*; did you mean 'cosine'"),
        ({"lr": "1e-3"}, "stages[0].lr: '1e-3'; expected a number of at least 0"),
        ({"max_steps": -2}, "stages[0].max_steps: -2; expected a whole number of at least -1"),
        ({"bf16": 1}, "stages[0].bf16: 1; expected true or false"),
        ({"learning_rate": 1.0}, "unknown option 'learning_rate'"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(UserError, match=message.replace("[0]", r"\[0\]")):
        SFTOptions.read(options, "stages[0]")


def test_a_missing_checkpoint_is_named(backbone, tmp_path):
    with pytest.raises(UserError, match="is no checkpoint folder"):
        train(backbone, tmp_path, training_examples(backbone, 4), runtime={"resume": str(tmp_path / "checkpoint-7")})


def test_bad_weights_are_named(backbone, tmp_path):
    examples = {"next": training_examples(backbone, 4)}
    with pytest.raises(UserError, match="no task is called 'nxt'; tasks are next"):
        train(backbone, tmp_path, examples, weights={"nxt": 1.0})
    with pytest.raises(UserError, match="the weights leave no training examples"):
        train(backbone, tmp_path, examples, weights={"next": 0.0})


def masked(examples):
    for example in examples:
        example["completion_mask"] = [1] + [0] * (len(example["input_ids"]) - 1)  # nothing predicts a first token


def test_examples_without_loss_are_an_error_if_there_are_no_others(backbone, tmp_path):
    examples = training_examples(backbone, 8)
    masked(examples)
    with pytest.raises(UserError, match="no token bears loss, as completion_mask is 0"):
        train(backbone, tmp_path, examples)
    masked(some := training_examples(backbone, 8))
    some[3] = training_examples(backbone, 8)[3]
    losses = [entry["loss"] for entry in train(backbone, tmp_path, some, batch_size=1) if "loss" in entry]
    assert np.isfinite(losses).all() and sum(loss > 0 for loss in losses) == 1


def test_a_loss_that_is_no_number_ends_the_training(backbone, tmp_path):
    with torch.no_grad():
        next(backbone.model.parameters())[0] = torch.nan
    with pytest.raises(UserError, match="training: the loss of step 1 is nan; lower lr"):
        train(backbone, tmp_path, training_examples(backbone, 8))


def test_weights_that_are_no_numbers_end_the_training(backbone, tmp_path):
    class Poison(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, **kwargs):
            next(model.parameters()).data.fill_(torch.nan)

    with pytest.raises(UserError, match="training: it ended with weights that are not finite"):
        train(backbone, tmp_path, training_examples(backbone, 4), runtime={"callbacks": [Poison()]})


def test_a_disk_that_is_full_is_one_line(backbone, tmp_path, monkeypatch):
    def full(*_, **__):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match="the checkpoint cannot be written .*free some space"):
        train(backbone, tmp_path, training_examples(backbone, 8), runtime={"save_steps": 1})


def test_answers_compete_with_answers_alone_where_asked(backbone, tmp_path):
    """The loss of a step without learning is the cross entropy over the tokens of some answer; by hand."""
    examples = training_examples(backbone, 8)
    log = train(backbone, tmp_path, examples, max_steps=1, batch_size=8, lr=0.0, softmax="answers")
    answers = sorted(
        {t for e in examples for t, m in zip(e["input_ids"][1:], e["completion_mask"][1:], strict=True) if m}
    )
    assert 1 < len(answers) < backbone.model.get_input_embeddings().weight.shape[0]
    losses = []
    for example in examples:
        with torch.no_grad():
            logits = backbone.model(torch.tensor([example["input_ids"]])).logits[0]
        for at, (token, bears) in enumerate(zip(example["input_ids"], example["completion_mask"], strict=True)):
            if bears and at:
                losses.append(-logits[at - 1, answers].log_softmax(0)[answers.index(token)].item())
    assert log[0]["loss"] == pytest.approx(np.mean(losses), abs=1e-5)
