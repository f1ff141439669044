"""The part of the metrics study that is about candidates: pools, scorings, and what scores are worth by the truth."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from recbole_conrec.cli import main
from recbole_conrec.data.simulation.simulate import SimulateOptions, simulate
from recbole_conrec.study.metrics_order import ALL, TRAINED
from recbole_conrec.study.metrics_pools import PoolScores, agreement, order_pools
from recbole_conrec.study.metrics_pools_report import pools_verdict

BOARD = """
title: Two methods
datasets: [log]
seeds: [1]
metrics: [HR, FHR, CandAcc]
topk: [20]
methods: [Pop, ItemSwing]
options: {split: {by: time, ratio: [0.3, 0.35, 0.35]}}
"""


def slow_agreement(scores, likely):
    right = whole = 0.0
    for s, p in zip(scores, likely, strict=True):
        items = [i for i in range(len(p)) if not np.isnan(p[i])]
        for i in items:
            for j in items:
                gap = max(p[i] - p[j], 0.0)  # each pair once, the likelier item first
                whole += gap
                right += gap * (1.0 if s[i] > s[j] else 0.5 if s[i] == s[j] else 0.0)
    return right / whole


def test_agreement_equals_that_of_a_loop_over_pairs():
    rng = np.random.default_rng(0)
    scores, likely = rng.integers(0, 4, (300, 6)).astype(float), rng.random((300, 6))
    scores[:, 0] = -np.inf  # a real item with the lowest score
    scores[5, 1] = -np.inf
    likely[::3, 4:] = np.nan  # no item
    assert agreement(scores, likely) == pytest.approx(slow_agreement(scores, likely))
    assert agreement(likely, likely) == pytest.approx(1) and agreement(-likely, likely) == pytest.approx(0)
    assert agreement(np.zeros_like(likely), likely) == pytest.approx(0.5)


def test_a_pool_that_orders_methods_as_the_truth_does_has_tau_1_and_its_reverse_has_minus_1():
    n, methods = 400, ["a", "b", "c", "random"]
    rate = np.array([0.8, 0.6, 0.4, 0.2])
    draws = np.random.default_rng(1).random((4, n))
    good, bad = draws < rate[:, None], draws < rate[::-1, None]
    hits = np.stack([np.stack([good, bad]), np.stack([bad, bad])], axis=1).transpose(2, 1, 0, 3).astype(float)
    judging = np.stack([rate, rate[::-1]], axis=1)[:, None, :].repeat(2, axis=1)  # own, contrast
    scored = {m: PoolScores(hits[k], judging[k], {"x": {}, "y": {}}) for k, m in enumerate(methods)}
    asked = SimpleNamespace(truths={"x": None, "y": None}, baselines=lambda test: {})
    test = SimpleNamespace(instances=SimpleNamespace(user=np.arange(n) // 4))
    found = order_pools(asked, scored, rate, np.array([True, True, True, False]), test, 200, 0)
    assert found.accuracy.shape == (2, 2, 4) and found.accuracy[0, 0] == pytest.approx(good.mean(axis=1))
    for label in (ALL, TRAINED):
        assert found.tau[label]["lists"][0].tolist() == [[1, -1], [-1, -1]]  # pools x, y by own, contrast
        assert found.tau[label]["judging"][0].tolist() == [[1, 1], [-1, 1]]
        assert found.over_first[label]["lists"][:, 0, 0].tolist() == [0, 0, 0]
        assert found.over_first[label]["lists"][2, 1, 0] < 0  # its whole interval is below that of the first
    assert "quality of lists, all methods: x, own is closest" in pools_verdict(found)


@pytest.fixture(scope="module")
def sim(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sim")
    simulate(SimulateOptions(out=str(folder), name="log", users=60, items=60, seed=3))
    (folder / "board.yaml").write_text(BOARD)
    return folder


@pytest.mark.slow
def test_the_command_scores_candidates_of_every_pool_as_runs_do(sim):
    """Contrast weights and accuracies of the study, of lists made for it, equal those in the record of the run."""
    options = [f"--data_path={sim}", f"--checkpoint_dir={sim / 'saved'}", f"--out={sim / 'out'}", "--use_gpu=False"]
    assert main(["study", "metrics", f"--leaderboard={sim / 'board.yaml'}", *options]) == 0
    study = json.loads((sim / "out" / "metrics-log.json").read_text())
    pools, place = study["pools"], study["methods"].index("ItemSwing")
    (file,) = sim.glob("saved/log/ItemSwing-*/result.json")
    record = json.loads(file.read_text())
    assert any(record["contrast"].values())
    assert pools["pools"] == ["neutral", "day", "matched"] and pools["scorings"] == ["own", "contrast"]
    assert pools["weights"]["day"]["ItemSwing"] == pytest.approx(record["contrast"])
    own, freed = np.array(pools["accuracy"])[1, :, place]
    assert own == pytest.approx(study["values"][place][2])  # the metric itself
    assert freed == pytest.approx(record["metrics"]["CandAcc.contrast"]["value"], abs=1e-6)
    assert pools["weights"]["matched"]["truth, noise 1"].keys() == {"popularity", "share"}

    accuracy, judging = np.array(pools["accuracy"]), np.array(pools["judging"])
    names = study["methods"]
    best, middle, worst = (names.index(name) for name in ("truth, noise 1", "truth, noise 4", "random"))
    assert (judging[:, 0, best] > judging[:, 0, middle]).all() and (judging[:, 0, middle] > judging[:, 0, worst]).all()
    assert (np.abs(judging[:, 0, worst] - 0.5) < 0.05).all() and (accuracy[:, 0, best] > accuracy[:, 0, worst]).all()
    assert min(pools["baselines"]["chance"]) >= 0.05 and set(pools["baselines"]) == {
        "chance",
        "least popular",
        "share of dislikes",
    }
