"""A whole run: what its record holds beside the default columns, against loops over instances and lists."""

import io

import numpy as np
import pytest
import tinylog
import torch
from rich.console import Console

from recbole_conrec.data.counts import training_dislikes
from recbole_conrec.evaluation.beyond import BEYOND, beyond
from recbole_conrec.evaluation.ranking import rank
from recbole_conrec.evaluation.table import render, shown
from recbole_conrec.runs.restore import load_run
from recbole_conrec.runs.runner import run

METRICS = ["HR", "FRecall", "LikeHR", "NDCG", "giniindex", "CandAcc"]


@pytest.fixture(scope="module")
def options(tiny_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    return {
        **tinylog.OPTIONS,
        "data_path": str(tiny_path),
        "checkpoint_dir": str(folder / "saved"),
        "gpu_id": "",
        "show_progress": False,
    }


@pytest.fixture(scope="module")
def pop(options):
    """(result, lists int64 [N, 20], test data) of a run of Pop, with what RecBole measures, too."""
    result = run("Pop", "tiny", options={**options, "metrics": METRICS})
    done = load_run(result.run_dir, {})
    test = done.data.build()[2]
    candidates = torch.from_numpy(done.data.truth("test").candidates[:])
    lists, _ = rank(done.model, test[np.arange(len(test))], candidates, 20, test)
    return result, lists.numpy(), test


@pytest.mark.slow
def test_hit_rates_at_5_and_10_come_with_20(pop):
    result, lists, test = pop
    for k in (5, 10, 20):
        hits = [float(item in row[:k]) for row, item in zip(lists.tolist(), test.instances.item.tolist(), strict=True)]
        assert result.outcomes[f"HR@{k}"].tolist() == hits
    assert 0 < result.record["metrics"]["HR@5"]["value"] < result.record["metrics"]["HR@20"]["value"]


def test_hits_of_likes(pop):
    result, lists, test = pop
    log, part = test.log, test.instances
    found = result.outcomes["LikeHR@10"]
    for n in range(len(part)):
        truth = test.truth("test")
        disliked = set(truth.f_items[truth.f_ptr[n] : truth.f_ptr[n + 1]].tolist())
        within = (log.user == part.user[n]) & (log.time >= part.time[n]) & (log.time <= part.time[n] + 7 * 86_400)
        liked = set(log.item[within & (log.feedback == 1)].tolist()) - disliked
        assert np.isnan(found[n]) if not liked else found[n] == bool(liked & set(lists[n, :10].tolist()))
    both = ~np.isnan(found)
    delta = result.outcomes["FHR@10"] - found
    np.testing.assert_array_equal(result.outcomes["DeltaHR@10"], delta)
    figure = result.record["metrics"]["DeltaHR@10"]
    assert figure["n"] == both.sum() > 20 and figure["value"] == pytest.approx(delta[both].mean())


def test_auc_against_likes_and_exposures(pop):
    """Pop's score of an item is its number of training dislikes."""
    result, _, test = pop
    count, pairs = training_dislikes(test), test.truth("test").further.pairs
    for name, rivals in (("AUCLike", pairs[:, 0]), ("AUCNeutral", pairs[:, 1])):
        expected = [
            np.nan if not rival else 1.0 if count[own] > count[rival] else 0.5 if count[own] == count[rival] else 0.0
            for own, rival in zip(test.instances.item, rivals, strict=True)
        ]
        np.testing.assert_array_equal(result.outcomes[name], expected)
        assert {0.0, 0.5, 1.0} <= set(expected)


def test_figures_of_all_lists(pop):
    result, lists, test = pop
    expected = beyond(lists, [5, 10, 20], training_dislikes(test))
    figures = {name: result.record["metrics"][name] for name in expected}
    assert {name: one["value"] for name, one in figures.items()} == pytest.approx(expected)
    assert all(one["n"] == len(lists) and one["low"] is None for one in figures.values())
    assert not set(expected) & set(result.outcomes)
    gain = [
        1 / np.log2(2 + row.tolist().index(item))
        for row, item in zip(lists, test.instances.item, strict=True)
        if item in row
    ]
    ndcg = result.record["metrics"]["NDCG@20"]
    assert ndcg["value"] == pytest.approx(sum(gain) / len(lists), abs=1e-5) and ndcg["n"] == len(lists)


def test_the_table_shows_what_was_asked_for_at_20(pop):
    result, *_ = pop
    assert shown(result.record) == ["HR@20", "FRecall@20", "LikeHR@20", "NDCG@20", "GiniIndex@20", "CandAcc"]
    assert shown(result.record, [5, 20])[:2] == ["HR@5", "HR@20"]
    out = io.StringIO()
    Console(file=out, width=100).print(render([result.record], shown(result.record)))
    text = out.getvalue()
    assert text.split()[:7] == ["method", "HR@20", "FRecall@20", "LikeHR@20", "NDCG@20", "GiniIndex@20", "CandAcc"]
    assert "-" not in [cell.strip() for cell in text.splitlines()[3].split()]


@pytest.mark.slow
def test_selection_by_a_smaller_figure(options):
    """Of LikeHR the lowest epoch is kept, of NDCG the highest."""
    for metric, best in (("LikeHR", min), ("NDCG", max)):
        small = {"epochs": 4, "n_layers": 1, "hidden_size": 32, "inner_size": 32, "MAX_ITEM_LIST_LENGTH": 10}
        given = {**options, **small, "metrics": ["HR", metric], "valid_metric": f"{metric}@20"}
        record = run("SASRec", "tiny", options=given).record
        looks = [entry["valid"] for entry in record["curve"]]
        assert record["valid"] == {f"{metric}@20": best(looks)} and len(set(looks)) > 1


@pytest.mark.slow
def test_a_method_that_only_ranks_candidates_has_no_figures_of_lists(options):
    stage = {"name": "tuning", "task": "yes_no", "samples": 20, "epochs": 1}
    given = {**options, "metrics": ["NDCG", "ItemCoverage", "CandAcc"], "valid_metric": "CandAcc", "stages": [stage]}
    sizes = {"layers": 1, "hidden": 32, "heads": 2, "kv_heads": 2, "intermediate": 64}
    small = {"llm_options": {"tiny": sizes}, "history": 6, "valid_sample": 10}
    metrics = run("TALLRec", "tiny", options={**given, **small}).record["metrics"]
    assert metrics["NDCG@20"] == {"value": None, "n": 0, "low": None, "high": None}
    assert not set(BEYOND) & {name.split("@")[0] for name in metrics} and metrics["AUCLike"]["n"] > 20


def test_the_tail_is_an_option(options, pop):
    _, lists, test = pop
    record = run("Pop", "tiny", options={**options, "tail_ratio": 12}).record
    expected = beyond(lists, [20], training_dislikes(test), 12)["TailPercentage@20"]
    assert record["metrics"]["TailPercentage@20"]["value"] == pytest.approx(expected)
    assert 0 < expected < 1
