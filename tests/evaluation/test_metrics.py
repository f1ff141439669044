"""The vectorised metrics against loops over sets."""

import math

import numpy as np
import pytest

from recbole_conrec.evaluation import metrics

N_ITEMS = 25


def oracle(topk, next_item, future, low_activity, long_tail):
    """One instance, the definitions word by word."""
    k, shown, future = len(topk), {i for i in topk if i > 0}, set(future)
    tail = {i for i in future if long_tail[i]}
    nan = math.nan
    fhr = nan if not future else float(bool(shown & future))
    return {
        "hit": float(next_item in shown),
        "future_hit": fhr,
        "future_recall": nan if not future else len(shown & future) / min(k, len(future)),
        "low_activity_hit": fhr if low_activity else nan,
        "long_tail_hit": nan if not tail else float(bool(shown & tail)),
    }


def random_case(seed, n=200, k=6):
    """Lists with duplicates and missing places (0 and -1) anywhere, F of 0 to 9 items."""
    rng = np.random.default_rng(seed)
    topk = rng.integers(-1, N_ITEMS, size=(n, k))
    futures = [np.sort(rng.choice(np.arange(1, N_ITEMS), size=rng.integers(0, 10), replace=False)) for _ in range(n)]
    ptr = np.concatenate(([0], np.cumsum([len(f) for f in futures])))
    return {
        "topk": topk,
        "futures": futures,
        "f_ptr": ptr,
        "f_items": np.concatenate(futures).astype(np.int64),
        "next": rng.integers(1, N_ITEMS, size=n),
        "low_activity": rng.random(n) < 0.5,
        "long_tail": rng.random(N_ITEMS) < 0.3,
    }


def all_metrics(case, topk):
    f = (case["f_ptr"], case["f_items"])
    return {
        "hit": metrics.hit(topk, case["next"]),
        "future_hit": metrics.future_hit(topk, *f),
        "future_recall": metrics.future_recall(topk, *f),
        "low_activity_hit": metrics.low_activity_hit(topk, *f, case["low_activity"]),
        "long_tail_hit": metrics.long_tail_hit(topk, *f, case["long_tail"]),
    }


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 6, 40])  # 40 > catalogue
def test_metrics_equal_the_oracle(seed, k):
    case = random_case(seed, k=k)
    found = all_metrics(case, case["topk"])
    expected = [
        oracle(*row)
        for row in zip(
            case["topk"].tolist(),
            case["next"],
            case["futures"],
            case["low_activity"],
            [case["long_tail"]] * 200,
            strict=True,
        )
    ]
    for name, values in found.items():
        assert values.dtype == np.float64 and values.shape == (200,)
        np.testing.assert_array_equal(values, [e[name] for e in expected], err_msg=name)
    assert np.isnan(found["future_hit"]).any()  # the case has an empty F
    assert (found["future_recall"] > 0).any()


def test_a_missing_place_is_no_item_of_the_row_before():
    """-1 must not become the last item id of the previous instance, nor 0 an item."""
    ptr, items = np.array([0, 1, 2]), np.array([9, 9])
    topk = np.array([[0, 0], [-1, 0]])
    assert metrics.future_hit(topk, ptr, items).tolist() == [0, 0]
    assert metrics.hit(topk, np.array([0, -1])).tolist() == [0, 0]


def test_duplicates_count_once():
    assert metrics.future_recall(np.array([[3, 3, 3]]), np.array([0, 2]), np.array([3, 5])).tolist() == [0.5]


def test_every_list_empty_and_no_instance():
    none = np.zeros(0, dtype=np.int64)
    assert np.isnan(metrics.future_recall(np.zeros((2, 3), dtype=np.int64), np.array([0, 0, 0]), none)).all()
    assert metrics.future_hit(np.zeros((0, 3), dtype=np.int64), np.array([0]), none).shape == (0,)


def test_rankings_of_another_number_of_instances_are_refused():
    with pytest.raises(ValueError, match="1 rankings for 2 instances"):
        metrics.future_hit(np.array([[1]]), np.array([0, 1, 2]), np.array([1, 2]))


@pytest.mark.parametrize("seed", range(3))
def test_candidate_accuracy_equals_the_oracle_with_ties(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, size=(300, 5)).astype(float)  # many ties
    scores[rng.random(scores.shape) < 0.1] = -np.inf
    answer = rng.integers(0, 5, size=300)
    expected = [
        float(all(row[a] > s for c, s in enumerate(row) if c != a)) for row, a in zip(scores, answer, strict=True)
    ]
    found = metrics.candidate_accuracy(scores, answer)
    np.testing.assert_array_equal(found, expected)
    assert 0 < found.sum() < 300


def test_candidate_accuracy_of_a_constant_model_is_zero():
    assert metrics.candidate_accuracy(np.ones((4, 20)), np.arange(4)).tolist() == [0, 0, 0, 0]
    assert metrics.candidate_accuracy(np.full((1, 3), -np.inf), np.array([1])).tolist() == [0]


def test_nan_candidate_scores_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        metrics.candidate_accuracy(np.array([[0.0, np.nan]]), np.array([0]))


def test_mean_leaves_nan_out_and_its_interval_covers():
    figure = metrics.mean(np.array([1, 0, np.nan, 1]))
    assert figure["value"] == pytest.approx(2 / 3) and figure["n"] == 3
    assert figure["low"] < 2 / 3 < figure["high"]
    nothing = metrics.mean(np.zeros(50))
    assert nothing["low"] == 0 and 0.05 < nothing["high"] < 0.1  # 0 of 50 is not certainly 0
    assert metrics.mean(np.array([np.nan])) == {"value": None, "n": 0, "low": None, "high": None}

    rng = np.random.default_rng(0)
    covered = [f["low"] <= 0.1 <= f["high"] for f in (metrics.mean(rng.random(200) < 0.1) for _ in range(1000))]
    assert 0.93 < np.mean(covered) < 0.97
