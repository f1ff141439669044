"""Several updates on the same completions: how many steps they are, and that batches do not matter."""

import copy

import pytest
import torch
from llmtools import prompts, random_ids, tiny_backbone

from recbole_conrec.llm.grpo import ConstrainedGRPOTrainer, GRPOOptions, train_grpo
from recbole_conrec.llm.grpo_bookkeeping import GroupSampler
from recbole_conrec.llm.training import Runtime, run
from recbole_conrec.utils.errors import UserError

pytestmark = pytest.mark.slow

LENGTHS = (9, 1, 23, 4, 12, 7, 15, 3) * 2
G = 4


@pytest.fixture
def backbone():
    return tiny_backbone(random_ids(60, (5, 6, 7)))


def even(items):
    return (items % 2 == 0).float()


class Watched(ConstrainedGRPOTrainer):
    """Notes, of every forward of the loss, the optimizer step, the examples, the completions and the old policy."""

    def _compute_loss(self, model, inputs):
        old = inputs.get("old_per_token_logps")
        self.notes.append((self.state.global_step, inputs["number"], inputs["completion_ids"], old))
        return super()._compute_loss(model, inputs)


def train(backbone, tmp_path, runtime=None, **options):
    settings = {"G": G, "steps": 8, "lr": 1e-3, "beta": 0.05, "rollout": "beam"} | options
    trainer = Watched(
        backbone,
        backbone.semantic_ids.trie,
        [{"input_ids": row} for row in prompts(backbone, LENGTHS)],
        even,
        GRPOOptions(**settings),
        Runtime(str(tmp_path), logging_steps=1, **(runtime or {})),
    )
    trainer.notes = []
    log = run(trainer, (runtime or {}).get("resume"))
    return trainer.notes, log


@pytest.mark.parametrize("iterations", [1, 2, 4])
@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_every_pass_is_an_optimizer_step_on_the_completions_of_the_first(backbone, tmp_path, iterations, accumulate):
    notes, log = train(backbone, tmp_path, iterations=iterations, accumulate=accumulate, prompts_per_step=4)
    assert [entry["step"] for entry in log if "loss" in entry] == list(range(1, 9))
    assert [step for step, *_ in notes] == [step for step in range(8) for _ in range(accumulate)]
    seen = []
    for first in range(0, 8, iterations):
        passes = [[note for note in notes if note[0] == step] for step in range(first, first + iterations)]
        for other in passes[1:]:
            for (_, number, completions, old), (_, number2, completions2, old2) in zip(passes[0], other, strict=True):
                assert torch.equal(number, number2) and torch.equal(completions, completions2)
                assert old is not None and torch.equal(old, old2)
        seen.append(torch.cat([number for _, number, *_ in passes[0]]))
        assert len(seen[-1].unique()) == 4 * accumulate and len(seen[-1]) == 4 * accumulate * G
    per_epoch = len(LENGTHS) // (4 * accumulate)
    assert len(torch.cat(seen[:per_epoch]).unique()) == min(len(seen), per_epoch) * 4 * accumulate
    moved = [entry["clip_ratio/region_mean"] for entry in log if "loss" in entry]
    assert all(moved[step] == 0 for step in range(0, 8, iterations))  # the first pass is on-policy


def test_the_same_prompts_in_more_batches_train_the_same_model(backbone, tmp_path):
    """Beams depend on the weights alone: 8 prompts a step, as one, two or four batches, with two passes over each."""
    models = []
    for accumulate in (1, 2, 4):
        models.append(copy.deepcopy(backbone))
        options = {"accumulate": accumulate, "prompts_per_step": 8 // accumulate, "iterations": 2, "lr": 1e-4}
        notes, _ = train(models[-1], tmp_path / str(accumulate), steps=4, **options)
        assert len(notes) == 4 * accumulate
    plain, *others = [dict(model.model.named_parameters()) for model in models]
    start = dict(backbone.model.named_parameters())
    assert any(not torch.equal(start[name], value) for name, value in plain.items())
    for other in others:
        for name, value in plain.items():
            torch.testing.assert_close(value, other[name], atol=1e-5, rtol=0)


def test_two_passes_differ_from_one_step_of_both(backbone, tmp_path):
    """Guards the test above against passes that do not update in between: the second step's loss sees moved weights."""
    _, log = train(backbone, tmp_path, iterations=4, steps=4, prompts_per_step=8, lr=1e-2)
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert len({round(loss, 6) for loss in losses}) == 4


def test_resume_goes_on_between_two_draws(backbone, tmp_path):
    """A checkpoint after 3 steps would lie between two passes over one draw: it is written after 4."""
    straight, interrupted = copy.deepcopy(backbone), copy.deepcopy(backbone)
    options = {"iterations": 2, "accumulate": 2, "prompts_per_step": 2, "steps": 6, "schedule": "linear"}
    train(straight, tmp_path, {"save_steps": 3}, **options)
    assert not (tmp_path / "checkpoint-3").exists()
    notes, _ = train(interrupted, tmp_path, {"save_steps": 3, "resume": str(tmp_path / "checkpoint-4")}, **options)
    assert [step for step, *_ in notes] == [4, 4, 5, 5]
    for name, value in straight.model.named_parameters():
        assert torch.equal(value, dict(interrupted.model.named_parameters())[name]), name


@pytest.mark.parametrize("n, accumulate, repeats", [(16, 1, 1), (13, 2, 1), (13, 2, 3), (24, 4, 2), (3, 1, 2)])
def test_the_order_of_the_groups(n, accumulate, repeats):
    sampler = GroupSampler(
        list(range(n)), mini_repeat_count=2, batch_size=2, repeat_count=repeats, seed=0, accumulate=accumulate
    )
    drawn = list(sampler)
    assert len(drawn) == len(sampler)
    batches = [drawn[at : at + 4] for at in range(0, len(drawn), 4)]  # two prompts, two completions each
    step = batches[:accumulate]
    assert all(one[0] == one[1] and one[2] == one[3] for one in batches)
    for k in range(repeats):
        if repeats > 1:
            assert batches[k * accumulate : (k + 1) * accumulate] == step
    whole = n // (2 * (accumulate if repeats > 1 else 1)) * (accumulate if repeats > 1 else 1)
    assert len(batches) == whole * repeats and len({tuple(one) for one in batches}) == whole
    sampler.epoch = 1
    assert list(sampler) != drawn


def test_too_few_prompts_for_a_whole_step_are_named(backbone, tmp_path):
    examples = [{"input_ids": row} for row in prompts(backbone, LENGTHS)]
    options = GRPOOptions(G=G, prompts_per_step=8, accumulate=4, iterations=2)
    with pytest.raises(UserError, match=r"16 prompts are fewer than prompts_per_step \* accumulate = 32"):
        train_grpo(backbone, backbone.semantic_ids.trie, examples, even, options, Runtime(str(tmp_path)))


@pytest.mark.parametrize("rollout, expected", [("beam", [0, 1, 2, 3]), ("sample", None)])
def test_rewards_that_take_a_rank_get_it_of_beams(backbone, tmp_path, rollout, expected):
    got = []

    def ranked(items, *, rank=None):
        got.append(rank)
        return torch.zeros(items.shape)

    def plain(items):
        return torch.zeros(items.shape)

    examples = [{"input_ids": row} for row in prompts(backbone, LENGTHS[:4])]
    options = GRPOOptions(G=G, prompts_per_step=4, steps=1, rollout=rollout)
    train_grpo(backbone, backbone.semantic_ids.trie, examples, [ranked, plain], options, Runtime(str(tmp_path)))
    assert [None if rank is None else rank.tolist() for rank in got] == [expected and [expected] * 4]
