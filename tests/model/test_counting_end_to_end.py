"""The two counting models under RecBole's trainer, on every instance of a small data set."""

import numpy as np
import pytest
from recbole.data import data_preparation

from recbole_conrec import registry
from recbole_conrec.data.events import NEGATIVE
from recbole_conrec.evaluation.topk import tie_rank
from recbole_conrec.runs.calibration import Calibration
from recbole_conrec.runs.trainer import find_trainer

METRICS = ["HR", "FHR", "FRecall", "LUF", "LIF", "CandAcc", "Recall", "NDCG"]


def train_and_test(make_tiny, name):
    config, dataset = make_tiny(name, metrics=METRICS, topk=[3, 10], valid_metric="HR@10", eval_batch_size=50)
    train, valid, test = data_preparation(config, dataset)
    model_class = registry.find_model(name)
    trainer = find_trainer(name, model_class)(config, model_class(config, train._dataset))
    trainer.fit(train, valid, saved=False)
    return trainer, test, trainer.measure(test, Calibration())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Pop", "ItemSwing"])
def test_trains_and_fills_every_column(make_tiny, name):
    trainer, test, measured = train_and_test(make_tiny, name)
    result = measured.result
    assert {f"{m.lower()}@{k}" for m in METRICS[:5] for k in (3, 10)} | {"candacc"} <= set(result)
    assert result["hr@10"] == result["recall@10"] > 10 / test._dataset.item_num  # better than chance
    assert all(len(v) == len(test._dataset) for v in measured.outcomes.values())
    assert trainer.evaluate(test, load_best_model=False) == result


@pytest.mark.slow
def test_pop_equals_a_loop_over_instances(make_tiny):
    _, test, measured = train_and_test(make_tiny, "Pop")
    outcomes = measured.outcomes
    dataset, k = test._dataset, 10
    log, truth = dataset.log, dataset.truth("test")
    negative = [
        (int(u), int(i), int(t))
        for u, i, t, f in zip(log.user, log.item, log.time, log.feedback, strict=True)
        if f == NEGATIVE
    ]
    count = np.bincount(log.item[dataset.train_mask & (log.feedback == NEGATIVE)], minlength=log.n_items)
    ranks = tie_rank(log.n_items).tolist()
    order = sorted(range(1, log.n_items), key=lambda i: (-count[i], ranks[i]))
    for n in range(len(dataset)):
        user, time = dataset.instances.user[n], dataset.instances.time[n]
        past = {i for u, i, t in negative if u == user and t < time}
        shown = set([i for i in order if i not in past][:k])
        future = set(truth.f_items[truth.f_ptr[n] : truth.f_ptr[n + 1]].tolist())
        assert outcomes["HR@10"][n] == (dataset.instances.item[n] in shown)
        assert outcomes["FHR@10"][n] == bool(future & shown)
        assert outcomes["FRecall@10"][n] == pytest.approx(len(future & shown) / min(k, len(future)))
        listed, answer = truth.candidates[n], truth.answer[n]
        best = all(count[listed[answer]] > count[c] for c in listed if c != listed[answer] and c > 0)
        assert outcomes["CandAcc"][n] == best
