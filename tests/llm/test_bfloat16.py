"""A bfloat16 model: logits, log-softmax and running scores are float32, so that only the hidden states are rounded."""

import copy
from dataclasses import replace

import pytest
import torch
from llmtools import leaf_tokens, prompts, random_ids, teacher_forced, tiny_backbone
from test_decoding import generate

from recbole_conrec.llm.batch import left_pad
from recbole_conrec.llm.constraint import Constraint
from recbole_conrec.llm.decoding import beam_search, sample, score
from recbole_conrec.llm.head import Head
from recbole_conrec.llm.packed import completion_logps

LENGTHS = tuple(range(3, 27))
IDS = random_ids(200, (8, 8, 8))


@pytest.fixture(scope="module")
def half():
    return tiny_backbone(IDS, dtype="bfloat16")


@pytest.fixture(scope="module")
def single(half):
    """The same weights, computed with in float32: the truth."""
    return replace(half, model=copy.deepcopy(half.model).float())


@pytest.fixture(scope="module")
def padded(half):
    return left_pad(prompts(half, LENGTHS), half.pad_id)


@torch.no_grad()
def of_its_hidden_states(half, prompt, answer):
    """Log-probabilities of an answer: bfloat16 hidden states of a plain forward, float64 from there on."""
    ids = torch.tensor([prompt + answer[:-1]])
    hidden = half.model.base_model(input_ids=ids).last_hidden_state[0, len(prompt) - 1 :]
    logits = hidden.double() @ half.model.get_output_embeddings().weight.double().T
    return logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None]).sum()


def test_logits_of_half_precision_weights_are_not_rounded(half):
    hidden = torch.randn(3, 5, 32).bfloat16()
    weight, _ = Head(half.model).parameters()
    logits = Head(half.model).logits(hidden)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits.double(), hidden.double() @ weight.double().T, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_scores_err_by_no_more_than_the_hidden_states_explain(half, single, padded):
    rows = prompts(half, LENGTHS)
    leaves = torch.randint(IDS.trie.n_leaves, (len(rows), 5), generator=torch.Generator().manual_seed(0))
    mine, truth = (score(backbone, IDS.trie, *padded, leaves) for backbone in (half, single))
    assert mine.dtype == torch.float32
    tokens = leaf_tokens(half, leaves.flatten()).view(*leaves.shape, -1).tolist()
    pairs = [(row, answer) for row, answers in zip(rows, tokens, strict=True) for answer in answers]
    explained = torch.stack([of_its_hidden_states(half, *pair) for pair in pairs]).view_as(mine)
    theirs = torch.stack([teacher_forced(half, *pair).sum() for pair in pairs]).view_as(mine)
    errors = [float((one - truth).abs().mean()) for one in (mine, explained, theirs)]
    assert 0 < errors[0] <= 1.2 * errors[1]
    assert errors[0] < errors[2]  # the model's own logits are rounded, too


@pytest.mark.slow
def test_beams_agree_with_float32_as_often_as_generate(half, single, padded):
    """The hidden states' rounding, which both share, decides nearly all of what differs: 1 % is left to it."""
    rows = prompts(half, LENGTHS)
    truth, _ = beam_search(single, IDS.trie, *padded, width=20)
    mine, scores = beam_search(half, IDS.trie, *padded, width=20)
    assert scores.dtype == torch.float32
    assert beam_search(half, IDS.trie, *padded, width=5, exact=True)[1].dtype == torch.float32
    shared = [0, 0]
    for row, true, found in zip(rows, truth, mine, strict=True):
        tokens, _ = generate(half, row, 20)
        wanted = set(map(tuple, leaf_tokens(half, true).tolist()))
        shared[0] += len(wanted & set(map(tuple, leaf_tokens(half, found).tolist())))
        shared[1] += len(wanted & set(map(tuple, tokens.tolist())))
    assert shared[0] >= shared[1] - 0.01 * 20 * len(rows) and shared[0] > 0.95 * 20 * len(rows)


def test_what_samples_is_what_trains(half, padded):
    _, codes, sampled = sample(half, IDS.trie, *padded, n=4, generator=torch.Generator().manual_seed(0))
    mine, _ = completion_logps(half.model, Constraint(half, IDS.trie, "allowed"), *padded, codes)
    assert mine.dtype == sampled.dtype == torch.float32
    torch.testing.assert_close(mine[:, :, 0], sampled[:, :, 0], atol=0.05, rtol=0)  # hidden states by other kernels
    mine.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in half.model.parameters() if p.grad is not None)
