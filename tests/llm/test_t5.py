"""T5 from a config: trained through the same engine, decoded as transformers decodes it, resumed."""

import copy

import numpy as np
import pytest
import torch
from llmtools import leaf_tokens, prompts, random_ids, teacher_forced
from test_decoding import assert_same_beams

from recbole_conrec.llm.batch import left_pad
from recbole_conrec.llm.decoding import beam_search, score
from recbole_conrec.llm.grpo import GRPOOptions, train_grpo
from recbole_conrec.llm.sft import SFTOptions, train_sft
from recbole_conrec.llm.t5 import FIRST_EXTRA, T5Options, load_t5
from recbole_conrec.llm.training import Runtime
from recbole_conrec.utils.errors import UserError

pytestmark = pytest.mark.slow

IDS = random_ids(60, (5, 6, 7))
SMALL = {"d_model": 32, "heads": 4, "d_kv": 8, "d_ff": 64, "layers": 2}


def small_t5(**options):
    return load_t5(IDS, T5Options(**SMALL | {"dropout": 0.0} | options), extra=3)


def pairs(backbone, n=24):
    """Histories of items of any length, each answered by the item that follows its last one in the catalogue."""
    rng = np.random.default_rng(0)
    examples = []
    for _ in range(n):
        items = rng.integers(1, 59, size=rng.integers(1, 6))
        examples.append(
            {
                "input_ids": [FIRST_EXTRA, *backbone.item_tokens[torch.tensor(items)].flatten().tolist()],
                "labels": backbone.item_tokens[int(items[-1]) + 1].tolist(),
            }
        )
    return examples


def train(backbone, tmp_path, examples, runtime=None, **options):
    runtime = Runtime(str(tmp_path), **{"logging_steps": 1} | (runtime or {}))
    return train_sft(backbone, examples, SFTOptions(**{"batch_size": 8, "lr": 5e-3} | options), runtime)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    backbone = small_t5()
    log = train(backbone, tmp_path_factory.mktemp("t5"), pairs(backbone), epochs=40, runtime={"logging_steps": 20})
    return backbone, log


def test_the_vocabulary_is_specials_and_codes(trained):
    backbone, _ = trained
    assert backbone.sid_tokens.tolist() == list(range(FIRST_EXTRA + 3, FIRST_EXTRA + 3 + 18))
    assert backbone.model.get_input_embeddings().weight.shape == (FIRST_EXTRA + 3 + 18, 32)
    assert (backbone.pad_id, backbone.eos_id, backbone.max_length) == (0, 1, 512)


def test_it_learns_and_answers_what_it_learned(trained):
    backbone, log = trained
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert losses[-1] < losses[0] / 4
    examples = pairs(backbone)
    best, _ = beam_search(backbone, IDS.trie, *left_pad([one["input_ids"] for one in examples], 0), width=1)
    answers = leaf_tokens(backbone, best[:, 0])
    assert (answers == torch.tensor([one["labels"] for one in examples])).all(1).float().mean() > 0.8


def test_a_trained_t5_decodes_as_transformers_does(trained):
    backbone, _ = trained
    assert_same_beams(backbone, lengths=(9, 1, 23, 4))
    rows = prompts(backbone, (9, 1, 23, 4))
    leaves = torch.arange(40).view(4, 10)
    mine = score(backbone, IDS.trie, *left_pad(rows, 0), leaves)
    theirs = [
        [teacher_forced(backbone, row, leaf_tokens(backbone, leaf[None])[0].tolist()).sum() for leaf in wanted]
        for row, wanted in zip(rows, leaves, strict=True)
    ]
    torch.testing.assert_close(mine, torch.tensor(theirs), atol=1e-4, rtol=0)


def test_the_step_is_transformers_own(tmp_path):
    """Loss and gradient norm of the first step, ragged prompts and answers, accumulated over two batches."""
    backbone = small_t5()
    examples = pairs(backbone, 8)
    examples[3]["labels"] = examples[3]["labels"][:1]
    model = copy.deepcopy(backbone.model)
    log = train(backbone, tmp_path, examples, batch_size=4, accumulate=2, max_steps=1)
    total, count = 0, 0
    for example in examples:
        labels = torch.tensor([example["labels"]])
        total = total + model(input_ids=torch.tensor([example["input_ids"]]), labels=labels).loss * labels.numel()
        count += labels.numel()
    (total / count).backward()
    norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
    assert log[0]["loss"] == pytest.approx(float((total / count).detach()), abs=1e-4)
    assert log[0]["grad_norm"] == pytest.approx(float(norm), rel=1e-4)


@pytest.mark.parametrize("stop", [2, 4])
def test_resume_is_exact_within_and_across_epochs(tmp_path, stop):
    """Three steps an epoch, with dropout."""
    straight, interrupted = small_t5(dropout=0.2), small_t5(dropout=0.2)
    examples = pairs(straight)
    train(straight, tmp_path, examples, max_steps=stop + 1, runtime={"save_steps": stop})
    resume = {"save_steps": stop, "resume": str(tmp_path / f"checkpoint-{stop}")}
    train(interrupted, tmp_path, examples, max_steps=stop + 1, runtime=resume)
    for name, value in straight.model.state_dict().items():
        assert torch.equal(value, interrupted.model.state_dict()[name]), name


@pytest.mark.parametrize(
    "change, message",
    [
        ({"labels": []}, "training example 1: no labels; examples of an encoder-decoder have input_ids and labels"),
        ({"labels": [3, 99]}, "training example 1: token 99 is not in the vocabulary of 23"),
        ({"input_ids": [-1]}, "training example 1: token -1 is not in the vocabulary of 23"),
    ],
)
def test_bad_examples_are_named(tmp_path, change, message):
    backbone = small_t5()
    examples = pairs(backbone, 4)
    examples[1] |= change
    with pytest.raises(UserError, match=message):
        train(backbone, tmp_path, examples)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"heads": "4"}, "t5.heads: '4'; expected a whole number"),
        ({"layers": 0}, "t5.layers: 0; expected a whole number of at least 1"),
        ({"d_kv": True}, "t5.d_kv: True; expected a whole number"),
        ({"dropout": 1}, "t5.dropout: 1; expected a number of at least 0 and below 1"),
        ({"hidden": 3}, "t5: unknown option 'hidden'; its options: d_model, heads"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(UserError, match=message):
        T5Options.read(options, "t5")


def test_grpo_of_an_encoder_decoder_is_refused(tmp_path):
    with pytest.raises(UserError, match="grpo: an encoder-decoder model cannot be trained by GRPO here"):
        train_grpo(
            small_t5(), IDS.trie, [{"input_ids": [3]}], lambda items: items, GRPOOptions(), Runtime(str(tmp_path))
        )
