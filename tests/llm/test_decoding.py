"""Beams, samples and scores against transformers' generate and plain forwards."""

import math

import pytest
import torch
from llmtools import (
    allowed_tokens,
    bare_backbone,
    leaf_tokens,
    prompts,
    random_ids,
    shake,
    teacher_forced,
    tiny_backbone,
)

from recbole_conrec.llm.batch import left_pad
from recbole_conrec.llm.decoding import beam_search, sample, score, search_and_score
from recbole_conrec.utils.errors import UserError

LENGTHS = (9, 1, 23, 4)
ARCHITECTURES = {
    "llama": {"attn": "eager"},
    "llama-untied": {"tie_word_embeddings": False},
    "mistral": {"sliding_window": 6},
    "gemma2": {"attn": "eager", "sliding_window": 6, "head_dim": 8, "final_logit_softcapping": 5.0},
    "cohere": {"logit_scale": 0.25},
    "granite": {"logits_scaling": 4.0},
    "gpt2": {},
    "t5": {"is_gated_act": True},
    "t5-eager": {"attn": "eager"},
}


def generate(backbone, prompt, width):
    """The beam search of transformers under the same trie -> (tokens [n, depth], scores [n]) of its real beams."""
    depth = backbone.semantic_ids.depth
    model, ids = backbone.model, torch.tensor([prompt])
    begin = 1 if model.config.is_encoder_decoder else len(prompt)
    out = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        num_beams=width,
        num_return_sequences=width,
        max_new_tokens=depth,
        min_new_tokens=depth,
        do_sample=False,
        length_penalty=0.0,
        prefix_allowed_tokens_fn=allowed_tokens(backbone, begin),
        return_dict_in_generate=True,
        output_scores=True,
    )
    tokens = out.sequences[:, begin:]
    keep = out.sequences_scores > -1e8  # with fewer IDs than beams, transformers fills up with repeats at -1e9
    return tokens[keep], out.sequences_scores[keep]


def assert_same_beams(backbone, lengths=LENGTHS, width=20):
    rows = prompts(backbone, lengths)
    leaves, scores = beam_search(backbone, backbone.semantic_ids.trie, *left_pad(rows, 0), width=width)
    assert leaves.shape == scores.shape == (len(rows), width)
    for prompt, leaf, mine in zip(rows, leaves, scores, strict=True):
        tokens, theirs = generate(backbone, prompt, width)
        n = min(width, backbone.semantic_ids.trie.n_leaves)
        assert len(tokens) == n
        assert torch.equal(leaf_tokens(backbone, leaf[:n]), tokens)
        torch.testing.assert_close(mine[:n], theirs, atol=1e-4, rtol=0)
        assert (leaf[n:] == -1).all() and torch.isinf(mine[n:]).all()


@pytest.mark.parametrize("sizes, n_items", [((30,), 31), ((6, 9), 40), ((8, 8, 8), 300), ((4, 4, 4, 4), 90)])
def test_beams_equal_generate_at_every_depth(sizes, n_items):
    assert_same_beams(tiny_backbone(random_ids(n_items, sizes)))


@pytest.mark.parametrize("sizes, n_items", [((5,), 5), ((3, 3, 3), 8), ((2, 9), 3)])
def test_beams_of_a_catalogue_with_fewer_items(sizes, n_items):
    assert_same_beams(tiny_backbone(random_ids(n_items, sizes)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_beams_equal_generate_for_every_architecture(name):
    ids = random_ids(120, (6, 6, 6))
    backbone = bare_backbone(name.split("-")[0], ids, **ARCHITECTURES[name])
    assert_same_beams(backbone, width=10)
    rows = prompts(backbone, LENGTHS)
    leaves = torch.randint(ids.trie.n_leaves, (len(rows), 3), generator=torch.Generator().manual_seed(0))
    mine = score(backbone, ids.trie, *left_pad(rows, 0), leaves)
    theirs = [
        [teacher_forced(backbone, r, leaf_tokens(backbone, leaf[None])[0].tolist()).sum() for leaf in leaf_row]
        for r, leaf_row in zip(rows, leaves, strict=True)
    ]
    torch.testing.assert_close(mine, torch.tensor(theirs), atol=1e-4, rtol=0)


@pytest.fixture(scope="module")
def backbone():
    return tiny_backbone(random_ids(200, (8, 8, 8)))


@pytest.fixture(scope="module")
def batch(backbone):
    rows = prompts(backbone, LENGTHS)
    return rows, left_pad(rows, backbone.pad_id)


def test_scores_are_teacher_forced_likelihoods(backbone, batch):
    rows, padded = batch
    trie = backbone.semantic_ids.trie
    leaves = torch.randint(trie.n_leaves, (len(rows), 7), generator=torch.Generator().manual_seed(1))
    leaves[1, 3:] = -1
    mine = score(backbone, trie, *padded, leaves)
    for prompt, row, scores in zip(rows, leaves.tolist(), mine, strict=True):
        for leaf, value in zip(row, scores, strict=True):
            answer = leaf_tokens(backbone, torch.tensor([leaf]))[0].tolist()
            expected = -torch.inf if leaf < 0 else teacher_forced(backbone, prompt, answer).sum()
            torch.testing.assert_close(value, torch.as_tensor(expected), atol=1e-4, rtol=0)


def test_allowed_normalisation_is_a_distribution_over_the_catalogue(backbone, batch):
    trie = backbone.semantic_ids.trie
    everything = torch.arange(trie.n_leaves).expand(len(LENGTHS), -1)
    logps = score(backbone, trie, *batch[1], everything, normalise="allowed")
    torch.testing.assert_close(logps.exp().sum(1), torch.ones(len(LENGTHS)))
    leaves, scores = beam_search(backbone, trie, *batch[1], width=trie.n_leaves, normalise="allowed")
    torch.testing.assert_close(scores, logps.sort(1, descending=True).values, atol=1e-4, rtol=0)
    torch.testing.assert_close(logps.gather(1, leaves), scores, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["mistral", "t5"])
@pytest.mark.parametrize("chunk", [None, 3])
def test_one_pass_over_the_prompts_serves_search_and_scores(name, chunk):
    ids = random_ids(90, (6, 6, 6))
    backbone = bare_backbone(name.split("-")[0], ids, **ARCHITECTURES[name])
    padded = left_pad(prompts(backbone, LENGTHS), 0)
    leaves = torch.randint(-1, ids.trie.n_leaves, (len(LENGTHS), 7), generator=torch.Generator().manual_seed(1))
    forbidden = torch.arange(12).expand(len(LENGTHS), -1)
    found, levels = search_and_score(backbone, ids.trie, *padded, leaves, width=10, forbidden=forbidden, chunk=chunk)
    assert torch.equal(found, beam_search(backbone, ids.trie, *padded, width=10, forbidden=forbidden)[0])
    torch.testing.assert_close(levels, score(backbone, ids.trie, *padded, leaves, by_level=True), atol=1e-5, rtol=0)


def test_samples_follow_the_distribution_and_report_it(backbone, batch):
    trie = backbone.semantic_ids.trie
    one = left_pad(batch[0][:1], backbone.pad_id)
    many = tuple(x.expand(150, -1) for x in one)
    leaves, codes, logps = sample(backbone, trie, *many, n=100, generator=torch.Generator().manual_seed(0))
    assert torch.equal(trie.leaf_codes[leaves], codes)
    expected = score(backbone, trie, *one, torch.arange(trie.n_leaves)[None], normalise="allowed")[0]
    torch.testing.assert_close(logps.sum(2), expected[leaves], atol=1e-4, rtol=0)
    n = leaves.numel()
    share = leaves.flatten().bincount(minlength=trie.n_leaves) / n
    deviation = (share - expected.exp()) / (expected.exp() * (1 - expected.exp()) / n).sqrt()
    assert deviation.abs().max() < 5  # standard deviations


def test_temperature_sharpens_samples(backbone, batch):
    trie = backbone.semantic_ids.trie
    mean = []
    for temperature in (0.3, 1.0):
        leaves, _, logps = sample(
            backbone, trie, *batch[1], n=200, temperature=temperature, generator=torch.Generator().manual_seed(0)
        )
        assert logps.max() <= 0
        mean.append(score(backbone, trie, *batch[1], leaves).mean())
    assert mean[0] > mean[1] + 0.5


def test_chunks_change_nothing(backbone, batch):
    trie = backbone.semantic_ids.trie
    whole, scores = beam_search(backbone, trie, *batch[1], width=10)
    parts, part_scores = beam_search(backbone, trie, *batch[1], width=10, chunk=3)
    assert torch.equal(whole, parts)
    torch.testing.assert_close(scores, part_scores, atol=1e-5, rtol=0)


def test_forbidden_leaves_never_come_out_and_take_no_place(backbone, batch):
    """Most IDs are forbidden, among them all of many prefixes: the beam must still fill with the best others."""
    trie = backbone.semantic_ids.trie
    generator = torch.Generator().manual_seed(2)
    forbidden = torch.stack([torch.randperm(trie.n_leaves, generator=generator)[:170] for _ in LENGTHS])
    forbidden[0, 100:] = -1
    forbidden[1, 1] = forbidden[1, 0]  # twice the same
    leaves, scores = beam_search(backbone, trie, *batch[1], width=64, forbidden=forbidden)
    everything = score(backbone, trie, *batch[1], torch.arange(trie.n_leaves).expand(len(LENGTHS), -1))
    for row, banned, values, mine in zip(leaves, forbidden, everything, scores, strict=True):
        values[banned[banned >= 0]] = -torch.inf
        n = min(64, int((values > -torch.inf).sum()))
        if n < 30:  # the beam is wide enough to be exhaustive here
            torch.testing.assert_close(mine[:n], values.sort(descending=True).values[:n], atol=1e-4, rtol=0)
            assert (row[n:] == -1).all()
        assert not set(row.tolist()) & set(banned[banned >= 0].tolist())
        assert len(set(row[row >= 0].tolist())) == int((row >= 0).sum()) == n


def test_everything_forbidden_is_an_empty_answer(backbone, batch):
    trie = backbone.semantic_ids.trie
    forbidden = torch.arange(trie.n_leaves).expand(len(LENGTHS), -1)
    leaves, scores = beam_search(backbone, trie, *batch[1], width=5, forbidden=forbidden)
    assert (leaves == -1).all() and (scores == -math.inf).all()


def test_dropout_is_off_while_decoding_and_as_before_afterwards():
    backbone = tiny_backbone(random_ids(50, (5, 5, 5)), tiny={"dropout": 0.5})
    padded = left_pad(prompts(backbone, LENGTHS), backbone.pad_id)
    backbone.model.train()
    first = beam_search(backbone, backbone.semantic_ids.trie, *padded, width=5)[1]
    second = beam_search(backbone, backbone.semantic_ids.trie, *padded, width=5)[1]
    assert torch.equal(first, second) and backbone.model.training


def test_an_unknown_normalisation_is_named(backbone, batch):
    with pytest.raises(UserError, match="'tokens' is none of vocabulary, allowed"):
        beam_search(backbone, backbone.semantic_ids.trie, *batch[1], width=2, normalise="tokens")


def test_recurrent_layers_cannot_share_a_prompt(backbone, batch):
    config = backbone.model.config
    kinds, config.layer_types = config.layer_types, ["full_attention", "linear_attention"]
    with pytest.raises(UserError, match="layers of type linear_attention cannot share a prompt"):
        beam_search(backbone, backbone.semantic_ids.trie, *batch[1], width=2)
    config.layer_types = kinds


def test_a_changed_model_changes_the_answer(backbone, batch):
    """Guards the tests above against comparing constants."""
    ids = backbone.semantic_ids
    other = tiny_backbone(ids)
    shake(other.model, seed=9)
    assert not torch.equal(
        beam_search(backbone, ids.trie, *batch[1], width=5)[0], beam_search(other, ids.trie, *batch[1], width=5)[0]
    )
