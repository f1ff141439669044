"""What the README tells people to type exists, and its section on adding a baseline works as written."""

import re
import textwrap
from pathlib import Path

import pytest
import tinylog
import yaml

from recbole_conrec import cli, config, registry
from recbole_conrec.runner import run

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.S)
LINES = [line for kind, text in BLOCKS if kind == "bash" for line in text.splitlines() if line.strip()]
COMMANDS = [line.split("#")[0].strip() for line in LINES]


def test_there_are_commands():
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize("command", COMMANDS)
def test_command_exists(command):
    for part in re.split(r"&&", command):
        words = part.split()
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), flags=re.M)
        elif words[0] == "pip":
            for word, following in zip(words, words[1:], strict=False):
                if word == "-c":
                    assert (ROOT / following).exists()
        elif words[0] == "recbole-conrec":
            assert words[1] in cli.SUBCOMMANDS
        elif words[0] == "python" and words[1].endswith(".py"):
            assert (ROOT / words[1]).exists()
            assert cli.parse(words[2:])
        else:
            assert words[:3] == ["python", "-m", "venv"] or words[0] == "."


def test_every_row_of_the_table_is_a_model():
    rows = re.findall(r"^\| `([\w ]+?)`", README.split("## The table")[1].split("## Data")[0], flags=re.M)
    assert len(rows) >= 8
    for name in rows:
        assert registry.find_model(name.split()[0])


def test_files_that_are_named_exist():
    for path in re.findall(r"`((?:docs|properties|recbole_conrec|benchmarks|dataset)/[\w/.*-]+)`", README):
        assert list(ROOT.glob(path)), path


def test_options_that_are_named_exist():
    for text in (text for kind, text in BLOCKS if kind == "yaml" and "model_class" not in text):
        for key in yaml.safe_load(text):
            assert key in config.overall()


def test_a_baseline_of_ones_own(tmp_path, monkeypatch, tiny_path):
    """The YAML of the README, a class in a package outside of ours, every column filled."""
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "my_file.py").write_text(textwrap.dedent("""
        from recbole.model.sequential_recommender import SASRec

        class MyRec(SASRec):
            def __init__(self, config, dataset):
                assert config["hidden_size"] == 64 and config["n_layers"] == 1
                super().__init__(config, dataset)
    """))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    text, = (text for kind, text in BLOCKS if kind == "yaml" and "\nmodel_class" in text)
    sasrec = {"n_layers": 1, "n_heads": 2, "inner_size": 64, "hidden_dropout_prob": 0.1, "attn_dropout_prob": 0.1,
              "hidden_act": "gelu", "layer_norm_eps": 1e-12, "initializer_range": 0.02, "loss_type": "CE"}
    (tmp_path / "my_model.yaml").write_text(text + yaml.safe_dump(sasrec))
    result = run(None, "tiny", ["my_model.yaml"], {
        **tinylog.OPTIONS, "data_path": str(tiny_path), "gpu_id": "", "epochs": 1, "show_progress": False})
    assert result.record["model"] == "MyRec"
    assert all(figure["n"] > 0 for figure in result.record["metrics"].values())
