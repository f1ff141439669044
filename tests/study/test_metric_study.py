import json

import numpy as np
import pytest
from scipy.stats import kendalltau

from recbole_conrec.cli import main
from recbole_conrec.data.simulation.simulate import SimulateOptions, simulate
from recbole_conrec.leaderboard.board import read_board
from recbole_conrec.study.metrics import kendall, study_metrics
from recbole_conrec.utils.errors import UserError

BOARD = """
title: Two methods
datasets: [log]
seeds: [1]
metrics: [HR, FHR, CandAcc, LikeHR, AUCNeutral]
topk: [20]
methods: [Pop, ItemSwing]
"""


@pytest.fixture(scope="module")
def sim(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sim")
    simulate(SimulateOptions(out=str(folder), name="log", users=60, items=60, seed=3))
    (folder / "board.yaml").write_text(BOARD)
    return folder


@pytest.fixture(scope="module")
def study(sim):
    options = [f"--data_path={sim}", f"--checkpoint_dir={sim / 'saved'}", f"--out={sim / 'out'}", "--use_gpu=False"]
    assert main(["study", "metrics", f"--leaderboard={sim / 'board.yaml'}", *options]) == 0
    return json.loads((sim / "out" / "metrics-log.json").read_text())


def test_kendall_equals_scipy_without_ties_and_a_tie_counts_as_neither_right_nor_wrong():
    rng = np.random.default_rng(0)
    values, quality = rng.random((6, 9, 3)), rng.random(9)
    found = kendall(values, quality)
    for draw in range(6):
        for metric in range(3):
            assert found[draw, metric] == pytest.approx(kendalltau(values[draw, :, metric], quality).statistic)
    assert kendall(np.array([[[1.0], [1.0], [2.0]]]), np.array([1.0, 2.0, 3.0]))[0, 0] == pytest.approx(2 / 3)


@pytest.mark.slow
def test_quality_and_metrics_of_pop_equal_those_of_a_loop(sim, study):
    """Pop's lists, their true quality, HR and FHR, instance by instance."""
    from recbole_conrec.data.dataset import NegativeFeedbackDataset
    from recbole_conrec.data.simulation.oracle import Oracle
    from recbole_conrec.evaluation.topk import tie_rank
    from recbole_conrec.runs.config import make_config

    options = {"data_path": str(sim), "checkpoint_dir": str(sim / "saved")}
    data = NegativeFeedbackDataset(make_config("Pop", "log", options=options))
    log, oracle, test = data.log, Oracle.load(sim / "log"), data.splits["test"]
    counts = np.bincount(log.item[data.train_mask & (log.feedback == -1)], minlength=log.n_items)
    ties = tie_rank(log.n_items).numpy()
    quality, hits, future_hits = [], [], []
    for user, t0, item, begin, end in zip(test.user, test.time, test.item, test.begin, test.end, strict=True):
        known = set(log.item[begin:end][log.feedback[begin:end] == -1])
        out = set(log.item[begin:end][log.feedback[begin:end] != 0])  # exclude: reacted
        order = sorted((i for i in range(1, log.n_items) if i not in out), key=lambda i: (-counts[i], ties[i]))[:20]
        tokens = [data.field2id_token["item_id"][i] for i in order]
        rows = oracle.rows("user", [data.field2id_token["user_id"][user]]), oracle.rows("item", tokens)[None]
        quality.append(oracle.dislike_probability(*rows, np.array([t0])).mean())
        window = (log.user == user) & (log.time >= t0) & (log.time <= t0 + 7 * 86_400) & (log.feedback == -1)
        hits.append(item in order)
        future_hits.append(bool((set(log.item[window]) - known) & set(order)))
    place = study["methods"].index("Pop")
    assert study["quality"][place] == pytest.approx(np.mean(quality))
    assert study["values"][place][:2] == pytest.approx([np.mean(hits), np.mean(future_hits)])
    assert study["instances"] == len(test)


def test_it_judges_metrics_of_pairs_and_refuses_figures_of_all_lists(sim, study):
    auc = dict(zip(study["methods"], np.array(study["values"])[:, 4], strict=True))
    assert auc["truth, noise 1"] > auc["truth, noise 16"] and abs(auc["random"] - 0.5) < 0.15
    with pytest.raises(UserError, match="metrics: GiniIndex@20 are of all lists together"):
        study_metrics(read_board(str(sim / "board.yaml")).narrow(metrics=["HR", "FHR", "GiniIndex"]))


def test_the_true_order_is_the_order_of_knowledge(study):
    quality = dict(zip(study["methods"], study["quality"], strict=True))
    assert list(quality) == ["Pop", "ItemSwing", "random", "truth, noise 1", "truth, noise 4", "truth, noise 16"]
    assert study["best"] > quality["truth, noise 1"] > quality["truth, noise 4"] > quality["truth, noise 16"]
    assert quality["truth, noise 4"] > quality["random"]
    assert study["trained"] == [True, True, False, False, False, False]


def test_the_report_has_intervals_and_a_picture(sim, study):
    for label in ("all methods", "trained methods"):
        value, low, high = np.array(study["tau"][label])
        assert (low <= high).all() and (np.abs(value) <= 1).all()
        assert (np.array(study["gain"][label])[:, 0] == 0).all()  # of HR over itself
    assert (sim / "out" / "metrics-log.png").read_bytes().startswith(b"\x89PNG")


def test_data_without_a_truth_are_refused(sim, tiny_path, tmp_path, capsys):
    options = [f"--data_path={tiny_path}", "--dataset=tiny", f"--checkpoint_dir={tmp_path}", "--use_gpu=False"]
    rules = ["--feedback.negative=rating <= 2", "--item_text=[title]"]
    assert main(["study", "metrics", f"--leaderboard={sim / 'board.yaml'}", *options, *rules]) == 2
    assert "only simulated data sets have a known truth" in capsys.readouterr().err


def test_a_board_must_begin_with_hr_and_have_fhr(sim, tmp_path, capsys):
    (tmp_path / "board.yaml").write_text(BOARD.replace("[HR, FHR, CandAcc, LikeHR, AUCNeutral]", "[HR, CandAcc]"))
    assert main(["study", "metrics", f"--leaderboard={tmp_path / 'board.yaml'}", f"--data_path={sim}"]) == 2
    assert "expected HR first, with which the others are compared, and FHR" in capsys.readouterr().err
