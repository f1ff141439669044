"""TALLRec on the small log: it learns, it follows the history, nothing from t0 on moves it; scores are P(No)."""

import copy

import numpy as np
import pytest
import torch
from llmrows import check_learns, check_no_leak, make_row, train_on
from llmtools import next_token_logps

from recbole_conrec.data.events import POSITIVE, Instances
from recbole_conrec.evaluation.ranking import rank
from recbole_conrec.generative.text_prompts import NO, YES
from recbole_conrec.utils.errors import UserError

STAGE = {"name": "tuning", "task": "yes_no", "samples": 2000, "epochs": 30, "lr": 0.005, "batch_size": 10}


@pytest.fixture
def make(make_tiny, tmp_path):
    return make_row(make_tiny, "TALLRec", tmp_path, stages=[STAGE])


@pytest.mark.slow
def test_it_learns(make):
    """Of the users of the 50 instances alone. Right: No is likelier for the dislike than for 19 of their likes."""
    config, data, model = make()
    log, users = data.log, data.splits["train"][:50].user
    data.train_mask = data.train_mask & np.isin(log.user, users)

    def right(model, train, batch):
        likes = copy.copy(train)
        likes.instances = Instances.of_rows(log, np.flatnonzero(data.train_mask & (log.feedback == POSITIVE)))
        others = likes[np.arange(len(likes.instances))]
        own, rivals = (model.score_candidates(one, one["item_id"][:, None])[:, 0] for one in (batch, others))
        drawn = torch.from_numpy(np.random.default_rng(0).integers(0, len(rivals), (50, 19)))
        return (own[:, None] > rivals[drawn]).all(1)

    check_learns((config, data, model), right)


@pytest.mark.parametrize("by", ["time", "user"])
def test_nothing_from_t0_on_moves_it(make, by):
    check_no_leak(make(split={"by": by}), by, lambda model, batch: model.prompt(batch))


def test_a_score_is_the_log_odds_of_no_after_the_question(make):
    _, data, model = make()
    batch, items = data[[5, 60]], torch.tensor([[3, 9, 0], [1, 2, 4]])
    found = model.eval().score_candidates(batch, items)
    assert found[0, 2] == -torch.inf
    ids, mask = model.prompt(batch).pair
    tokens = [model.prompts.encode(word)[0] for word in (NO, YES)]
    for row, item, column in ((0, 3, 0), (0, 9, 1), (1, 4, 2)):
        question = model.prompts.question(np.array(item))
        whole = torch.cat([ids[row][mask[row].bool()], torch.from_numpy(question[question >= 0])])
        no, yes = next_token_logps(model.backbone, whole.tolist(), tokens)
        assert found[row, column] == pytest.approx(float(no - yes), abs=1e-4)


def test_it_ranks_candidates_only(make):
    _, data, model = make()
    items, scores = rank(model.eval(), data[[0, 1]], torch.tensor([[1, 2], [3, 4]]), 5, data)
    assert items is None and scores.shape == (2, 2)
    with pytest.raises(UserError, match="only ranks given candidates; give CandAcc"):
        train_on(make(valid_metric="HR@20"))


def test_it_needs_likes(make):
    with pytest.raises(UserError, match="0 likes in training; TALLRec learns from both"):
        train_on(make(feedback={"negative": "rating <= 2", "positive": None}))


def test_pairs_beside_the_candidates_change_no_score(make):
    _, data, model = make()
    batch, items, pairs = (
        data[[4, 80]],
        torch.tensor([[1, 2, 3, 0], [6, 5, 8, 7]]),
        torch.tensor([[9, 4, 0], [9, 5, 6]]),
    )
    answers = model.eval().answer(batch, items, 5, pairs)
    torch.testing.assert_close(answers.scores, model.score_candidates(batch, items), atol=1e-5, rtol=0)
    torch.testing.assert_close(answers.pairs, model.score_candidates(batch, pairs), atol=1e-5, rtol=0)
    assert answers.pairs[0, 2] == -torch.inf
