"""dense_topk against Python's sort."""

import numpy as np
import pytest
import torch

from recbole_conrec.evaluation.topk import dense_topk, ordered_int, tie_rank


def oracle(scores, k, forbidden, ranks):
    lists = []
    for b, row in enumerate(scores.tolist()):
        items = [i for i in range(1, len(row)) if (b, i) not in forbidden and row[i] != -np.inf]
        items.sort(key=lambda i: (-row[i], ranks[i]))
        lists.append((items + [0] * k)[:k])
    return lists


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("k", [1, 7, 60])  # 60 > catalogue
def test_equals_the_oracle_with_ties(seed, k):
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, (30, 50), generator=generator) - 0.5
    scores = torch.randint(0, 4, (30, 50), generator=generator) * signs  # 0.0 and -0.0 tie
    scores[torch.rand(30, 50, generator=generator) < 0.1] = -torch.inf
    scores[torch.rand(30, 50, generator=generator) < 0.02] = torch.inf
    scores[0] = -torch.inf
    rows, items = torch.randint(0, 30, (200,), generator=generator), torch.randint(0, 50, (200,), generator=generator)
    forbidden = set(zip(rows.tolist(), items.tolist(), strict=True))
    ranks = tie_rank(50, seed)
    found = dense_topk(scores, k, (rows, items), ranks)
    assert found.tolist() == oracle(scores, k, forbidden, ranks.tolist())


def test_blocks_of_rows_change_nothing(monkeypatch):
    scores = torch.randint(0, 5, (40, 30), generator=torch.Generator().manual_seed(0)).float()
    whole = dense_topk(scores, 10)
    monkeypatch.setattr("recbole_conrec.evaluation.topk._CELLS", 100)
    assert torch.equal(dense_topk(scores, 10), whole)


def test_scores_are_left_as_they_were():
    scores = torch.ones(2, 5)
    dense_topk(scores, 3, (torch.tensor([0]), torch.tensor([1])))
    assert torch.equal(scores, torch.ones(2, 5))


def test_a_constant_model_gets_a_random_list_not_the_lowest_ids():
    n = 20_000
    items = dense_topk(torch.zeros(1, n), 200)[0].double()
    assert abs(items.mean() / n - 0.5) < 0.08  # 4 standard errors
    assert torch.equal(items, dense_topk(torch.zeros(1, n), 200)[0].double())  # and the same one again


def test_ordered_int_orders_like_the_scores():
    tiny = torch.finfo(torch.float32).smallest_normal
    above = [1e-45, tiny, 1.0, 1.0000001, 3e38, torch.inf]
    values = torch.tensor([*(-v for v in reversed(above)), 0.0, *above])
    keys = ordered_int(values)
    assert (keys[1:] > keys[:-1]).all()
    assert ordered_int(torch.tensor(-0.0)) == ordered_int(torch.tensor(0.0))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_precisions(dtype):
    scores = torch.tensor([[9.0, 1.0, 3.0, 2.0]], dtype=dtype)
    assert dense_topk(scores, 3).tolist() == [[2, 3, 1]]


def test_nan_names_the_model():
    with pytest.raises(ValueError, match="SASRec gave NaN"):
        dense_topk(torch.tensor([[0.0, torch.nan]]), 1, name="SASRec")
