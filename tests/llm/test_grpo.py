"""GRPO: the same gradients as TRL's own path, one policy that samples and trains, resume, what is logged."""

import copy

import pytest
import torch
from llmtools import leaf_tokens, prompts, random_ids, tiny_backbone
from trl import GRPOConfig, GRPOTrainer

from recbole_conrec.llm.batch import left_pad
from recbole_conrec.llm.constraint import Constraint, Free
from recbole_conrec.llm.decoding import beam_search, sample, score
from recbole_conrec.llm.grpo import ConstrainedGRPOTrainer, train_grpo
from recbole_conrec.llm.packed import completion_logps, group_rows
from recbole_conrec.utils.errors import UserError

LENGTHS = (9, 1, 23, 4, 12, 7, 15, 3)
G = 4


@pytest.fixture
def backbone():
    return tiny_backbone(random_ids(60, (5, 6, 7)))


def training_rows(backbone, lengths=LENGTHS):
    return [{"input_ids": row, "liked": [n]} for n, row in enumerate(prompts(backbone, lengths))]


def likes_low_codes(items, liked):
    """A reward that depends on the item alone, so that it can be learned."""
    assert items.shape == (len(liked), G)
    return (items < 20).float()


def grads(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def make_trainer(backbone, tmp_path, beta, packed):
    args = GRPOConfig(
        str(tmp_path),
        per_device_train_batch_size=4 * G,
        num_generations=G,
        loss_type="grpo",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        remove_unused_columns=False,
    )
    return ConstrainedGRPOTrainer(
        backbone,
        backbone.semantic_ids.trie,
        training_rows(backbone),
        [likes_low_codes],
        beta=beta,
        args=args,
        normalise="vocabulary",
        packed=packed,
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
    trainer = make_trainer(backbone, tmp_path, beta=beta, packed=packed)
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


def run(backbone, tmp_path, rewards=likes_low_codes, lengths=LENGTHS, **options):
    settings = {"G": G, "prompts_per_step": 4, "steps": 4, "lr": 1e-2, "beta": 0.05} | options
    return train_grpo(
        backbone,
        backbone.semantic_ids.trie,
        training_rows(backbone, lengths),
        rewards,
        output_dir=str(tmp_path),
        **settings,
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
    log = run(backbone, tmp_path, steps=25, progress=lambda step, of, entry: seen.append((step, of)))
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
    order = [row["input_ids"] for row in training_rows(backbone)]

    def first(items, liked):
        assert all(len(column) == 1 and 0 <= column[0] < len(order) for column in liked)
        return torch.ones(items.shape)

    def second(items, liked):
        return torch.full(items.shape, 3.0)

    log = run(backbone, tmp_path, [first, second], reward_weights=[2.0, 0.5], steps=1)
    assert log[0]["reward"] == pytest.approx(2 * 1 + 0.5 * 3)
    assert (log[0]["rewards/first/mean"], log[0]["rewards/second/mean"]) == (1.0, 3.0)


@pytest.mark.parametrize("stop", [3, 5])
def test_resume_is_exact_within_and_across_epochs(backbone, tmp_path, stop):
    """16 prompts, 4 a step: step 3 lies within the first epoch and step 5 within the second."""
    straight, interrupted = copy.deepcopy(backbone), copy.deepcopy(backbone)
    options = {"steps": 6, "schedule": "linear", "save_steps": stop, "lengths": LENGTHS * 2}
    run(straight, tmp_path, **options)
    run(interrupted, tmp_path, **options, resume=str(tmp_path / f"checkpoint-{stop}"))
    for name, value in weights(straight).items():
        assert torch.equal(value, weights(interrupted)[name]), name


def test_several_updates_per_rollout_and_accumulation(backbone, tmp_path):
    before = weights(backbone)
    log = run(backbone, tmp_path, iterations=2, accumulate=1, steps=4)
    assert log[1]["clip_ratio/region_mean"] > 0  # the second update is off-policy, and clipped against the first
    log = run(backbone, tmp_path, accumulate=2, steps=2)
    assert len(log) == 3
    assert any(not torch.equal(before[name], value) for name, value in weights(backbone).items())


def test_a_group_of_beams_holds_the_likeliest_and_no_ID_twice(backbone, tmp_path):
    trie = backbone.semantic_ids.trie
    rows = training_rows(backbone)
    drawn = {}

    def remember(items, liked):
        drawn.update({n[0]: row for n, row in zip(liked, items, strict=True)})
        return -torch.arange(G).expand(items.shape).float()  # rank: the best beam is wanted least

    before = beam_search(
        backbone, trie, *left_pad([row["input_ids"] for row in rows], backbone.pad_id), width=G, normalise="allowed"
    )[0]
    log = run(backbone, tmp_path, remember, steps=1, rollout="beam")
    assert len(drawn) == 4 and log[0]["distinct"] == G
    for n, items in drawn.items():
        assert torch.equal(trie.item_leaf[items], before[n])
    with pytest.raises(UserError, match="beam needs G different IDs and the catalogue has 59; lower G"):
        run(backbone, tmp_path, rollout="beam", G=64)
    with pytest.raises(UserError, match="rollout: 'greedy' is none of sample, beam"):
        run(backbone, tmp_path, rollout="greedy")


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
    with pytest.raises(UserError, match="beams are constrained to IDs"):
        run(backbone, tmp_path, valid, constrained=False, rollout="beam")


def test_too_few_prompts_are_named(backbone, tmp_path):
    with pytest.raises(UserError, match="8 prompts are fewer than prompts_per_step=9"):
        run(backbone, tmp_path, prompts_per_step=9)
