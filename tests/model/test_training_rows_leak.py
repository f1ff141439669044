"""What language models are trained on shows nothing of validation or later, in any task of any method."""

import llmrows
import numpy as np
import pytest
import t5rows
from test_conrec_leak import with_log
from test_p5cid import CID
from test_tiger import RQVAE

from recbole_conrec import registry
from recbole_conrec.generative.mixture import LANGUAGE_TASKS
from recbole_conrec.generative.stage import StageRun

SFT = {"name": "one", "epochs": 1, "lr": 0.01, "batch_size": 4}
GRPO = {"name": "one", "task": "grpo", "samples": 300, "steps": 1, "prompts_per_step": 4, "G": 4, "beta": 0, "lr": 0.1}
CASES = {  # name of the test: method, stage, options of the method
    "CoNRec alignment": ("CoNRec", {**SFT, "task": "alignment", "samples": 300}, {}),
    "CoNRec next": ("CoNRec", {**SFT, "task": "next"}, {}),
    "CoNRec grpo": ("CoNRec", {**GRPO, "gamma": 0.5, "reward": "hits", "neighbours": 5}, {}),
    "LCRec": ("LCRec", {**SFT, "task": "mixture", "weights": dict.fromkeys(LANGUAGE_TASKS, 1)}, {"text_history": 5}),
    "MiniOneRec": ("MiniOneRec", {**GRPO, "weights": {"item_of": 1, "titles_next": 1}}, {"text_history": 5}),
    "TALLRec": ("TALLRec", {**SFT, "task": "yes_no", "samples": 9999, "neutral": 1}, {}),
    "InstructRec": ("InstructRec", {**SFT, "task": "rank", "samples": 9999}, {}),
    "TIGER": ("TIGER", {**SFT, "task": "next"}, RQVAE),
    "P5CID": ("P5CID", {**SFT, "task": "next"}, CID),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_nothing_from_validation_on_reaches_a_training_example(make_tiny, tmp_path, case):
    name, stage, options = CASES[case]
    make_row = (t5rows if name in ("TIGER", "P5CID") else llmrows).make_row
    make = make_row(make_tiny, name, tmp_path, stages=[stage], context="both", split={"by": "user"})
    config, data, _ = make(**options)
    log = data.log

    def rows(data):
        model = registry.find_model(name)(config, data)
        run = StageRun(model, data.build()[0], model.stages[0], np.random.default_rng(0))
        return model.TASKS[stage["task"]].prepare(run).examples

    def changed(where):
        item = np.where(where, 1 + log.item % (log.n_items - 1), log.item)
        return rows(with_log(data, item, np.where(where, -log.feedback, log.feedback)))

    before = rows(data)
    assert len(before) > 0 and changed(~data.train_mask) == before
    assert changed(data.train_mask & (np.arange(len(log)) % 7 == 0)) != before
