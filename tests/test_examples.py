"""The scripts and the notebook of examples/ run as they are, each in a folder of its own."""

import json
from pathlib import Path

import forked
import pytest

ROOT = Path(__file__).parent.parent
EXPECTED = {
    "compare_methods.py": ("ShareOfDislikes {'HR@20'", "A wins"),
    "filter_candidates.py": ("users with a set: 150", "candidates are kept"),
    "own_data.py": ("'HR@20'",),
}
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"


def finished(words, folder):
    done = forked.run(["-W", "ignore", *words], folder, {"CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_script_is_run_here():
    assert {file.name for file in (ROOT / "examples").glob("*.py")} == set(EXPECTED)


@pytest.mark.slow
@pytest.mark.parametrize("script", EXPECTED)
def test_a_script(script, tmp_path):
    said = finished([ROOT / "examples" / script, tmp_path / "out"], tmp_path)
    assert all(words in said for words in EXPECTED[script]), said


@pytest.mark.slow
def test_the_notebook(tmp_path):
    """Its cells in their order, in one process; Jupyter is not needed, as they are plain Python."""
    cells = ["".join(c["source"]) for c in json.loads(NOTEBOOK.read_text())["cells"] if c["cell_type"] == "code"]
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "sim-small").symlink_to(ROOT / "dataset" / "sim-small")
    (tmp_path / "cells.py").write_text("\n".join(cells))
    said = finished([tmp_path / "cells.py"], tmp_path)
    assert "ItemSwing" in said and "CoNRec" in said and "A wins" in said
    assert "reward of stage grpo" in said and "candidates stay" in said


def test_the_notebook_shows_what_its_cells_printed():
    cells = [c for c in json.loads(NOTEBOOK.read_text())["cells"] if c["cell_type"] == "code"]
    assert [c["execution_count"] for c in cells] == list(range(1, len(cells) + 1))
    assert not [out for c in cells for out in c["outputs"] if out["output_type"] == "error"]
    assert not [word for word in ("/tmp", "/home", "/root") if word in NOTEBOOK.read_text()]
