"""A metric from outside the package, from the option to the record, the table and a board."""

import re
import sys
from pathlib import Path

import pytest
import tinylog
from recbole.evaluator import register
from rich.console import Console

from recbole_conrec.evaluation.table import render, shown
from recbole_conrec.leaderboard.board import read_board
from recbole_conrec.leaderboard.commands import run_board
from recbole_conrec.runs import records
from recbole_conrec.runs.config import make_config
from recbole_conrec.runs.identity import identify
from recbole_conrec.runs.runner import run
from recbole_conrec.utils.errors import UserError

PAGE = (Path(__file__).parents[2] / "docs" / "leaderboard.md").read_text()
(MODULE,) = re.findall(r"```python\n# my_pkg/my_metric.py\n(.*?)```", PAGE, flags=re.S)  # the example of the docs
PATH = "my_pkg.my_metric:FirstHit"


@pytest.fixture
def options(tmp_path, tiny_path, monkeypatch):
    """Options of a run on `tiny`, with the metric of the docs on the path."""
    (tmp_path / "my_pkg").mkdir()
    (tmp_path / "my_pkg" / "my_metric.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for module in ("my_pkg", "my_pkg.my_metric"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    yield {
        **tinylog.OPTIONS,
        "data_path": str(tiny_path),
        "checkpoint_dir": str(tmp_path / "saved"),
        "gpu_id": "",
        "show_progress": False,
    }
    for table in (register.metrics_dict, register.metric_information, register.metric_types):
        for name in ("firsthit", PATH.lower()):
            table.pop(name, None)


def test_it_is_in_the_record_and_the_table(options, capsys):
    result = run("Pop", "tiny", options={**options, "metrics": ["HR", PATH], "valid_metric": "FirstHit@20"})
    figure = result.record["metrics"]["FirstHit@20"]
    assert list(result.outcomes)[-5:] == ["FirstHit@20", "CandAcc", "AUCLike", "AUCNeutral", "CandAcc.contrast"]
    assert figure["value"] == result.outcomes["FirstHit@20"].mean() and figure["n"] == len(result.outcomes["HR@20"])
    assert 0 < figure["value"] <= result.record["metrics"]["FHR@20"]["value"]
    assert list(result.record["valid"]) == ["FirstHit@20"]
    Console(width=120).print(render([result.record], shown(result.record)))
    assert "FirstHit@20" in capsys.readouterr().out


@pytest.mark.slow
def test_it_is_a_column_of_a_board(options, tmp_path, capsys, quick_boards):
    board = tmp_path / "board.yaml"
    board.write_text(
        f"datasets: [tiny]\nmetrics: [FHR, {PATH}]\ntopk: [5]\noptions: {{valid_metric: HR@5}}\nmethods: [Pop]\n"
    )
    assert run_board([], {"leaderboard": str(board), **options, "out": str(tmp_path / "out")}, Console(width=120)) == 0
    assert "FirstHit@5" in capsys.readouterr().out
    (planned,) = read_board(str(board)).narrow(**options).runs
    record, _ = records.read(planned.folder, planned.identity)
    assert record.result["config"]["metrics"][-1] == PATH
    assert (tmp_path / "out" / "board.csv").read_text().splitlines()[2].startswith("tiny,Pop,,FirstHit@5,")


def test_a_run_is_identified_by_the_source_of_its_metrics(options, tmp_path):
    from recbole_conrec.model.pop import Pop

    config = make_config("Pop", "tiny", options={**options, "metrics": ["HR", PATH]})
    before = identify(config, Pop)
    with (tmp_path / "my_pkg" / "my_metric.py").open("a") as file:
        file.write("# another version\n")
    assert identify(config, Pop) != before


def test_what_is_selected_by_must_be_measured(options):
    with pytest.raises(UserError, match="valid_metric: 'FirstHit@7' is not measured; name one of HR@5, "):
        make_config("Pop", "tiny", options={**options, "metrics": ["HR", PATH], "valid_metric": "FirstHit@7"})
    with pytest.raises(UserError, match="there is no module 'my_nothing'"):
        make_config("Pop", "tiny", options={**options, "metrics": ["HR", "my_nothing:Mine"]})
    config = make_config("Pop", "tiny", options={**options, "metrics": PATH, "valid_metric": "firsthit@20"})
    assert config["metrics"] == [PATH]
