"""The figures of all lists together against RecBole's own classes, and where these do not help."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from recbole.evaluator.collector import DataStruct
from recbole.evaluator.register import metrics_dict

from recbole_conrec.evaluation.beyond import BEYOND, beyond

N_ITEMS, TOPK = 40, (2, 5)


def random_lists(seed, n=60):
    """Full lists without repetitions that prefer low ids, and popularity with ties and zeros."""
    rng = np.random.default_rng(seed)
    weights = np.arange(N_ITEMS, 1, -1) ** 2.0
    lists = [rng.choice(np.arange(1, N_ITEMS), max(TOPK), False, weights / weights.sum()) for _ in range(n)]
    popularity = rng.integers(0, 6, N_ITEMS)
    popularity[0] = 0
    return np.stack(lists), popularity


def recboles(items, popularity, tail_ratio):
    """RecBole's figures, its classes given the items without the padding one."""
    config = {"topk": list(TOPK), "metric_decimal_place": 12, "tail_ratio": tail_ratio}
    struct = DataStruct()
    struct.set("rec.items", torch.from_numpy(items).double())  # as whole numbers RecBole's means of counts would be cut
    struct.set("data.num_items", N_ITEMS - 1)
    struct.set("data.count_items", Counter({i: int(count) for i, count in enumerate(popularity) if count}))
    return {
        f"{name}@{key.split('@')[1]}": float(value)
        for name in BEYOND
        for key, value in metrics_dict[name.lower()](config).calculate_metric(struct).items()
    }


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tail_ratio", [None, 0.25, 1, 3])
def test_they_are_recboles(seed, tail_ratio):
    items, popularity = random_lists(seed)
    found, expected = beyond(items, TOPK, popularity, tail_ratio), recboles(items, popularity, tail_ratio)
    assert list(found) == [f"{name}@{k}" for k in TOPK for name in BEYOND]
    assert found == {name: pytest.approx(expected[name], abs=1e-9) for name in found}
    assert 0 < found["TailPercentage@5"] < 1 or tail_ratio != 0.25


def test_missing_places_do_not_count():
    """Two lists of one item each, one of two items, one of none: the figures of these four items."""
    items = np.array([[3, 0], [3, 0], [1, 2], [0, 0]])
    popularity = np.array([99, 4, 0, 8])
    found = beyond(items, [2], popularity)
    assert found["ItemCoverage@2"] == 1  # of the items 1, 2, 3
    assert found["AveragePopularity@2"] == pytest.approx((8 + 8 + (4 + 0) / 2) / 3)
    assert found["GiniIndex@2"] == pytest.approx(((-2) * 1 + 0 * 1 + 2 * 2) / (3 * 4))
    assert found["ShannonEntropy@2"] == pytest.approx(-(2 * 0.25 * math.log(0.25) + 0.5 * math.log(0.5)) / 3)
    assert found["TailPercentage@2"] == pytest.approx((0 + 0 + 1 / 2) / 3)  # item 1 is the least popular known one


def test_extremes():
    same = beyond(np.ones((50, 1), dtype=np.int64), [1], np.array([0, 5, 1, 1]))
    assert same["GiniIndex@1"] == pytest.approx(2 / 3) and same["ShannonEntropy@1"] == 0
    equal = beyond(np.array([[1], [2], [3]]), [1], np.array([0, 5, 1, 1]))
    assert equal["GiniIndex@1"] == 0 and equal["ItemCoverage@1"] == 1
    assert all(math.isnan(value) for value in beyond(np.zeros((3, 2), dtype=np.int64), [2], np.array([0, 1])).values())
