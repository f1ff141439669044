"""GRPO: the same gradients as TRL's own path, one policy that samples and trains, resume, what is logged, options."""

import copy
import math
import re

import pytest
import torch
from llmtools import leaf_tokens, prompts, random_ids, tiny_backbone
from trl import GRPOTrainer

from recbole_conrec.llm.batch import left_pad
from recbole_conrec.llm.constraint import Constraint, Free
from recbole_conrec.llm.decoding import beam_search, sample, score
from recbole_conrec.llm.grpo import ConstrainedGRPOTrainer, GRPOOptions, train_grpo
from recbole_conrec.llm.packed import completion_logps, group_rows
from recbole_conrec.llm.training import Runtime
from recbole_conrec.utils.errors import UserError

pytestmark = pytest.mark.slow

LENGTHS = (9, 1, 23, 4, 12, 7, 15, 3)
G = 4


@pytest.fixture
def backbone():
    return tiny_backbone(random_ids(60, (5, 6, 7)))


def training_examples(backbone, lengths=LENGTHS):
    return [{"input_ids": row, "liked": [n]} for n, row in enumerate(prompts(backbone, lengths))]


def likes_low_codes(items, liked):
    """A reward that depends on the item alone, so that it can be learned."""
    assert items.shape == (len(liked), G)
    return (items < 20).float()


def grads(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def make_trainer(backbone, tmp_path, **options):
    return ConstrainedGRPOTrainer(
        backbone,
        backbone.semantic_ids.trie,
        training_examples(backbone),
        likes_low_codes,
        GRPOOptions(G=G, prompts_per_step=4, **options),
        Runtime(str(tmp_path)),
    )


def shuffled_batch(backbone, beta):
    """What TRL hands to the loss: rows of G completions per prompt, shuffled across groups, ragged, padded."""
    generator = torch.Generator().manual_seed(0)
    rows = prompts(backbone, LENGTHS[:4])
    rows.append(rows[0])  # the same prompt twice
    padded = left_pad(rows, backbone.pad_id)
    leaves, _, _ = sample(backbone, backbone.semantic_ids.trie, *padded, n=G, generator=generator)
    order = torch.randperm(len(rows) * G, generator=generator)[:-3]  # and groups of different sizes
    completion = leaf_tokens(backbone, leaves.flatten())[order]
    prompt, mask = (x.repeat_interleave(G, 0)[order] for x in padded)
    n, depth = completion.shape
    batch = {
        "prompt_ids": prompt,
        "prompt_mask": mask,
        "completion_ids": completion,
        "completion_mask": torch.ones_like(completion),
        "advantages": torch.randn(n, generator=generator),
        "old_per_token_logps": -2 + torch.randn(n, depth, generator=generator),
        "num_items_in_batch": torch.tensor(n * depth),
    }
    if beta:
        batch["ref_per_token_logps"] = -2 + torch.randn(n, depth, generator=generator)
    return batch


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_gradients_equal_trls_own_path(backbone, tmp_path, beta, packed):
    batch = shuffled_batch(backbone, beta)
    trainer = make_trainer(backbone, tmp_path, beta=beta, packed=packed, normalise="vocabulary")
    trainer.current_gradient_accumulation_steps = 1
    backbone.model.train()

    loss = trainer._compute_loss(trainer.model, batch)
    loss.backward()
    mine = grads(backbone.model)
    trainer.model.zero_grad()

    class Stock(ConstrainedGRPOTrainer):  # the same trainer with TRL's own likelihoods
        _get_per_token_logps_and_entropies = GRPOTrainer._get_per_token_logps_and_entropies

    trainer.__class__ = Stock
    stock = trainer._compute_loss(trainer.model, batch)
    stock.backward()
    theirs = grads(backbone.model)

    torch.testing.assert_close(loss, stock, atol=1e-5, rtol=1e-5)
    assert mine.keys() == theirs.keys() and len(mine) == len(list(backbone.model.parameters()))
    for name in mine:
        scale = max(float(theirs[name].abs().max()), 1e-3)
        torch.testing.assert_close(mine[name] / scale, theirs[name] / scale, atol=1e-5, rtol=0, msg=name)


def test_allowed_likelihoods_equal_a_plain_masked_softmax(backbone):
    trie, ids = backbone.semantic_ids.trie, backbone.semantic_ids
    rows = prompts(backbone, LENGTHS[:3])
    padded = left_pad(rows, backbone.pad_id)
    leaves, codes, _ = sample(backbone, trie, *padded, n=G, generator=torch.Generator().manual_seed(3))
    mine, entropy = completion_logps(backbone.model, Constraint(backbone, trie, "allowed", 0.7), *padded, codes)
    for p, row in enumerate(rows):
        for g in range(G):
            tokens = leaf_tokens(backbone, leaves[p, g : g + 1])[0].tolist()
            logits = backbone.model(torch.tensor([row + tokens[:-1]])).logits[0, len(row) - 1 :] / 0.7
            for level in range(3):
                same = (ids.codes[1:, :level] == codes[p, g, :level].numpy()).all(1)
                allowed = backbone.level_tokens[level][torch.tensor(ids.codes[1:][same][:, level]).unique()]
                logp = logits[level, allowed].log_softmax(0)
                expected = logp[allowed.tolist().index(tokens[level])]
                torch.testing.assert_close(mine[p, g, level], expected, atol=1e-5, rtol=0)
                expected = -(logp.exp() * logp).sum()
                torch.testing.assert_close(entropy[p, g, level], expected, atol=1e-5, rtol=0)


def test_groups_are_found_again_after_a_shuffle():
    prompt = torch.tensor([[0, 5], [3, 5], [0, 5], [3, 5], [3, 5]])
    mask = torch.tensor([[0, 1], [1, 1], [1, 1], [1, 1], [1, 1]])  # row 2 holds a real token 0 where row 0 has padding
    first, group, place = group_rows(prompt, mask)
    assert len(first) == 3
    assert group[1] == group[3] == group[4] and len({int(group[n]) for n in (0, 1, 2)}) == 3
    assert sorted(place[[1, 3, 4]].tolist()) == [0, 1, 2] and place[0] == place[2] == 0
    assert torch.equal(group[first], torch.arange(3))


def run(backbone, tmp_path, rewards=likes_low_codes, lengths=LENGTHS, runtime=None, **options):
    settings = {"G": G, "prompts_per_step": 4, "steps": 4, "lr": 1e-2, "beta": 0.05} | options
    return train_grpo(
        backbone,
        backbone.semantic_ids.trie,
        training_examples(backbone, lengths),
        rewards,
        GRPOOptions.read(settings, "stages[0]"),
        Runtime(str(tmp_path), logging_steps=1, **(runtime or {})),
    )


def weights(backbone):
    return {name: p.detach().clone() for name, p in backbone.model.named_parameters()}


def test_packed_and_repeated_prompts_train_the_same_model(backbone, tmp_path):
    other = copy.deepcopy(backbone)
    run(backbone, tmp_path / "a", lr=1e-4)
    run(other, tmp_path / "b", lr=1e-4, packed=False)
    for name, value in weights(backbone).items():
        torch.testing.assert_close(value, weights(other)[name], atol=1e-5, rtol=0, msg=name)


def test_it_learns_and_logs(backbone, tmp_path):
    padded = left_pad(prompts(backbone, LENGTHS), backbone.pad_id)
    trie = backbone.semantic_ids.trie
    wanted = trie.item_leaf[1:20].expand(len(LENGTHS), -1)
    before = score(backbone, trie, *padded, wanted, normalise="allowed").exp().sum(1).mean()
    seen = []
    progress = {"progress": lambda step, last, entry: seen.append((step, last))}
    log = run(backbone, tmp_path, steps=25, runtime=progress)
    after = score(backbone, trie, *padded, wanted, normalise="allowed").exp().sum(1).mean()
    assert after > before + 0.2
    first, last = log[0], log[24]
    for key in (
        "reward",
        "reward_std",
        "rewards/likes_low_codes/mean",
        "zero_advantage",
        "distinct",
        "kl",
        "entropy",
        "time/generation",
        "time/update",
        "loss",
    ):
        assert key in first, key
    assert abs(first["kl"]) < 1e-6 and last["kl"] > 1e-4  # the reference is the model as it came in
    assert 1 <= first["distinct"] <= G and 0 <= first["zero_advantage"] <= 1
    assert first["clip_ratio/region_mean"] == 0  # on-policy: what samples is what trains
    assert first["time/generation"] > 0 and first["time/update"] > 0
    assert seen[0] == (1, 25) and seen[-1][0] == 25


def test_zero_advantage_and_distinct_are_what_they_say(backbone, tmp_path):
    trie = backbone.semantic_ids.trie
    drawn = []

    def constant_for_the_first(items, liked):
        drawn.append(items)
        reward = torch.rand(items.shape, generator=torch.Generator().manual_seed(0))
        reward[0] = 1.0
        return reward

    log = run(backbone, tmp_path, constant_for_the_first, steps=1)
    assert log[0]["zero_advantage"] == pytest.approx(1 / 4)
    assert log[0]["distinct"] == pytest.approx(sum(len(set(row.tolist())) for row in drawn[0]) / 4)
    assert (trie.item_leaf[drawn[0]] >= 0).all()


def test_rewards_are_weighted_and_get_their_prompts_columns(backbone, tmp_path):
    def first(items, liked):
        assert all(len(column) == 1 and 0 <= column[0] < len(LENGTHS) for column in liked)
        return torch.ones(items.shape)

    def second(items, liked):
        return torch.full(items.shape, 3.0)

    log = run(backbone, tmp_path, [first, second], reward_weights=[2.0, 0.5], steps=1)
    assert log[0]["reward"] == pytest.approx(2 * 1 + 0.5 * 3)
    assert (log[0]["rewards/first/mean"], log[0]["rewards/second/mean"]) == (1.0, 3.0)


@pytest.mark.parametrize("stop", [3, 5])
def test_resume_is_exact_within_and_across_epochs(backbone, tmp_path, stop):
    """16 prompts, 4 a step: step 3 is within the first epoch and step 5 within the second."""
    straight, interrupted = copy.deepcopy(backbone), copy.deepcopy(backbone)
    options = {"steps": 6, "schedule": "linear", "lengths": LENGTHS * 2}
    run(straight, tmp_path, **options, runtime={"save_steps": stop})
    resume = {"save_steps": stop, "resume": str(tmp_path / f"checkpoint-{stop}")}
    run(interrupted, tmp_path, **options, runtime=resume)
    for name, value in weights(straight).items():
        assert torch.equal(value, weights(interrupted)[name]), name


def test_several_updates_per_rollout_and_accumulation(backbone, tmp_path):
    before = weights(backbone)
    log = run(backbone, tmp_path, iterations=2, accumulate=1, steps=4)
    assert log[1]["clip_ratio/region_mean"] > 0  # the second update is off-policy, and clipped against the first
    log = run(backbone, tmp_path, accumulate=2, steps=2)
    assert len(log) == 3
    assert any(not torch.equal(before[name], value) for name, value in weights(backbone).items())


def test_a_group_of_beams_holds_the_likeliest_and_no_id_twice(backbone, tmp_path):
    trie = backbone.semantic_ids.trie
    examples = training_examples(backbone)
    drawn = {}

    def remember(items, liked):
        drawn.update({n[0]: row for n, row in zip(liked, items, strict=True)})
        return -torch.arange(G).expand(items.shape).float()  # by rank: the best beam is wanted least

    before = beam_search(
        backbone, trie, *left_pad([one["input_ids"] for one in examples], backbone.pad_id), width=G, normalise="allowed"
    )[0]
    log = run(backbone, tmp_path, remember, steps=1, rollout="beam")
    assert len(drawn) == 4 and log[0]["distinct"] == G
    for n, items in drawn.items():
        assert torch.equal(trie.item_leaf[items], before[n])
    with pytest.raises(UserError, match="beam needs G different IDs and the catalogue has 59; lower G"):
        run(backbone, tmp_path, rollout="beam", G=64)


def test_without_the_constraint_the_whole_vocabulary_is_sampled_and_trained(backbone, tmp_path):
    trie, level_of = backbone.semantic_ids.trie, backbone.level_tokens
    padded = left_pad(prompts(backbone, LENGTHS[:3]), backbone.pad_id)
    leaves, tokens, sampled = sample(
        backbone, trie, *padded, n=400, constrained=False, generator=torch.Generator().manual_seed(3)
    )
    known = {
        tuple(int(t[code]) for t, code in zip(level_of, codes, strict=True)): leaf
        for leaf, codes in enumerate(trie.leaf_codes.tolist())
    }
    assert leaves.tolist() == [[known.get(tuple(one), -1) for one in row] for row in tokens.tolist()]
    assert (leaves >= 0).any() and (leaves < 0).any()
    logps, _ = completion_logps(backbone.model, Free(backbone, trie), *padded, tokens)
    torch.testing.assert_close(logps, sampled, atol=1e-4, rtol=0)
    row = prompts(backbone, LENGTHS[:3])[0]
    logits = backbone.model(torch.tensor([row + tokens[0, 0, :-1].tolist()])).logits[0, len(row) - 1 :]
    expected = logits.log_softmax(-1).gather(1, tokens[0, 0][:, None])[:, 0]
    torch.testing.assert_close(logps[0, 0], expected, atol=1e-4, rtol=0)

    seen = []

    def valid(items, liked):
        seen.append(items)
        return (items > 0).float()

    log = run(backbone, tmp_path, valid, steps=2, constrained=False, G=64, prompts_per_step=8)
    for entry, items in zip(log, seen, strict=False):
        assert entry["invalid"] == pytest.approx(float((items == 0).float().mean()), abs=1e-6)
        assert entry["reward"] == pytest.approx(1 - entry["invalid"], abs=1e-6)
    assert 0 < log[0]["invalid"] < 1 and len(seen) == 2
    assert log[0]["clip_ratio/region_mean"] == 0  # what samples is what trains


@pytest.mark.parametrize(
    "loss_type, same",
    [("dapo", True), ("dr_grpo", True), ("bnpo", True), ("sapo", False), ("vespo", False), ("cispo", False)],
)
def test_every_loss_trains_and_those_that_differ_in_token_counts_are_one(backbone, tmp_path, loss_type, same):
    """IDs are equally long, so a mean over tokens of sequences, of the batch or of the longest length is one mean."""
    batch = shuffled_batch(backbone, beta=0.1)
    options = {"loss_type": loss_type, "clip": 5 if loss_type == "cispo" else 0.2}
    found = []
    for given in ({}, options):
        trainer = make_trainer(backbone, tmp_path, beta=0.1, accumulate=2, **given)
        trainer.current_gradient_accumulation_steps = 2
        backbone.model.train()
        backbone.model.zero_grad()
        trainer._compute_loss(trainer.model, batch).backward()
        found.append(torch.cat([value.flatten() for value in grads(backbone.model).values()]))
    plain, other = found
    assert torch.allclose(plain, other, atol=1e-5 * float(plain.abs().max()), rtol=0) == same
    before = weights(backbone)
    log = run(backbone, tmp_path, steps=2, **options)
    assert all(math.isfinite(entry["loss"]) for entry in log[:2])
    assert any(not torch.equal(before[name], value) for name, value in weights(backbone).items())


def test_a_reward_by_its_path_takes_the_columns_that_it_needs(backbone, tmp_path):
    log = run(backbone, tmp_path, "llmtools:even_items", steps=1)
    assert 0 < log[0]["rewards/even_items/mean"] < 1
    assert log[0]["reward"] == log[0]["rewards/even_items/mean"]


@pytest.mark.parametrize(
    "reward, message",
    [
        ("llmtools:odd_items", "'llmtools:odd_items': module 'llmtools' has no 'odd_items'"),
        ("llmtools", "'llmtools' is no dotted path: expected 'package.module:name'"),
        ("llmtools:TEXT", "reward: 'llmtools:TEXT' is no function; expected f(items, **columns)"),
        (lambda items: items, "unexpected keyword argument 'liked'; it is called with items and the columns liked;"),
        (lambda items, disliked, **_: items, "missing a required argument: 'disliked'"),
        (
            lambda items, **_: items[:, 0],
            "it returned the shape (4,); expected one number for each of the items (4, 4)",
        ),
        (lambda items, **_: torch.full(items.shape, torch.nan), "reward <lambda>: nan for 16 of 16 answers"),
        (lambda items, **_: torch.where(items > 0, torch.inf, 0.0), "reward <lambda>: inf for "),
    ],
)
def test_rewards_that_do_not_fit_are_named(backbone, tmp_path, reward, message):
    with pytest.raises(UserError, match=re.escape(message)):
        run(backbone, tmp_path, reward, steps=1)


def test_an_example_without_a_column_is_named(backbone, tmp_path):
    examples = training_examples(backbone)
    del examples[3]["liked"]
    with pytest.raises(UserError, match="training example 3: no liked; the first example has it, and all must"):
        train_grpo(
            backbone,
            backbone.semantic_ids.trie,
            examples,
            likes_low_codes,
            GRPOOptions(G=G, prompts_per_step=4),
            Runtime(str(tmp_path)),
        )


@pytest.mark.parametrize(
    "options, message",
    [
        ({"G": 1}, "stages[0].G: 1; expected a whole number of at least 2"),
        ({"rollout": "greedy"}, "stages[0].rollout: 'greedy'; expected one of sample, beam"),
        ({"rollout": "beam", "constrained": False}, "rollout: beams are constrained to IDs; take rollout: sample"),
        ({"loss_type": "cispo"}, "clip: 0.2; loss_type: cispo takes the largest weight, at least 1"),
        ({"loss_type": "luspo"}, "stages[0].loss_type: 'luspo'; expected one of grpo, dapo"),
        ({"beta": -0.1}, "stages[0].beta: -0.1; expected a number of at least 0"),
        ({"lr": float("nan")}, "stages[0].lr: nan; expected a finite number"),
        ({"temperature": 0}, "stages[0].temperature: 0; expected a number above 0"),
        ({"gradient_checkpoint": True}, "unknown option 'gradient_checkpoint'; did you mean 'gradient_checkpointing'"),
        ({"reward_weights": [1.0, 2.0]}, "reward_weights: 2 weights for 1 rewards; give one for each"),
        ({"prompts_per_step": 9}, "8 prompts are fewer than prompts_per_step=9"),
    ],
)
def test_wrong_options_are_named(backbone, tmp_path, options, message):
    with pytest.raises(UserError, match=re.escape(message)):
        run(backbone, tmp_path, **options)


def test_gradient_checkpointing_trains_the_same(backbone, tmp_path):
    other = copy.deepcopy(backbone)
    run(backbone, tmp_path / "a", lr=1e-4)
    run(other, tmp_path / "b", lr=1e-4, gradient_checkpointing=True)
    for name, value in weights(backbone).items():
        torch.testing.assert_close(value, weights(other)[name], atol=1e-5, rtol=0, msg=name)
