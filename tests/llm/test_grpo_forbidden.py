"""GRPO with forbidden leaves: never drawn, and one distribution that is sampled, trained and compared with."""

import copy
import re

import pytest
import torch
from llmtools import prompts, random_ids, tiny_backbone
from test_prior import sampled_distribution

from recbole_conrec.llm.batch import left_pad
from recbole_conrec.llm.constraint import Constraint
from recbole_conrec.llm.decoding import beam_search, sample
from recbole_conrec.llm.grpo import ConstrainedGRPOTrainer, GRPOOptions, train_grpo
from recbole_conrec.llm.packed import completion_logps
from recbole_conrec.llm.prior import leaf_prior
from recbole_conrec.llm.training import Runtime
from recbole_conrec.utils.errors import UserError

LENGTHS = (9, 1, 23, 4)
G = 4


@pytest.fixture
def backbone():
    return tiny_backbone(random_ids(70, (5, 6, 7)))


def lists_of(backbone):
    """Of every example other leaves, most of the catalogue: all of many prefixes, and all but one of some."""
    leaves = torch.arange(backbone.semantic_ids.trie.n_leaves)
    return [leaves[(leaves % 4 != k % 4) & (leaves >= k)].tolist() for k in range(len(LENGTHS))]


def examples_of(backbone, rows=None):
    rows = rows or prompts(backbone, LENGTHS)
    return [{"input_ids": row, "forbidden": leaves} for row, leaves in zip(rows, lists_of(backbone), strict=True)]


def train(backbone, tmp_path, reward, examples=None, **options):
    settings = {"G": G, "prompts_per_step": 4, "steps": 3, "lr": 1e-2, "beta": 0.05} | options
    runtime = Runtime(str(tmp_path), logging_steps=1)
    examples = examples or examples_of(backbone)
    return train_grpo(backbone, backbone.semantic_ids.trie, examples, reward, GRPOOptions(**settings), runtime)


def test_log_probabilities_are_of_what_is_allowed_and_not_forbidden(backbone):
    trie, rows = backbone.semantic_ids.trie, prompts(backbone, LENGTHS)
    padded, lists = left_pad(rows, backbone.pad_id), lists_of(backbone)
    forbidden = left_pad(lists, -1)[0]
    leaves, codes, sampled = sample(
        backbone, trie, *padded, n=6, forbidden=forbidden, temperature=0.7, generator=torch.Generator().manual_seed(0)
    )
    constraint = Constraint(backbone, trie, "allowed", 0.7)
    mine, entropies = completion_logps(
        backbone.model, constraint, *padded, codes, prior=leaf_prior(trie, None, forbidden)
    )
    torch.testing.assert_close(mine, sampled, atol=1e-5, rtol=0)  # what samples is what trains
    for b, banned in enumerate(lists):
        expected = sampled_distribution(backbone, rows[b], [0.0] * trie.n_leaves, set(banned), temperature=0.7)
        torch.testing.assert_close(mine[b].sum(1).detach(), expected[leaves[b]], atol=1e-4, rtol=0)
    mine.sum().backward()
    assert (entropies >= 0).all() and (entropies == 0).any()  # of a prefix with one child left
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in backbone.model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("rollout", ["sample", "beam"])
def test_no_completion_is_forbidden_and_the_first_update_is_on_policy(backbone, tmp_path, rollout):
    trie, before, drawn = backbone.semantic_ids.trie, copy.deepcopy(backbone), []

    def reward(items):  # `forbidden` is no column
        drawn.append(trie.item_leaf[items])
        return items.float()

    log = train(backbone, tmp_path, reward, rollout=rollout, iterations=1)
    lists = lists_of(backbone)
    allowed = [set(range(trie.n_leaves)) - set(banned) for banned in lists]
    assert len(drawn) == 3
    for leaves in drawn:  # in an order of their own, so each row fits one example at least
        assert all(any(set(row.tolist()) <= fits for fits in allowed) for row in leaves)
    assert abs(log[0]["kl"]) < 1e-6 and log[0]["clip_ratio/region_mean"] == 0
    if rollout == "beam":
        padded = left_pad(prompts(backbone, LENGTHS), backbone.pad_id)
        forbidden = left_pad(lists, -1)[0]
        best, _ = beam_search(before, trie, *padded, width=G, forbidden=forbidden, as_sampled=True)
        assert sorted(drawn[0].tolist()) == sorted(best.tolist())


@pytest.mark.slow
@pytest.mark.parametrize("packed", [True, False])
def test_rows_of_one_prompt_are_masked_by_their_own_lists(backbone, tmp_path, packed):
    """The same prompt four times, with four lists: rows shuffled, each under the mask of its example."""
    trie, row = backbone.semantic_ids.trie, prompts(backbone, [9])[0]
    options = GRPOOptions(G=G, prompts_per_step=4, packed=packed)
    examples = examples_of(backbone, [row] * 4)
    trainer = ConstrainedGRPOTrainer(backbone, trie, examples, lambda items: items, options, Runtime(str(tmp_path)))
    trainer.numbers = torch.tensor([0, 1, 2, 3, 3, 1, 0])
    lists = lists_of(backbone)
    leaves = torch.tensor([min(set(range(20, 60)) - set(lists[n])) for n in trainer.numbers.tolist()])
    codes = trie.leaf_codes[leaves]
    tokens = torch.stack([t[codes[:, level]] for level, t in enumerate(backbone.level_tokens)], 1)
    ids = torch.cat([torch.tensor([row] * 7), tokens], 1)
    mine, _, _ = trainer._get_per_token_logps_and_entropies(backbone.model, ids, torch.ones_like(ids), 3)
    for n, leaf, logps in zip(trainer.numbers.tolist(), leaves.tolist(), mine, strict=True):
        expected = sampled_distribution(backbone, row, [0.0] * trie.n_leaves, set(lists[n]))[leaf]
        torch.testing.assert_close(logps.sum().detach(), expected, atol=1e-4, rtol=0)


@pytest.mark.slow
def test_it_is_not_used_without_the_constraint(backbone, tmp_path):
    seen = []

    def reward(items):
        seen.append(items)
        return items.float()

    train(backbone, tmp_path, reward, constrained=False, G=64, steps=1)
    assert (seen[0] == 0).any()


@pytest.mark.parametrize(
    "change, options, message",
    [
        ([69], {}, "training example 2: forbidden leaf 69; expected leaves of the trie, 0 to 68"),
        ([-1], {}, "training example 2: forbidden leaf -1; expected"),
        (list(range(69)) * 2, {}, "training example 2: 69 of 69 IDs are forbidden and 1 must remain; forbid fewer"),
        (list(range(66)), {"rollout": "beam"}, "training example 2: 66 of 69 IDs are forbidden and 4 must remain"),
        (None, {}, "training example 2: no forbidden; the first example has it, and all must"),
    ],
)
def test_lists_that_do_not_fit_are_named(backbone, tmp_path, change, options, message):
    examples = examples_of(backbone)
    examples[2]["forbidden"] = change
    if change is None:
        del examples[2]["forbidden"]
    with pytest.raises(UserError, match=re.escape(message)):
        train(backbone, tmp_path, lambda items: items, examples, **options)
