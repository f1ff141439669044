"""LC-Rec on the small log: it learns, it follows the history, nothing from t0 on moves it; tasks and options."""

import numpy as np
import pytest
from llmrows import check_learns, check_no_leak, make_row

from recbole_conrec.generative.mixture import LANGUAGE_TASKS
from recbole_conrec.generative.stage import StageRun
from recbole_conrec.generative.tasks import tokens_of
from recbole_conrec.utils.errors import UserError

WEIGHTS = {"next": 1, "title_of": 0.2, "item_of": 0.2, "next_title": 0.2, "titles_next": 0.2}
STAGE = {"name": "mixture", "task": "mixture", "epochs": 200, "lr": 0.01, "batch_size": 4, "weights": WEIGHTS}
RQVAE = {"tokenizer": {"name": "rqvae", "depth": 4, "sizes": 8, "rqvae": {"latent": 8, "hidden": [32], "steps": 50}}}


@pytest.fixture
def make(make_tiny, tmp_path):
    return make_row(make_tiny, "LCRec", tmp_path, stages=[STAGE], history=20, text_history=5, **RQVAE)


@pytest.mark.slow
def test_it_learns(make):
    check_learns(make(stages=[{**STAGE, "weights": {"next": 1, "title_of": 0.02, "item_of": 0.02}}]))


@pytest.mark.parametrize("by", ["time", "user"])
def test_nothing_from_t0_on_moves_it(make, by):
    check_no_leak(make(split={"by": by}), by, lambda model, batch: model.prompt(batch))


@pytest.mark.slow
def test_every_item_has_an_id_of_four_codes(make):
    codes = make()[2].semantic_ids.codes[1:]
    assert codes.shape[1] == 4 and len(np.unique(codes, axis=0)) == len(codes)


@pytest.fixture
def staged(make):
    _, data, model = make(context="both")
    return StageRun(model, data.build()[0], model.stages[0], np.random.default_rng(0))


@pytest.mark.slow
def test_tasks_answer_with_the_target_s_id_or_title(staged):
    model, part = staged.model, staged.data.instances
    for task, answers in (
        ("titles_next", model.prompts.item_tokens[part.item].tolist()),
        ("next_title", tokens_of(model.prompts.answer(part.item))),
        ("titles_title", tokens_of(model.prompts.answer(part.item))),
    ):
        rows = LANGUAGE_TASKS[task](staged)
        assert len(rows) == len(part)
        for row, answer in zip(rows, answers, strict=True):
            assert row["input_ids"][-len(answer) :] == answer
            assert row["completion_mask"] == [0] * (len(row["input_ids"]) - len(answer)) + [1] * len(answer)
    title, item = LANGUAGE_TASKS["title_of"](staged), LANGUAGE_TASKS["item_of"](staged)
    for n, sid in enumerate(model.prompts.item_tokens[1:].tolist()):
        assert item[n]["input_ids"][-4:] == sid and str(sid)[1:-1] in str(title[n]["input_ids"])


@pytest.mark.parametrize("weights", [{"nxt": 1}, {}, 3, {"next": 0}, {"next": "much"}])
def test_weights_must_name_tasks(make, weights):
    with pytest.raises(UserError, match="weights"):
        make(stages=[{**STAGE, "weights": weights}])
