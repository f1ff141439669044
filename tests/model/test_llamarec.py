"""LlamaRec on the small log: both stages learn, lists are the retriever's in another order, a score is a letter's."""

import numpy as np
import pytest
import tinylog
import torch
from llmrows import SMALL, check_no_leak, make_row, train_on
from llmtools import next_token_logps
from test_conrec_leak import with_log

from recbole_conrec import registry
from recbole_conrec.evaluation.ranking import rank
from recbole_conrec.generative.stage import StageRun
from recbole_conrec.model.llamarec import _with_target
from recbole_conrec.runs.restore import load_run
from recbole_conrec.runs.runner import run
from recbole_conrec.utils.errors import UserError

RETRIEVER = {"name": "retriever", "task": "retriever", "epochs": 30, "lr": 0.01, "batch_size": 50}
RANKER = {"name": "ranker", "task": "ranker", "samples": 2000, "epochs": 60, "lr": 0.005, "batch_size": 10}
SASREC = {"n_layers": 1, "hidden_size": 32, "inner_size": 64, "hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0}


@pytest.fixture
def make(make_tiny, tmp_path):
    return make_row(make_tiny, "LlamaRec", tmp_path, stages=[RETRIEVER, RANKER], **SASREC)


@pytest.mark.slow
def test_both_stages_learn(make):
    made = make(context="negative")
    trainer, train = train_on(made, 50)
    retriever, ranker = ([one["loss"] for one in stage["curve"] if "loss" in one] for stage in trainer.stages)
    assert retriever[-1] < 2 and ranker[-1] < ranker[0] / 2  # log(120) = 4.8 at first
    model, batch = made[2].eval(), train[np.arange(50)]
    lists = model.recommend(batch, 20)
    assert (lists == batch["item_id"][:, None]).any(1).float().mean() > 0.9


@pytest.mark.parametrize("by", ["time", "user"])
def test_nothing_from_t0_on_moves_it(make, by):
    candidates = torch.tensor([[1, 2, 3, 4]])
    check_no_leak(make(split={"by": by}), by, lambda model, batch: model.prompt(batch, candidates))


@pytest.mark.slow
def test_nothing_from_validation_on_reaches_a_training_list(make):
    config, data, _ = make(split={"by": "user"})
    log = data.log

    def lists(data):
        model = registry.find_model("LlamaRec")(config, data)
        run = StageRun(model, data.build()[0], model.stages[1], np.random.default_rng(0))
        return model.TASKS["ranker"].prepare(run).examples

    def changed(where):
        item = np.where(where, 1 + log.item % (log.n_items - 1), log.item)
        return lists(with_log(data, item, np.where(where, -log.feedback, log.feedback)))

    before = lists(data)
    assert len(before) > 0 and changed(~data.train_mask) == before
    assert changed(data.train_mask & (np.arange(len(log)) % 7 == 0)) != before


def test_lists_are_the_retriever_s_with_the_first_20_places_in_another_order(make):
    _, data, model = make()
    batch = data[[4, 80, 150]]
    model.eval()
    own, found = model.retrieved(batch, 30), model.recommend(batch, 30)
    assert torch.equal(found[:, 20:], own[:, 20:]) and not torch.equal(found, own)
    assert torch.equal(found[:, :20].sort(1).values, own[:, :20].sort(1).values)
    scores = model.order(batch, found[:, :20])
    assert (scores.diff(dim=1) <= 1e-5).all()
    assert torch.equal(model.recommend(batch, 5), found[:, :5])
    model.reorders = False
    assert torch.equal(model.recommend(batch, 30), own)
    expected = model.retriever.logits(batch).log_softmax(1)
    items, _ = rank(model, batch, torch.tensor([[1, 2]] * 3), 20, data)  # what the user disliked is left out
    kept = expected.gather(1, items)
    assert (kept.diff(dim=1) <= 0).all() and (items > 0).all()


def test_a_prior_decides_what_is_retrieved(make):
    _, data, model = make()
    batch, prior = data[[4, 80]], torch.zeros(2, data.log.n_items)
    prior[0, 100], prior[1, 100] = 50.0, -50.0
    items = model.eval().recommend(batch, 20, prior)
    assert (items[0] == 100).any() and not (items[1] == 100).any()


def test_a_score_is_the_log_probability_of_a_letter_among_the_letters(make):
    _, data, model = make()
    batch, items = data[[5, 60]], torch.tensor([[3, 9, 0], [1, 2, 4]])
    found = model.eval().order(batch, items)
    prompts, place = model.prompts.lettered(*model.prompt_inputs(batch), model.context, items.numpy(), model.seed)
    for row in range(2):
        tokens = model.prompts.letters[place[row]].tolist()
        there = [n for n in range(3) if items[row, n]]
        logps = next_token_logps(model.backbone, prompts.lists()[row], tokens)[there].log_softmax(0)
        torch.testing.assert_close(found[row, there], logps, atol=1e-4, rtol=0)
        text = model.backbone.tokenizer.decode(prompts.lists()[row])
        for n in there:  # each title follows its letter
            title = model.prompts.titles[items[row, n]]
            words = [model.prompts.letters[place[row, n]], *title[title >= 0]]
            assert model.backbone.tokenizer.decode(words).strip() in text
    assert found[0, 2] == -torch.inf


def test_the_order_of_candidates_is_the_seed_s_and_no_one_else_s(make):
    _, data, model = make()
    batch, items = data[[4, 80]], torch.tensor([[1, 2, 3, 0], [6, 5, 8, 7]])
    found = model.eval().order(batch, items)
    assert torch.allclose(model.order(batch, items.flip(1)).flip(1), found, atol=1e-5)
    other = make(seed=7)[2]
    assert other.prompt(batch, items).lists() != model.prompt(batch, items).lists()


def test_a_candidate_is_judged_among_what_is_retrieved_whatever_the_others_are(make):
    _, data, model = make()
    batch, items = data[[4, 80]], torch.tensor([[1, 2, 3, 0], [6, 5, 8, 7]])
    found, first = model.eval().score_candidates(batch, items), model.retrieved(batch, 20)
    assert found[0, 3] == -torch.inf and torch.isfinite(found[:, :3]).all()
    for row in range(2):
        for column in range(3):
            item = items[row, column]
            named = torch.cat([item[None], first[row][first[row] != item][:19]])[None]
            expected = model.order(data[[[4, 80][row]]], named)[0, 0]
            torch.testing.assert_close(found[row, column], expected, atol=1e-4, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("against", ["random", "retrieved"])
def test_training_lists_hold_the_target_and_nothing_disliked_before(make, monkeypatch, against):
    _, data, model = make(stages=[RETRIEVER, {**RANKER, "against": against}])
    seen = {}
    stock = model.prompts.lettered

    def lettered(*columns):
        seen["lists"], seen["result"] = columns[-2], stock(*columns)
        return seen["result"]

    monkeypatch.setattr(model.prompts, "lettered", lettered)
    train = data.build()[0]
    examples = model.TASKS["ranker"].prepare(StageRun(model, train, model.stages[1], np.random.default_rng(0))).examples
    picked = np.random.default_rng(0).permutation(len(train.instances))[:2000]
    part, lists = train.instances[picked], seen["lists"]
    assert (lists[:, 0] == part.item).all() and (lists > 0).sum(1).min() > 14
    owner, items = data.exclusion.pairs(part.begin, part.end)
    assert not (lists[owner] == items[:, None]).any()
    assert [one["input_ids"][-1] for one in examples] == model.prompts.letters[seen["result"][1][:, 0]].tolist()


def test_lists_with_a_target_hold_it_once():
    others = np.array([[5, 6, 6, 7, *range(20, 36)], [*range(1, 21)]])
    lists = _with_target(np.array([6, 40]), others)
    assert lists.shape == (2, 20) and lists[:, 0].tolist() == [6, 40]
    assert sorted(lists[0, 1:]) == [0, *sorted([5, 7, *range(20, 36)])]
    assert sorted(lists[1, 1:]) == list(range(1, 20))


@pytest.mark.slow
def test_finished_stages_are_found_again(make):
    short = [{**RETRIEVER, "epochs": 2, "evaluate_every": 4}, {**RANKER, "samples": 20, "epochs": 1}]
    first, second = (make(stages=short) for _ in range(2))
    entries = [train_on(made, 50)[0].stages for made in (first, second)]
    assert entries[0] == entries[1] and entries[0][1]["steps"] > 0
    batch = first[1][[4, 80]]
    assert torch.equal(first[2].eval().recommend(batch, 20), second[2].eval().recommend(batch, 20))


def test_the_first_stage_is_the_retriever_s(make):
    with pytest.raises(UserError, match="the first has the task 'ranker'; expected retriever"):
        make(stages=[RANKER])


@pytest.mark.slow
def test_a_run_fills_every_column_and_is_restored(tiny_path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stages = [{**RETRIEVER, "epochs": 2}, {**RANKER, "samples": 50, "epochs": 1}]
    options = {**tinylog.OPTIONS, **SASREC, **SMALL, "stages": stages, "data_path": str(tiny_path), "gpu_id": ""}
    result = run("LlamaRec", "tiny", options={**options, "show_progress": False, "valid_sample": 20})
    for name in ("HR@5", "FHR@20", "LUF@20", "CandAcc"):
        assert result.record["metrics"][name]["n"] and 0 <= result.record["metrics"][name]["value"] <= 1
    assert [stage["name"] for stage in result.record["stages"]] == ["retriever", "ranker"]
    trained = load_run(result.run_dir)
    test = trained.data.build()[2]
    batch = test[np.arange(20)]
    lists = trained.model.recommend(batch, 20)
    hits = (lists == batch["item_id"][:, None]).any(1).double().numpy()
    assert trained.model.reorders and (hits == result.outcomes["HR@20"][:20]).all()
