"""From batches to RecBole's Evaluator."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from recbole.evaluator import Collector, Evaluator
from recbole.evaluator.collector import DataStruct

from recbole_conrec.data.truth import Truth
from recbole_conrec.evaluation.collector import NegativeFeedbackCollector, outcomes, variants
from recbole_conrec.evaluation.metrics.base import Metric, Predictions
from recbole_conrec.evaluation.plugin import register_metrics
from recbole_conrec.evaluation.registry import own_metrics
from recbole_conrec.evaluation.summary import summarise
from recbole_conrec.utils.errors import UserError

register_metrics()
OURS = ["HR", "FHR", "FRecall", "LUF", "LIF", "CandAcc"]
STOCK = ["Recall", "MRR", "NDCG", "Hit", "Precision", "MAP"]
N, N_ITEMS, C = 40, 30, 6


def config(names=OURS, topk=(5, 10)):
    return {
        "metrics": list(names),
        "topk": list(topk),
        "metric_decimal_place": 6,
        "device": torch.device("cpu"),
        "tail_ratio": None,
        "eval_args": {"mode": {"valid": "full", "test": "full"}},
    }


def metric_of(column):
    return column.split("@")[0]


def random_truth(seed=0, n=N):
    rng = np.random.default_rng(seed)
    future = [np.sort(rng.choice(np.arange(1, N_ITEMS), rng.integers(1, 5), replace=False)) for _ in range(n)]
    target = np.array([rng.choice(f) for f in future])
    others = [rng.permutation(np.setdiff1d(np.arange(1, N_ITEMS), [t]))[:C] for t in target]
    answer = rng.integers(0, C, n)
    candidates = np.stack(others)
    candidates[np.arange(n), answer] = target
    return Truth(
        next=target,
        f_ptr=np.concatenate(([0], np.cumsum([len(f) for f in future]))),
        f_items=np.concatenate(future),
        low_activity=rng.random(n) < 0.5,
        long_tail=rng.random(N_ITEMS) < 0.3,
        candidates=candidates,
        further=random_further(rng, n),
    )


def random_further(rng, n):
    """Likes, none in some instances, and pairs, with gaps."""
    likes = [np.sort(rng.choice(np.arange(1, N_ITEMS), rng.integers(0, 5), replace=False)) for _ in range(n)]
    ptr = np.concatenate(([0], np.cumsum([len(row) for row in likes])))
    return SimpleNamespace(likes=(ptr, np.concatenate(likes)), pairs=rng.integers(0, 4, (n, 2)))


def random_answers(seed=0, n=N, k=10):
    """A dense score matrix without ties, and what comes out of it."""
    scores = torch.rand(n, N_ITEMS, generator=torch.Generator().manual_seed(seed))
    scores[:, 0] = -torch.inf
    return scores, scores.topk(k).indices


def collect(collector, truth, items, scores, seed=0, batch=7):
    """Give the instances in batches, in random order; the pairs' scores are the candidates' first ones."""
    order = torch.randperm(len(truth.next), generator=torch.Generator().manual_seed(seed))
    for ids in order.split(batch):
        collector.add(ids, items[ids], scores[ids], scores[ids, :3])
    return collector.finish(truth)


def test_shuffled_batches_are_joined_with_their_truth():
    truth = random_truth()
    dense, items = random_answers()
    scores = dense.gather(1, torch.from_numpy(truth.candidates[:]))
    collector = NegativeFeedbackCollector(config())
    struct = collect(collector, truth, items, scores, seed=3)
    values = collector.outcomes
    for name, metric in own_metrics().items():
        for k in (5, 10) if metric.per_k else (10,):
            predictions = Predictions(items.numpy()[:, :k], scores.numpy(), scores.numpy()[:, :3])
            expected = metric().values(predictions, truth, k)
            np.testing.assert_array_equal(values[f"{name}@{k}" if metric.per_k else name], expected)

    result = Evaluator(config()).evaluate(struct)
    assert list(result) == [f"{m}@{k}" for m in ("hr", "fhr", "frecall", "luf", "lif") for k in (5, 10)] + ["candacc"]
    for name, vector in values.items():
        if metric_of(name) in OURS:
            assert result[name.lower()] == pytest.approx(np.nanmean(vector), abs=1e-6)


def test_stock_metrics_equal_recboles_own_on_the_same_ranking():
    truth = random_truth(1)
    dense, items = random_answers(1)
    stock = Collector(config(STOCK))
    for start in range(0, N, 9):
        part = slice(start, start + 9)
        count = len(dense[part])
        stock.eval_batch_collect(dense[part], None, torch.arange(count), torch.from_numpy(truth.next[part]))
    expected = Evaluator(config(STOCK)).evaluate(stock.get_data_struct())
    ours = collect(NegativeFeedbackCollector(config(STOCK)), truth, items, torch.zeros(N, C))
    assert Evaluator(config(STOCK)).evaluate(ours) == expected
    assert 0 < expected["recall@10"] < 1


def test_ours_and_stock_together_and_hr_is_recall():
    names = OURS + STOCK
    _, items = random_answers(2)
    struct = collect(NegativeFeedbackCollector(config(names)), random_truth(2), items, torch.zeros(N, C))
    result = Evaluator(config(names)).evaluate(struct)
    assert result["hr@10"] == result["recall@10"] == result["hit@10"] > 0
    assert result["candacc"] == 0  # all candidates tie


def test_evaluations_in_a_row_do_not_mix():
    collector = NegativeFeedbackCollector(config())
    first = None
    for seed, n in ((0, N), (5, 11), (0, N)):
        truth = random_truth(seed, n)
        dense, items = random_answers(seed, n)
        struct = collect(collector, truth, items, dense[:, :C].clone().fill_(1.0), seed=n)
        assert len(collector.outcomes["HR@5"]) == n and struct.get("rec.items").shape == (n, 10)
        if seed == 0:
            first = first or collector.outcomes
            np.testing.assert_array_equal(collector.outcomes["HR@5"], first["HR@5"])


def test_counts_of_the_training_data_are_passed_on():
    """RecBole's own collector crashes on them."""

    class Data:
        item_counter = dict(enumerate(range(N_ITEMS)))  # noqa: RUF012 (as RecBole has it)

        def num(self, field):
            return N_ITEMS

    class Loader:
        dataset = Data()

    names = ["ItemCoverage", "AveragePopularity"]
    collector = NegativeFeedbackCollector(config(names) | {"ITEM_ID_FIELD": "item_id", "USER_ID_FIELD": "user_id"})
    collector.data_collect(Loader())
    _, items = random_answers()
    for _ in range(2):
        result = Evaluator(config(names)).evaluate(collect(collector, random_truth(), items, torch.zeros(N, C)))
    assert result["averagepopularity@5"] == pytest.approx(items[:, :5].double().mean().item(), abs=1e-5)
    assert result["itemcoverage@10"] == pytest.approx(len(items.unique()) / N_ITEMS, abs=1e-5)


@pytest.mark.parametrize(
    "ids, message",
    [
        ([0, 1, 2], "1 are missing and 0 came more than once .instance 3: 0 times"),
        ([0, 1, 2, 3, 3], "0 are missing and 1 came more than once .instance 3: 2 times"),
        ([0, 1, 2, 4], "instance 4 is none of the 4"),
        ([0, 1, 2, -1], "instance -1 is none of the 4"),
        ([], "4 are missing"),
    ],
)
def test_each_instance_exactly_once(ids, message):
    collector = NegativeFeedbackCollector(config())
    if ids:
        collector.add(torch.tensor(ids), torch.zeros(len(ids), 10, dtype=torch.int64), torch.zeros(len(ids), C))
    with pytest.raises(ValueError, match=message):
        collector.finish(random_truth(n=4))


def test_a_failed_join_leaves_nothing_behind():
    collector = NegativeFeedbackCollector(config())
    collector.add(torch.tensor([0]), torch.zeros(1, 10, dtype=torch.int64), torch.zeros(1, C))
    with pytest.raises(ValueError):
        collector.finish(random_truth())
    _, items = random_answers()
    collect(collector, random_truth(), items, torch.zeros(N, C))


def test_short_lists_are_misses_and_padding_candidates_never_win():
    truth = random_truth(n=3)
    padding = np.arange(C) != truth.answer[:, None]
    padding[2] = False
    padding[0, (truth.answer[0] + 1) % C] = False  # one rival is left in the first list, none in the second
    truth.candidates[padding] = 0
    collector = NegativeFeedbackCollector(config())
    scores = torch.zeros(3, C)
    scores[0] = 5.0
    scores[0, truth.answer[0]] = -1.0  # less than the padding
    scores[0, (truth.answer[0] + 1) % C] = -2.0
    struct = collect(collector, truth, torch.zeros(3, 10, dtype=torch.int64), scores)
    assert collector.outcomes["HR@10"].tolist() == [0, 0, 0]
    np.testing.assert_array_equal(collector.outcomes["CandAcc"], [1, np.nan, 0])
    assert struct.get("rec.topk").sum().item() == 3  # the numbers of relevant items only


def test_a_model_that_only_scores_candidates():
    truth = random_truth()
    collector = NegativeFeedbackCollector(config())
    collector.add(torch.arange(N), None, torch.rand(N, C))
    result = Evaluator(config()).evaluate(collector.finish(truth))
    assert np.isnan(result["hr@5"]) and 0 <= result["candacc"] <= 1
    assert summarise(collector.outcomes)["HR@5"]["n"] == 0
    collector.add(torch.arange(N), torch.zeros(N, 10, dtype=torch.int64), None)
    result = Evaluator(config()).evaluate(collector.finish(truth))
    assert result["hr@5"] == 0 and np.isnan(result["candacc"])


def test_a_list_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"expected items of shape \(2, 10\), found \(2, 9\)"):
        NegativeFeedbackCollector(config()).add(torch.arange(2), torch.zeros(2, 9, dtype=torch.int64), None)


def test_rounding_follows_the_config():
    truth = random_truth()
    _, items = random_answers()
    struct = collect(NegativeFeedbackCollector(config()), truth, items, torch.zeros(N, C))
    for value in Evaluator(config() | {"metric_decimal_place": 2}).evaluate(struct).values():
        assert value == round(value, 2)


def test_registering_twice_changes_nothing_and_all_four_registers_are_filled():
    from recbole.evaluator import register

    before = [
        dict(register.metrics_dict),
        dict(register.metric_information),
        dict(register.metric_types),
        list(register.smaller_metrics),
    ]
    register_metrics()
    assert before == [
        register.metrics_dict,
        register.metric_information,
        register.metric_types,
        register.smaller_metrics,
    ]
    for name in OURS:
        assert name.lower() in register.metrics_dict and name.lower() in register.metric_information
        assert name.lower() in register.metric_types and name.lower() not in register.smaller_metrics
    assert register.smaller_metrics.count("likehr") == 1


def test_without_our_data_the_metrics_say_what_they_need():
    with pytest.raises(UserError, match="metric HR needs a NegativeFeedbackDataset"):
        Evaluator(config()).evaluate(DataStruct())


def test_metrics_of_a_full_score_matrix_are_refused():
    with pytest.raises(UserError, match="GAUC"):
        NegativeFeedbackCollector(config(["HR", "GAUC"]))


def test_without_further_truth_or_scores_of_pairs_their_metrics_are_empty():
    truth, (_, items) = random_truth(), random_answers()
    alone = outcomes(replace(truth, further=None), items.numpy(), None, (5,), pairs=np.zeros((N, 3)))
    assert all(np.isnan(alone[name]).all() for name in ("LikeHR@5", "DeltaHR@5", "AUCLike", "AUCNeutral"))
    unscored = outcomes(truth, items.numpy(), None, (5,))
    assert np.isnan(unscored["AUCLike"]).all() and not np.isnan(unscored["LikeHR@5"]).all()


def test_only_the_metrics_that_are_asked_for():
    truth, (_, items) = random_truth(), random_answers()
    collector = NegativeFeedbackCollector(config(["FHR", "Recall"]))
    assert [type(metric).__name__ for metric in collector.named] == ["FHR"]
    collector.add(torch.arange(N), items, None)
    collector.finish(truth, collector.named)
    assert list(collector.outcomes) == ["FHR@5", "FHR@10"] and collector.figures == {}


class Listed(Metric):
    """Items in the whole list: one value, not one for each K."""

    per_k = False

    def values(self, predictions, truth, k):
        assert predictions.items.shape == (len(truth.next), k)
        return (predictions.items > 0).sum(axis=1)


class Wrong(Metric):
    """One value too many, or an infinite one."""

    def __init__(self, values):
        self.given = values

    def values(self, predictions, truth, k):
        return self.given


def test_metrics_of_the_user_are_computed_with_their_shape():
    truth = random_truth()
    _, items = random_answers()
    values = outcomes(truth, items.numpy(), None, (5, 10), [Listed()])
    assert list(values) == ["Listed"] and values["Listed"].tolist() == [10.0] * N
    assert values["Listed"].dtype == np.float64
    assert np.isnan(outcomes(truth, None, np.zeros((N, C)), (5, 10), [Listed()])["Listed"]).all()


@pytest.mark.parametrize(
    "values, words", [(np.zeros(N + 1), rf"shape \({N + 1},\); expected \({N},\)"), (np.full(N, np.inf), "infinite")]
)
def test_wrong_values_of_a_metric_name_it(values, words):
    _, items = random_answers()
    with pytest.raises(UserError, match=f"metric Wrong: .*{words}"):
        outcomes(random_truth(), items.numpy(), None, (5,), [Wrong(values)])


def test_further_scorings_of_candidates():
    truth, scores = random_truth(), np.random.default_rng(0).random((N, C))
    found = variants(truth, {"beam": scores, "similarity": -scores})
    assert list(found) == ["CandAcc.beam", "CandAcc.similarity"]
    np.testing.assert_array_equal(found["CandAcc.beam"], outcomes(truth, None, scores, ())["CandAcc"])
    assert variants(truth, {"beam": scores}, [Listed()]) == {}
