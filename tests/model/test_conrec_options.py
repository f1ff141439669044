"""CoNRec's YAML files and boards: every method is a valid configuration, and differs in what its name states."""

import importlib
from types import SimpleNamespace

import pytest
import torch

from recbole_conrec import registry
from recbole_conrec.data.events import Window
from recbole_conrec.generative.stage import read_stages
from recbole_conrec.generative.stage_options import StageWindow
from recbole_conrec.generative.stage_store import StageStore
from recbole_conrec.leaderboard.board import read_board
from recbole_conrec.model.conrec import CoNRec, CoNRecGRPOStage
from recbole_conrec.runs.checks import read_by
from recbole_conrec.runs.config import make_config
from recbole_conrec.utils.errors import UserError

BOARDS = ("ablation", "reward", "sensitivity", "backbone", "forgetting")


def check(config) -> dict[str, CoNRecGRPOStage]:
    """The options of the stages by name; raises UserError for what does not fit."""
    return {stage.name: stage for stage in CoNRec.read_options(config)[1]}


@pytest.mark.slow
@pytest.mark.parametrize("name", BOARDS)
def test_every_method_of_a_board_is_valid_and_no_two_are_the_same(name):
    board = read_board(name).narrow(seeds=1)
    stages = [check(planned.config) for planned in board.runs]
    assert len({planned.identity for planned in board.runs}) == len(board.runs) == len(board.methods)
    assert all(next(iter(one)) in ("translation", "warm-up") for one in stages)
    assert all(
        "warm-up" in one for one, method in zip(stages, board.methods, strict=True) if method.name != "alignment alone"
    )


@pytest.mark.slow
def test_the_ablation_is_cumulative():
    rows = [check(planned.config) for planned in read_board("ablation").narrow(seeds=1).runs]
    full = list(check(make_config("CoNRec", "ml-100k")))
    assert full == ["warm-up", "grpo-1", "grpo-2", "grpo-3"]
    full = ["translation", "alignment", *full]
    assert [list(row) for row in rows] == [
        ["translation", "warm-up"],
        ["translation", "alignment", "warm-up"],
        full,
        full,
        full,
        ["translation", "alignment", "warm-up", "grpo-3"],
        full[2:],
        ["warm-up"],
    ]
    last = [row["grpo-3"] for row in rows[2:6]]
    assert [stage.reward for stage in last] == ["negatives", "negatives", *["negatives_minus_positives"] * 2]
    assert [(stage.future, stage.neighbours > 0) for stage in last] == [("next", False), *[(None, True)] * 3]
    assert last[3].steps == sum(rows[4][f"grpo-{n}"].steps for n in (1, 2, 3))


def test_the_papers_setting_is_valid_and_the_papers():
    config = make_config("CoNRec-paper", "ml-100k")
    stages = check(config)
    assert registry.find_model("CoNRec-paper") is registry.find_model("CoNRec") and config["method"] == "CoNRec-paper"
    assert (config["llm"], config["tokenizer"]["sizes"], config["tokenizer"]["depth"]) == ("Qwen/Qwen3-14B", 8192, 3)
    assert [stages[f"grpo-{n}"].samples for n in (1, 2, 3)] == [100_000] * 3
    assert stages["alignment"].samples == 4_000_000
    assert stages["grpo-1"].window.length == 3
    assert set(config.final_config_dict) == set(make_config("CoNRec", "ml-100k").final_config_dict)


def test_windows_count_in_windows_of_the_data():
    share = StageWindow(unit="window", length=0.43)
    assert share.resolve(Window(unit="events", length=20), "g.window") == Window(unit="events", length=9)
    days = share.resolve(Window(unit="days", length=7), "g.window")
    assert days.unit == "days" and days.length == pytest.approx(3.01)
    own = StageWindow(unit="seconds", length=5)
    assert own.resolve(Window(unit="days", length=7), "g.future") == Window(unit="seconds", length=5)
    with pytest.raises(UserError, match="g.window: 0.43 times the option `window`"):
        share.resolve(Window(unit="events", length=None), "g.window")


@pytest.mark.slow
@pytest.mark.parametrize(
    "change, words",
    [
        ({"warm-up": {"window": {"unit": "days", "length": 3}}}, "stages.warm-up: unknown option 'window'"),
        ({"warm-up": {"batch_size": 0}}, "stages.warm-up.batch_size: 0; expected a whole number of at least 1"),
        ({"warm-up": {"epochs": 0}}, "stages.warm-up.epochs: 0; expected"),
        ({"warm-up": {"lr": float("nan")}}, "stages.warm-up.lr: nan; expected a finite number"),
        ({"warm-up": {"weights": 3}}, "stages.warm-up: unknown option 'weights'"),
        ({"warm-up": {"schedule": "linaer"}}, "stages.warm-up.schedule: 'linaer'; .*did you mean 'linear'"),
        ({"warm-up": {"bf16": "yes"}}, "stages.warm-up.bf16: 'yes'; expected true or false"),
        ({"grpo-1": {"reward_weights": [1, 2]}}, "stages.grpo-1.reward_weights: 2 weights; expected 1"),
        ({"warm-up": {"task": "nxt"}}, "stages.warm-up.task: 'nxt'; .*did you mean 'next'"),
        ({"warm-up": {"algorithm": "grop"}}, "stages.warm-up.algorithm: 'grop' is unknown; did you mean 'grpo'"),
        ({"warm-up": {"algorithm": "grpo"}}, "stages.warm-up.algorithm: 'grpo' cannot learn from the task 'next'"),
        ({"grpo-1": {"rollout": "greedy"}}, "stages.grpo-1.rollout: 'greedy'; expected one of sample, beam"),
        ({"grpo-1": {"reward": "negative"}}, "stages.grpo-1.reward: 'negative' is no reward; did you mean 'negatives'"),
        ({"grpo-1": {"G": 1}}, "stages.grpo-1.G: 1; expected a whole number of at least 2"),
        ({"grpo-1": {"future": "later"}}, "stages.grpo-1.future: 'later'; expected next or"),
        ({"grpo-2": {"window": {"unit": "days"}}}, "stages.grpo-2.window.length is needed"),
        ({"grpo-2": {"clean": {"factor": 1.5}}}, "stages.grpo-2.clean.factor: 1.5; expected a whole number"),
        ({"grpo-*": {"clean": 5}}, "stages.grpo-1.clean: 5; expected a mapping of threshold, factor"),
    ],
)
def test_what_a_stage_cannot_do_is_an_error_before_anything_is_trained(change, words):
    with pytest.raises(UserError, match=words):
        make_config("CoNRec", "ml-100k", options={"stages": change})


@pytest.mark.parametrize("option", ["learning_rate", "epochs", "train_batch_size", "stopping_step"])
def test_options_that_conrec_does_not_read_are_refused(option):
    with pytest.raises(UserError, match=f"option '{option}': CoNRec does not read it"):
        make_config("CoNRec", "ml-100k", options={option: 1})
    assert read_by("CoNRec", {option: 1, "history": 3, "stages.grpo-1.G": 4}) == {"history": 3, "stages.grpo-1.G": 4}
    assert read_by("SASRec", {option: 1}) == {option: 1}


def stage_folder(model, **options):
    config = make_config("CoNRec", "ml-100k", options=options)
    model.semantic_ids = SimpleNamespace(fingerprint="ids")
    model.stages = read_stages(config["stages"], CoNRec.TASKS)
    return StageStore.of(config, model, SimpleNamespace(training_fingerprint="data"), 2).folder


def test_ways_to_rank_candidates_share_stages_unless_they_select_the_weights():
    def folders(**options):
        model = CoNRec.__new__(CoNRec)
        torch.nn.Module.__init__(model)
        return {stage_folder(model, candidate_scores=way, **options) for way in ("likelihood", "beam")}

    assert len(folders()) == 1 and len(folders(valid_metric="CandAcc")) == 2


def test_a_stage_that_is_left_out_hides_no_change_of_a_later_one():
    """Keys were made of the first entries of the option, with those that a data set without texts leaves out."""
    model = CoNRec.__new__(CoNRec)
    torch.nn.Module.__init__(model)

    def folder(**change):
        config = make_config("CoNRec", "ml-100k", options={"stages": {"translation": {"skip": False}, **change}})
        model.semantic_ids = SimpleNamespace(fingerprint="ids")
        model.stages = [one for one in read_stages(config["stages"], CoNRec.TASKS) if one.name != "translation"]
        return StageStore.of(config, model, SimpleNamespace(training_fingerprint="data"), 0).folder

    assert folder() == folder(**{"grpo-1": {"G": 4}})  # later
    assert folder() != folder(**{"warm-up": {"lr": 0.5}})


def test_skipped_stages_are_no_stages():
    stages = check(make_config("CoNRec", "ml-100k", options={"stages": {"grpo-*": {"skip": True}}}))
    assert list(stages) == ["warm-up"]
    with pytest.raises(UserError, match="every stage is skipped"):
        make_config("CoNRec", "ml-100k", options={"stages": {"*": {"skip": True}}})


def test_stages_of_a_model_from_outside_are_of_its_source(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "mine_outside.py"
    file.write_text("class Mine:\n    pass\n")
    model = importlib.import_module("mine_outside").Mine()
    before = stage_folder(model)
    assert stage_folder(model) == before
    file.write_text("class Mine:\n    other = 1\n")
    assert stage_folder(model) != before


@pytest.mark.parametrize(
    "method, wanted", [("CoNRec", "expected 1, of the option reward"), ("MiniOneRec", "expected 2")]
)
def test_reward_weights_are_as_many_as_the_rewards(method, wanted):
    options = registry.find_model(method).TASKS["grpo"].options
    with pytest.raises(UserError, match=f"reward_weights: 3 weights; {wanted}"):
        options.read({"name": "a", "task": "grpo", "reward_weights": [1, 1, 1]})
