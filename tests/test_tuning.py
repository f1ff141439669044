"""The search on the small log: every point is a run, and validation alone decides."""

import json
from pathlib import Path

import pytest
import tinylog
import yaml

from recbole_conrec import registry
from recbole_conrec.cli import main
from recbole_conrec.options.search import MOST, search_space
from recbole_conrec.runs import records
from recbole_conrec.runs.config import make_config
from recbole_conrec.study.tuning import TuneOptions, tune
from recbole_conrec.utils.errors import UserError

pytestmark = pytest.mark.slow

SEARCH = {"Caser": {"learning_rate": [1e-9, 0.01], "MAX_ITEM_LIST_LENGTH": [4, 5]}}
CASER = TuneOptions(model="Caser", dataset="tiny", search="search.yaml")


@pytest.fixture
def tiny(tiny_path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(SEARCH, sort_keys=False))
    options = {
        **tinylog.OPTIONS,
        "data_path": str(tiny_path),
        "gpu_id": "",
        "epochs": 2,
        "show_progress": False,
        "embedding_size": 16,
        "valid_metric": "HR@20",
    }
    del options["MAX_ITEM_LIST_LENGTH"]
    return options


def test_every_method_has_a_search_of_equally_many_points_one_of_them_its_default():
    shipped = Path(__file__).parent.parent / "properties"
    spaces = yaml.safe_load((shipped / "search.yaml").read_text())
    assert set(spaces) == {file.stem for file in (shipped / "model").glob("*.yaml")} - {"Pop", "CoNRec-paper"}
    for model in spaces:
        points = search_space(model)
        assert len(points) == MOST, model
        model_class = registry.find_model(model)
        default, *found = [
            records.identify(make_config(model, "ml-100k", options=options), model_class) for options in ({}, *points)
        ]
        assert default in found, f"the default of {model} is no point of its search"


def test_a_search_is_decided_by_validation_and_repeats_nothing(tiny, monkeypatch):
    found = tune(CASER, options=tiny)
    points = found.points
    assert found.metric == "HR@20" and len(points) == 3 and len({point.run_dir for point in points}) == 3
    records = [json.loads((point.run_dir / "result.json").read_text()) for point in points]
    assert [r["valid"]["HR@20"] for r in records] == [point.valid for point in points]
    assert points[0].valid == max(point.valid for point in points) and points[0].options["learning_rate"] == 0.01
    for point, record in zip(points, records, strict=True):
        assert {key: record["config"][key] for key in point.options} == point.options

    def refuse(*_):
        raise AssertionError("a point with a record was run again")

    monkeypatch.setattr("recbole_conrec.runs.runner._run", refuse)
    assert tune(CASER, options=tiny).points == points


def test_test_figures_change_no_choice(tiny, monkeypatch):
    """Runs whose test figures are the reverse of their validation."""
    valid = dict(zip([(1e-9, 4), (1e-9, 5), (0.01, 4)], [0.2, float("nan"), 0.3], strict=True))

    def known(model, dataset, files, options):
        figure = valid[options["learning_rate"], options["MAX_ITEM_LIST_LENGTH"]]
        record = {
            "valid": {"HR@20": figure},
            "metrics": {"HR@20": {"value": 1 - figure, "n": 9}},
            "curve": [{}] * 3,
            "cost": {"fit_s": 1.0, "parameters": 5},
        }
        return type("Result", (), {"record": record, "run_dir": None})

    monkeypatch.setattr("recbole_conrec.study.tuning.run", known)
    points = tune(CASER, options=tiny).points
    assert [point.valid for point in points][:2] == [0.3, 0.2]


def test_command_line(tiny, tmp_path, capsys):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    (tmp_path / "one.yaml").write_text("Caser: {learning_rate: [0.01]}")
    assert main(["tune", "--model=Caser", "--dataset=tiny", "--config_files=tiny.yaml", "--search=one.yaml"]) == 0
    printed = capsys.readouterr().out
    assert "HR@20 (validation)" in printed and "* best of 1: --model=Caser --learning_rate=0.01" in printed
    assert main(["tune", "--model=[Caser]", "--dataset=tiny"]) == 2
    assert "tune.model: ['Caser']; expected text or null" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content, model, words",
    [
        ({}, "Caser", "there is no search for 'Caser'"),
        ({"SASRec": {"n_heads": [1]}}, "SASRek", "did you mean 'SASRec'"),
        ({"Caser": {"nh": 4}}, "Caser", "lists of values"),
        ({"Caser": {"nh": [2, 4, 8], "nv": [2, 4]}}, "Caser", "4 points"),
        ({"Caser": {"embedding_size": [16]}}, "Caser", "is given and searched"),
        ({"Caser": {"nheads": [16]}}, "Caser", "unknown option 'nheads'"),
    ],
)
def test_mistakes_are_named(tiny, tmp_path, content, model, words):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match=words):
        tune(TuneOptions(model=model, dataset="tiny", search="mine.yaml"), options=tiny)
