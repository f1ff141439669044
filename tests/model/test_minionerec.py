"""MiniOneRec on the small log: it learns, nothing from t0 on moves it, its rewards by hand, GRPO over beams runs."""

import math

import numpy as np
import pytest
import torch
from llmrows import check_learns, check_no_leak, make_row, train_on
from test_lcrec import WEIGHTS

from recbole_conrec.model.minionerec import rank, rule
from recbole_conrec.utils.errors import UserError

TUNING = {
    "name": "tuning",
    "task": "mixture",
    "epochs": 100,
    "lr": 0.01,
    "batch_size": 4,
    "weights": {"next": 1, "title_of": 0.02, "item_of": 0.02},
}
GRPO = {
    "name": "grpo",
    "task": "grpo",
    "samples": 50,
    "steps": 4,
    "prompts_per_step": 8,
    "G": 8,
    "beta": 0.001,
    "lr": 0.0001,
    "rollout": "beam",
    "weights": {"next": 1, "item_of": 0.5, "titles_next": 0.5},
}


@pytest.fixture
def make(make_tiny, tmp_path):
    return make_row(make_tiny, "MiniOneRec", tmp_path, stages=[TUNING], history=20, text_history=5)


@pytest.mark.slow
def test_it_learns(make):
    check_learns(make(history=60))  # whole histories: a stretch of one would show less than the prompt asked


@pytest.mark.parametrize("by", ["time", "user"])
def test_nothing_from_t0_on_moves_it(make, by):
    check_no_leak(make(split={"by": by}), by, lambda model, batch: model.prompt(batch))


def test_rewards_by_hand():
    items, target = torch.tensor([[5, 3, 9], [5, 3, 9]]), [3, 4]
    assert rule(items, target).tolist() == [[0, 1, 0], [0, 0, 0]]
    cost = [1 / math.log2(place + 1) for place in (1, 2, 3)]
    assert rank(items, target)[0].tolist() == pytest.approx([-cost[0] / sum(cost), 0, -cost[2] / sum(cost)])
    assert rank(items, target)[1].tolist() == [0, 0, 0]  # without a hit nothing is learned


@pytest.mark.slow
def test_grpo_over_beams_follows_tuning(make):
    tuning = {**TUNING, "epochs": 2, "weights": WEIGHTS | {"titles_title": 0.1}}
    trainer, _ = train_on(make(stages=[tuning, GRPO]))
    entry = trainer.stages[1]
    assert entry["steps"] == 4 and entry["samples"] == 100
    last = [log for log in entry["curve"] if "reward" in log][-1]
    assert last["distinct"] == 8 and np.isfinite(last["reward"])
    assert last["reward"] == pytest.approx(last["rewards/rule/mean"] + last["rewards/rank/mean"], abs=1e-5)


@pytest.mark.slow
def test_a_kind_of_prompts_may_be_left_out(make):
    trainer, _ = train_on(make(stages=[{**TUNING, "epochs": 1}, {**GRPO, "steps": 1, "weights": {"titles_next": 0}}]))
    assert trainer.stages[1]["samples"] == 50


def test_prompts_of_other_kinds_are_refused(make):
    with pytest.raises(UserError, match="next, item_of, titles_next"):
        make(stages=[TUNING, {**GRPO, "weights": {"title_of": 1}}])
    with pytest.raises(UserError, match="one of them above 0"):
        make(stages=[TUNING, {**GRPO, "weights": {"next": 0, "item_of": 0}}])
