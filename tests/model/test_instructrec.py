"""InstructRec on the small log: it learns, it follows the history, and nothing from t0 on moves it."""

import pytest
import torch
from llmrows import check_learns, check_no_leak, make_row

STAGE = {"name": "tuning", "task": "rank", "samples": 2000, "epochs": 60, "lr": 0.01, "batch_size": 10}


@pytest.fixture
def make(make_tiny, tmp_path):
    return make_row(make_tiny, "InstructRec", tmp_path, stages=[STAGE])


@pytest.mark.slow
def test_it_learns(make):
    def right(model, train, batch):
        truth = train.truth("train")
        scores = model.score_candidates(batch, torch.from_numpy(truth.candidates[:]))
        return (scores >= scores.gather(1, torch.from_numpy(truth.answer)[:, None])).sum(1) == 1

    check_learns(make(candidates=10), right)


@pytest.mark.parametrize("by", ["time", "user"])
def test_nothing_from_t0_on_moves_it(make, by):
    candidates = torch.tensor([[1, 2, 3, 4]])
    check_no_leak(make(split={"by": by}), by, lambda model, batch: model.prompt(batch, candidates))


def test_the_order_of_candidates_is_the_seed_s_and_no_one_else_s(make):
    _, data, model = make()
    batch, items = data[[4, 80]], torch.tensor([[1, 2, 3, 0], [6, 5, 8, 7]])
    found = model.eval().score_candidates(batch, items)
    assert found[0, 3] == -torch.inf and torch.isfinite(found[1]).all()
    turned = model.score_candidates(batch, items.flip(1)).flip(1)
    assert torch.allclose(turned, found, atol=1e-5)
    assert torch.allclose(model.score_candidates(data[[80]], items[1:]), found[1:], atol=1e-4)  # nor the batch's
    other = make(seed=7)[2]
    assert other.prompt(batch, items).lists() != model.prompt(batch, items).lists()


def test_pairs_are_named_in_a_list_of_their_own(make):
    _, data, model = make()
    batch, items, pairs = (
        data[[4, 80]],
        torch.tensor([[1, 2, 3, 0], [6, 5, 8, 7]]),
        torch.tensor([[9, 4, 0], [9, 5, 6]]),
    )
    answers = model.eval().answer(batch, items, 5, pairs)
    assert torch.equal(answers.scores, model.score_candidates(batch, items))
    assert torch.equal(answers.pairs, model.score_candidates(batch, pairs)) and answers.pairs[0, 2] == -torch.inf
