"""InstructRec on the small log: it learns, it follows the history, and nothing from t0 on moves it."""

import pytest
import torch
from llmrows import check_learns, check_no_leak, make_row

from recbole_conrec.generative.rivals import beside

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


def test_a_candidate_is_judged_whatever_the_others_are(make):
    """Those of a list may be what the user met after t0."""
    _, data, model = make(candidates={"size": 10, "pool": "day"})
    batch, items = data[[4, 80]], torch.tensor([[1, 2, 3, 0], [6, 5, 8, 7]])
    found = model.eval().score_candidates(batch, items)
    assert found[0, 3] == -torch.inf and torch.isfinite(found[1]).all()
    turned = model.score_candidates(batch, items.flip(1)).flip(1)
    assert torch.allclose(turned, found, atol=1e-4)
    for column in range(3):
        assert torch.allclose(model.score_candidates(batch, items[:, [column]])[:, 0], found[:, column], atol=1e-4)
    assert torch.allclose(model.score_candidates(data[[80]], items[1:]), found[1:], atol=1e-4)
    assert model.prompt(batch, items[:, :1]).lists() == model.prompt(batch, items).lists()[::4]
    other = make(seed=7)[2]
    assert other.prompt(batch, items).lists() != model.prompt(batch, items).lists()


def test_rivals_are_exposures_before_t0_and_never_the_item_that_is_judged(make):
    _, data, model = make(rivals=4)
    log, instances = data.log, data.instances
    columns = instances.begin, instances.end, instances.time, instances.user
    rivals = model.rivals(*columns)
    assert rivals.shape == (len(instances), 5) and (rivals > 0).all()
    for n in range(0, len(instances), 7):
        before = slice(instances.begin[n], instances.end[n])
        reacted = log.item[before][log.feedback[before] != 0]
        assert not set(reacted) & set(rivals[n]) and len(set(rivals[n])) == 5
        shown = set(log.item[before][-200:]) - set(reacted)
        assert len(shown & set(rivals[n])) == min(len(shown), 5)
    lists = beside(rivals[:, 2].copy(), rivals, 5)
    assert (lists[:, 0] == rivals[:, 2]).all() and (lists[:, 1:] == rivals[:, [0, 1, 3, 4]]).all()


def test_pairs_are_judged_like_candidates(make):
    _, data, model = make()
    batch, items, pairs = (
        data[[4, 80]],
        torch.tensor([[1, 2, 3, 0], [6, 5, 8, 7]]),
        torch.tensor([[9, 4, 0], [9, 5, 6]]),
    )
    answers = model.eval().answer(batch, items, 5, pairs)
    assert torch.allclose(answers.scores, model.score_candidates(batch, items), atol=1e-4)
    assert torch.allclose(answers.pairs, model.score_candidates(batch, pairs), atol=1e-4)
    assert answers.pairs[0, 2] == -torch.inf
