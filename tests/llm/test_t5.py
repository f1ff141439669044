"""T5 from a config: trained through the same engine, decoded as transformers decodes it, saved, resumed."""

import copy

import numpy as np
import pytest
import torch
from llmtools import leaf_tokens, prompts, random_ids, teacher_forced
from test_decoding import assert_same_beams

from recbole_conrec.llm.batch import left_pad
from recbole_conrec.llm.decoding import beam_search, score
from recbole_conrec.llm.grpo import train_grpo
from recbole_conrec.llm.sft import train_sft
from recbole_conrec.llm.store import restore_backbone, save_backbone
from recbole_conrec.llm.t5 import FIRST_EXTRA, load_t5
from recbole_conrec.utils.errors import UserError

IDS = random_ids(60, (5, 6, 7))
SMALL = {"d_model": 32, "heads": 4, "d_kv": 8, "d_ff": 64, "layers": 2}


def small_t5(**options):
    return load_t5(IDS, SMALL | {"dropout": 0.0} | options, extra=3)


def pairs(backbone, n=24):
    """Histories of items of any length, each answered by the item that follows its last one in the catalogue."""
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(n):
        items = rng.integers(1, 59, size=rng.integers(1, 6))
        rows.append(
            {
                "input_ids": [FIRST_EXTRA, *backbone.item_tokens[torch.tensor(items)].flatten().tolist()],
                "labels": backbone.item_tokens[int(items[-1]) + 1].tolist(),
            }
        )
    return rows


def train(backbone, tmp_path, rows, **options):
    return train_sft(backbone, rows, output_dir=str(tmp_path), **{"batch_size": 8, "lr": 5e-3} | options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    backbone = small_t5()
    log = train(backbone, tmp_path_factory.mktemp("t5"), pairs(backbone), epochs=40, logging_steps=20)
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
    rows = pairs(backbone)
    trie = IDS.trie
    best, _ = beam_search(backbone, trie, *left_pad([row["input_ids"] for row in rows], 0), width=1)
    answers = leaf_tokens(backbone, best[:, 0])
    assert (answers == torch.tensor([row["labels"] for row in rows])).all(1).float().mean() > 0.8


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
    rows = pairs(backbone, 8)
    rows[3]["labels"] = rows[3]["labels"][:1]
    model = copy.deepcopy(backbone.model)
    log = train(backbone, tmp_path, rows, batch_size=4, accumulate=2, max_steps=1, logging_steps=1)
    total, count = 0, 0
    for row in rows:
        labels = torch.tensor([row["labels"]])
        total = total + model(input_ids=torch.tensor([row["input_ids"]]), labels=labels).loss * labels.numel()
        count += labels.numel()
    (total / count).backward()
    norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
    assert log[0]["loss"] == pytest.approx(float((total / count).detach()), abs=1e-4)
    assert log[0]["grad_norm"] == pytest.approx(float(norm), rel=1e-4)


@pytest.mark.parametrize("stop", [2, 4])
def test_resume_is_exact_within_and_across_epochs(tmp_path, stop):
    """Three steps an epoch, with dropout."""
    straight, interrupted = small_t5(dropout=0.2), small_t5(dropout=0.2)
    rows = pairs(straight)
    train(straight, tmp_path, rows, max_steps=stop + 1, save_steps=stop)
    train(interrupted, tmp_path, rows, max_steps=stop + 1, save_steps=stop, resume=str(tmp_path / f"checkpoint-{stop}"))
    for name, value in straight.model.state_dict().items():
        assert torch.equal(value, interrupted.model.state_dict()[name]), name


def test_it_is_saved_and_comes_back(trained, tmp_path):
    backbone, _ = trained
    save_backbone(backbone, tmp_path / "saved")
    again = restore_backbone(tmp_path / "saved", semantic_ids=IDS)
    padded = left_pad(prompts(backbone, (9, 4)), 0)
    for mine, theirs in zip(
        beam_search(again, IDS.trie, *padded, width=8), beam_search(backbone, IDS.trie, *padded, width=8), strict=True
    ):
        assert torch.equal(mine, theirs)
    assert again.tokenizer is None and torch.equal(again.item_tokens, backbone.item_tokens)
    train(again, tmp_path, pairs(again), max_steps=1)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"labels": []}, "training row 1: no labels; the rows of an encoder-decoder have input_ids and labels"),
        ({"labels": [3, 99]}, "training row 1: token 99 is not in the vocabulary of 23"),
        ({"input_ids": [-1]}, "training row 1: token -1 is not in the vocabulary of 23"),
    ],
)
def test_bad_rows_are_named(tmp_path, change, message):
    backbone = small_t5()
    rows = pairs(backbone, 4)
    rows[1] |= change
    with pytest.raises(UserError, match=message):
        train(backbone, tmp_path, rows)


def test_what_t5_cannot_do_is_named(tmp_path):
    for name, value, expected in (
        ("heads", "4", "whole"),
        ("layers", 0, "whole"),
        ("d_kv", True, "whole"),
        ("dropout", 1, "share"),
    ):
        with pytest.raises(UserError, match=f"t5: {name} is {value!r}; expected a {expected}"):
            load_t5(IDS, {name: value})
    with pytest.raises(UserError, match="t5: unknown option 'hidden'; known are d_model, heads"):
        load_t5(IDS, {"hidden": 3})
    backbone = small_t5()
    with pytest.raises(UserError, match="grpo: an encoder-decoder model cannot be trained by GRPO here"):
        train_grpo(backbone, IDS.trie, [{"input_ids": [3]}], lambda items: items, output_dir=str(tmp_path))
