"""The metrics against loops over sets, and how they are found by name."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from recbole.evaluator import register

from recbole_conrec.data.truth import Truth
from recbole_conrec.evaluation import registry
from recbole_conrec.evaluation.metrics.base import Predictions
from recbole_conrec.evaluation.plugin import register_metrics
from recbole_conrec.evaluation.summary import mean
from recbole_conrec.utils.errors import UserError

N_ITEMS = 25
OURS = registry.own_metrics()


def values(name, items=None, scores=None, pairs=None, **given):
    """The values of one of our metrics; what it does not read of the truth is empty."""
    none = np.zeros(0, dtype=np.int64)
    empty = dict.fromkeys(("next", "f_ptr", "f_items", "low_activity", "long_tail", "candidates"), none)
    predictions = Predictions(*(none if part is None else np.asarray(part) for part in (items, scores, pairs)))
    k = predictions.items.shape[-1]
    return OURS[name]().values(predictions, Truth(**{**empty, **given}), k)


def like_hits(lists, likes, future):
    """LikeHR and DeltaHR of each instance, the definitions word by word."""
    out = []
    for shown, liked, disliked in zip(lists, likes, future, strict=True):
        shown = {item for item in shown if item > 0}
        like = float(any(item in shown for item in liked)) if len(liked) else math.nan
        dislike = float(any(item in shown for item in disliked)) if len(disliked) else math.nan
        out.append((like, dislike - like))
    return np.array(out).T


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("k", [1, 6, 40])
def test_metrics_of_likes_equal_the_oracle(seed, k):
    case, likes = random_case(seed, k=k), random_case(seed + 100, k=k)
    further = SimpleNamespace(likes=(likes["f_ptr"], likes["f_items"]))
    given = {"f_ptr": case["f_ptr"], "f_items": case["f_items"], "further": further}
    expected = like_hits(case["topk"], likes["futures"], case["futures"])
    for name, figures in zip(("LikeHR", "DeltaHR"), expected, strict=True):
        np.testing.assert_array_equal(values(name, case["topk"], **given), figures, err_msg=name)
    assert {-1.0, 0.0} <= set(expected[1][~np.isnan(expected[1])]) and np.isnan(expected).any()


@pytest.mark.parametrize("name, column", [("AUCLike", 0), ("AUCNeutral", 1)])
def test_auc_is_the_share_of_rivals_that_the_dislike_beats(name, column):
    """Scores in two steps tie often; an item 0 is no rival, whatever its score."""
    rng = np.random.default_rng(column)
    scores, rivals = rng.integers(0, 3, (300, 3)).astype(float), rng.integers(0, 3, (300, 2))
    scores[:, 1:][rivals == 0] = np.nan
    wins = [
        math.nan if rival == 0 else 1.0 if own > other else 0.5 if own == other else 0.0
        for (own, other), rival in zip(scores[:, [0, 1 + column]], rivals[:, column], strict=True)
    ]
    found = values(name, pairs=scores, further=SimpleNamespace(pairs=rivals))
    np.testing.assert_array_equal(found, wins)
    assert {0.0, 0.5, 1.0} < set(wins) and np.isnan(wins).any()


def test_a_score_that_is_no_number_is_refused_where_there_is_a_rival():
    with pytest.raises(ValueError, match="NaN among the scores of a dislike"):
        values("AUCLike", pairs=[[np.nan, 0.0, 0.0]], further=SimpleNamespace(pairs=np.array([[1, 0]])))


def candidate_accuracy(scores, answer):
    """CandAcc of candidates without padding; the true item is number 1 + answer, whatever the row."""
    scores = np.asarray(scores)
    candidates = np.tile(np.arange(1, scores.shape[1] + 1), (len(scores), 1))
    return values("CandAcc", scores=scores, next=1 + np.asarray(answer), candidates=candidates)


def oracle(topk, next_item, future, low_activity, long_tail):
    """One instance, the definitions word by word."""
    k, shown, future = len(topk), {i for i in topk if i > 0}, set(future)
    tail = {i for i in future if long_tail[i]}
    nan = math.nan
    fhr = nan if not future else float(bool(shown & future))
    return {
        "HR": float(next_item in shown),
        "FHR": fhr,
        "FRecall": nan if not future else len(shown & future) / min(k, len(future)),
        "LUF": fhr if low_activity else nan,
        "LIF": nan if not tail else float(bool(shown & tail)),
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


def all_metrics(case):
    given = {name: case[name] for name in ("next", "f_ptr", "f_items", "low_activity", "long_tail")}
    return {name: values(name, case["topk"], **given) for name in ("HR", "FHR", "FRecall", "LUF", "LIF")}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 6, 40])  # 40 > catalogue
def test_metrics_equal_the_oracle(seed, k):
    case = random_case(seed, k=k)
    found = all_metrics(case)
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
    for name, figures in found.items():
        assert figures.dtype == np.float64 and figures.shape == (200,)
        np.testing.assert_array_equal(figures, [e[name] for e in expected], err_msg=name)
    assert np.isnan(found["FHR"]).any()  # the case has an empty F
    assert (found["FRecall"] > 0).any()


def test_a_missing_place_is_no_item_of_the_instance_before():
    """-1 must not become the last item id of the previous instance, nor 0 an item."""
    f = {"f_ptr": np.array([0, 1, 2]), "f_items": np.array([9, 9])}
    topk = np.array([[0, 0], [-1, 0]])
    assert values("FHR", topk, **f).tolist() == [0, 0]
    assert values("HR", topk, next=np.array([0, -1])).tolist() == [0, 0]


def test_duplicates_count_once():
    f = {"f_ptr": np.array([0, 2]), "f_items": np.array([3, 5])}
    assert values("FRecall", [[3, 3, 3]], **f).tolist() == [0.5]


def test_every_list_empty_and_no_instance():
    none = np.zeros(0, dtype=np.int64)
    topk = np.zeros((2, 3), dtype=np.int64)
    assert np.isnan(values("FRecall", topk, f_ptr=np.array([0, 0, 0]), f_items=none)).all()
    assert values("FHR", topk[:0], f_ptr=np.array([0]), f_items=none).shape == (0,)


def test_lists_of_another_number_of_instances_are_refused():
    with pytest.raises(ValueError, match="1 lists for 2 instances"):
        values("FHR", [[1]], f_ptr=np.array([0, 1, 2]), f_items=np.array([1, 2]))
    with pytest.raises(ValueError, match="expected the lists as a matrix"):
        values("FHR", [1, 2], f_ptr=np.array([0, 1, 2]), f_items=np.array([1, 2]))


@pytest.mark.parametrize("seed", range(3))
def test_candidate_accuracy_equals_the_oracle_with_ties(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, size=(300, 5)).astype(float)  # many ties
    scores[rng.random(scores.shape) < 0.1] = -np.inf
    answer = rng.integers(0, 5, size=300)
    expected = [
        float(all(row[a] > s for c, s in enumerate(row) if c != a)) for row, a in zip(scores, answer, strict=True)
    ]
    found = candidate_accuracy(scores, answer)
    np.testing.assert_array_equal(found, expected)
    assert 0 < found.sum() < 300


def test_candidate_accuracy_of_a_constant_model_is_zero():
    assert candidate_accuracy(np.ones((4, 20)), np.arange(4)).tolist() == [0, 0, 0, 0]
    assert candidate_accuracy(np.full((1, 3), -np.inf), np.array([1])).tolist() == [0]


def test_nan_candidate_scores_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        candidate_accuracy(np.array([[0.0, np.nan]]), np.array([0]))


def test_mean_leaves_nan_out_and_its_interval_covers():
    figure = mean(np.array([1, 0, np.nan, 1]))
    assert figure["value"] == pytest.approx(2 / 3) and figure["n"] == 3
    assert figure["low"] < 2 / 3 < figure["high"]
    nothing = mean(np.zeros(50))
    assert nothing["low"] == 0 and 0.05 < nothing["high"] < 0.1  # 0 of 50 is not certainly 0
    assert mean(np.array([np.nan])) == {"value": None, "n": 0, "low": None, "high": None}

    rng = np.random.default_rng(0)
    covered = [f["low"] <= 0.1 <= f["high"] for f in (mean(rng.random(200) < 0.1) for _ in range(1000))]
    assert 0.93 < np.mean(covered) < 0.97


def test_the_interval_of_values_outside_the_unit_interval_is_the_normal_one():
    rng = np.random.default_rng(0)
    seen = rng.normal(5, 2, 400)
    figure = mean(seen)
    assert figure["low"] == pytest.approx(seen.mean() - 1.96 * seen.std() / 20)
    assert figure["high"] == pytest.approx(seen.mean() + 1.96 * seen.std() / 20)


def test_our_metrics_in_the_order_of_the_default_option():
    more = ["AUCLike", "AUCNeutral", "DeltaHR", "LikeHR"]
    assert list(OURS) == ["HR", "FHR", "FRecall", "LUF", "LIF", "CandAcc", *more]
    assert [name for name in OURS if registry.smaller(f"{name}@20")] == ["LikeHR"] and registry.smaller("giniindex@5")
    for name, metric in OURS.items():
        assert metric.__doc__ and metric.__name__ == name and metric.__module__.endswith(f".{name.lower()}")
    assert registry.columns(["ndcg"], [5]) == ["NDCG@5"]
    assert registry.columns(["hr", "CandAcc", "Recall"], [5, 20]) == [
        "HR@5",
        "HR@20",
        "CandAcc",
        "Recall@5",
        "Recall@20",
    ]


MINE = """
import numpy as np
from recbole_conrec.evaluation.metrics.base import Metric

class {name}(Metric):
    def values(self, predictions, truth, k):
        return np.zeros(len(truth.next))
"""


@pytest.fixture
def my_metrics(tmp_path, monkeypatch):
    """A module my_metrics_NAME with a metric called NAME; returns its dotted path."""
    monkeypatch.syspath_prepend(tmp_path)
    known = [dict(getattr(register, name)) for name in ("metrics_dict", "metric_information", "metric_types")]

    def make(name):
        (tmp_path / f"my_metrics_{name}.py").write_text(MINE.format(name=name))
        return f"my_metrics_{name}:{name}"

    yield make
    for name, before in zip(("metrics_dict", "metric_information", "metric_types"), known, strict=True):
        getattr(register, name).clear()
        getattr(register, name).update(before)


def test_a_metric_of_the_user_by_its_path(my_metrics):
    path = my_metrics("Coverage")
    names = ["HR", path, "CandAcc"]
    assert [type(metric).__name__ for metric in registry.measured(names)] == [*OURS, "Coverage"]
    assert registry.columns(names, [5]) == ["HR@5", "Coverage@5", "CandAcc"]
    register_metrics(names)
    assert {"coverage", path.lower()} <= set(register.metrics_dict)


def test_a_metric_of_an_installed_package(my_metrics, tmp_path):
    path = my_metrics("Surprise")
    info = tmp_path / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[recbole_conrec.metrics]\nSurprise = {path}\n")
    assert registry.columns(["Surprise"], [5]) == ["Surprise@5"]
    register_metrics()
    assert "surprise" in register.metrics_dict


def test_mistakes_in_a_metric_of_the_user(my_metrics):
    with pytest.raises(UserError, match="the second metric called HR; rename its class"):
        registry.measured([my_metrics("HR")])
    with pytest.raises(UserError, match="'my_metrics_NDCG:NDCG' has the name of one of RecBole's metrics"):
        register_metrics([my_metrics("NDCG")])
    with pytest.raises(UserError, match="'numpy:ndarray' is no metric; expected a class derived from"):
        registry.measured(["numpy:ndarray"])
    with pytest.raises(UserError, match="there is no module 'my_nothing'"):
        registry.measured(["my_nothing:Mine"])
