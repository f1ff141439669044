"""A board of short runs, whose records were made once, in this process."""

import pytest
import tinylog
import yaml

from recbole_conrec.leaderboard.board import read_board
from recbole_conrec.runs.runner import run

BOARD = """
title: Cluster
datasets: [tiny]
seeds: [5, 6, 7]
metrics: [HR, CandAcc]
topk: [5]
options: {valid_metric: HR@5}
methods:
  - {name: Pop}
  - {name: Swing, model: ItemSwing}
"""


@pytest.fixture(scope="session")
def board_file(tmp_path_factory):
    """The board's YAML."""
    file = tmp_path_factory.mktemp("board") / "board.yaml"
    file.write_text(BOARD)
    return str(file)


@pytest.fixture(scope="session")
def options(tiny_path):
    """Options of its runs, as a command line would give them, without checkpoint_dir."""
    return {**tinylog.OPTIONS, "data_path": str(tiny_path), "gpu_id": "", "show_progress": False}


@pytest.fixture(scope="session")
def recorded(board_file, options, tmp_path_factory):
    """(folder, board): all runs of the board have their records in the folder."""
    folder = tmp_path_factory.mktemp("recorded")
    board = read_board(board_file).narrow(**options, checkpoint_dir=str(folder / "saved"))
    for planned in board.runs:
        run(planned.method.model, planned.dataset, options=planned.options)
    (folder / "options.yaml").write_text(yaml.safe_dump(options))
    return folder, board


@pytest.fixture
def board(board_file, options, tmp_path):
    """The board without records, in a folder of this test."""
    return read_board(board_file).narrow(**options, checkpoint_dir=str(tmp_path / "saved"))
