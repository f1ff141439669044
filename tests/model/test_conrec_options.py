"""CoNRec's YAML files and boards: every row is a valid configuration, and differs in what its name says."""

import importlib
import inspect
from types import SimpleNamespace

import pytest
import torch

from recbole_conrec import registry
from recbole_conrec.generative.stage import check_stages, stage_context, stage_window
from recbole_conrec.generative.stage_store import StageStore
from recbole_conrec.generative.tasks import TASKS
from recbole_conrec.leaderboard.board import read_board
from recbole_conrec.llm import adapters
from recbole_conrec.llm.backbone import load_backbone
from recbole_conrec.model.conrec import CoNRec
from recbole_conrec.runs.config import make_config
from recbole_conrec.tokenizer import options as tokenizer_options
from recbole_conrec.utils.errors import UserError

BOARDS = ("ablation", "reward", "sensitivity", "backbone", "forgetting")


def check(config) -> dict[str, dict]:
    """All that can be checked without a model; the stages by name."""
    check_stages(config["stages"], TASKS, config)
    tokenizer_options.parse(config["tokenizer"])
    options = config["llm_options"]
    assert set(options) <= set(inspect.signature(load_backbone).parameters)
    assert set(options.get("lora") or {}) <= set(adapters.DEFAULTS)
    return {stage["name"]: stage for stage in config["stages"]}


@pytest.mark.parametrize("name", BOARDS)
def test_every_row_of_a_board_is_valid_and_no_two_are_the_same(name):
    board = read_board(name).narrow(seeds=1)
    stages = [check(task.config) for task in board.tasks]
    assert len({task.identity for task in board.tasks}) == len(board.tasks) == len(board.rows)
    assert all(list(one)[0] == "translation" for one in stages)
    assert all("warm-up" in one for one, row in zip(stages, board.rows, strict=True) if row.name != "alignment alone")


def test_the_ablation_is_cumulative():
    rows = [check(task.config) for task in read_board("ablation").narrow(seeds=1).tasks]
    full = list(check(make_config("CoNRec", "ml-100k")))
    assert full == ["translation", "alignment", "warm-up", "grpo-1", "grpo-2", "grpo-3"]
    assert [list(row) for row in rows] == [
        ["translation", "warm-up"],
        ["translation", "alignment", "warm-up"],
        full,
        full,
        full,
        ["translation", "alignment", "warm-up", "grpo-3"],
    ]
    last = [row["grpo-3"] for row in rows[2:]]
    assert [stage["reward"] for stage in last] == ["negatives", "negatives", *["negatives_minus_positives"] * 2]
    assert [(stage.get("future"), stage["neighbours"] > 0) for stage in last] == [("next", False), *[(None, True)] * 3]
    assert last[3]["steps"] == sum(rows[4][f"grpo-{n}"]["steps"] for n in (1, 2, 3))


def test_the_papers_setting_is_valid_and_the_papers():
    config = make_config("CoNRec-paper", "ml-100k")
    stages = check(config)
    assert registry.find_model("CoNRec-paper") is registry.find_model("CoNRec") and config["row"] == "CoNRec-paper"
    assert (config["llm"], config["tokenizer"]["sizes"], config["tokenizer"]["depth"]) == ("Qwen/Qwen3-14B", 8192, 3)
    assert [stages[f"grpo-{n}"]["samples"] for n in (1, 2, 3)] == [100_000] * 3
    assert stages["alignment"]["samples"] == 4_000_000
    assert stage_context(stages["grpo-1"], config).window.length == 3
    assert set(config.final_config_dict) == set(make_config("CoNRec", "ml-100k").final_config_dict)


def test_windows_count_in_windows_of_the_data():
    config = {"window": {"unit": "events", "length": 20}, "context": "both", "history": 9}
    stage = {"name": "g", "window": {"unit": "window", "length": 0.43}}
    window = stage_context(stage, config).window
    assert (window.unit, window.length) == ("events", 9)
    window = stage_context(stage, config | {"window": {"unit": "days", "length": 7}}).window
    assert window.unit == "days" and window.length == pytest.approx(3.01)
    window = stage_window({"name": "g", "future": {"unit": "seconds", "length": 5}}, "future", config)
    assert (window.unit, window.length) == ("seconds", 5)
    for window, length in ((20, 0), (20, "x"), (None, 0.5)):
        with pytest.raises(UserError, match="stage g: window: .* times the option `window`"):
            stage_context(
                {"name": "g", "window": {"unit": "window", "length": length}},
                config | {"window": {"unit": "events", "length": window}},
            )
    for wrong in ("later", {"unit": "days"}, ["next"]):
        with pytest.raises(UserError, match="stage g: future: .* must be a mapping of `unit` and `length`"):
            stage_window({"name": "g", "future": wrong}, "future", config)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"warm-up": {"window": {"unit": "days", "length": 3}}}, "'window' is no option of the task 'next'"),
        ({"warm-up": {"batch_size": 0}}, "batch_size is 0; expected at least 1"),
        ({"warm-up": {"epochs": 0}}, "epochs is 0; expected at least 1"),
        ({"warm-up": {"weights": 3}}, "'weights' is no option of the task 'next'"),
        ({"warm-up": {"schedule": "linaer"}}, "schedule is 'linaer'; expected one of cosine, linear"),
        ({"warm-up": {"bf16": "yes"}}, "bf16 is 'yes'; expected one of True, False"),
        ({"grpo-1": {"rollout": "greedy"}}, "rollout is 'greedy'; expected one of sample, beam"),
        ({"grpo-2": {"clean": {"factor": 1.5}}}, "clean is .* expected a mapping"),
        ({"grpo-*": {"clean": 5}}, "clean is 5; expected a mapping"),
    ],
)
def test_what_a_stage_cannot_do_is_said_before_anything_is_trained(change, words):
    with pytest.raises(UserError, match=words):
        check(make_config("CoNRec", "ml-100k", options={"stages": change}))


def stage_folder(model, **options):
    config = make_config("CoNRec", "ml-100k", options=options)
    model.semantic_ids = SimpleNamespace(fingerprint="ids")
    return StageStore.of(config, model, SimpleNamespace(fingerprint="data"), 2).folder


def test_ways_to_rank_candidates_share_stages_unless_they_select_the_weights():
    def folders(**options):
        model = CoNRec.__new__(CoNRec)
        torch.nn.Module.__init__(model)
        return {stage_folder(model, candidate_scores=way, **options) for way in ("likelihood", "beam")}

    assert len(folders()) == 1 and len(folders(valid_metric="CandAcc")) == 2


def test_stages_of_a_model_from_outside_are_of_its_source(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "mine_outside.py"
    file.write_text("class Mine:\n    pass\n")
    model = importlib.import_module("mine_outside").Mine()
    before = stage_folder(model)
    assert stage_folder(model) == before
    file.write_text("class Mine:\n    other = 1\n")
    assert stage_folder(model) != before
