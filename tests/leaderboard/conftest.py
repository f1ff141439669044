"""A small board whose methods have run once, in one folder for all tests of this room."""

import pytest
import tinylog
import yaml
from rich.console import Console

from recbole_conrec.leaderboard.board import read_board
from recbole_conrec.leaderboard.commands import run_board
from recbole_conrec.runs.runner import run

BOARD = """
title: Small
datasets: [tiny]
seeds: [5, 6]
metrics: [HR, FHR, LUF, LIF, CandAcc]
topk: [5]
improvement: Swing
options: {valid_metric: HR@5, epochs: 1}
methods:
  - {name: Pop, seeds: 1}
  - {name: Swing, model: ItemSwing, seeds: 1}
  - {name: SASRec (both), model: SASRec, options: {context: both}}
"""


@pytest.fixture(scope="session")
def small(tiny_path, tmp_path_factory):
    """(folder with board.yaml and the records of all its methods in saved/, options that a command line would give)."""
    folder = tmp_path_factory.mktemp("board")
    (folder / "board.yaml").write_text(BOARD)
    options = {
        **tinylog.OPTIONS,
        "data_path": str(tiny_path),
        "gpu_id": "",
        "checkpoint_dir": str(folder / "saved"),
        "show_progress": False,
    }
    (folder / "options.yaml").write_text(yaml.safe_dump(options))
    for planned in read_board(str(folder / "board.yaml")).narrow(**options).runs:
        run(planned.method.model, planned.dataset, options=planned.options)  # here, to spare the start of a process
    return folder, options


@pytest.fixture
def board(small, tmp_path, capsys, quick_boards):
    """Function (**options) -> (exit code, text): the small board run in a folder of this test."""
    folder, options = small

    def start(**more):
        console = Console(width=120)
        code = run_board(
            [],
            {"leaderboard": str(folder / "board.yaml"), **options, "out": str(tmp_path / "results"), **more},
            console,
        )
        return code, capsys.readouterr().out

    return start
