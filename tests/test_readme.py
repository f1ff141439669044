"""The commands in the README exist, and its section on adding a baseline works as written."""

import csv
import importlib.util
import itertools
import re
from pathlib import Path

import pytest
import tinylog
import yaml

from recbole_conrec import cli, registry
from recbole_conrec.leaderboard import schedule
from recbole_conrec.leaderboard.board import read_board
from recbole_conrec.options import layers
from recbole_conrec.runs import config, published, records
from recbole_conrec.runs.runner import run

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
            for word, following in itertools.pairwise(words):
                if word == "-c":
                    assert (ROOT / following).exists()
        elif words[0] == "recbole-conrec":
            assert words[1] in cli.SUBCOMMANDS
        elif words[0] == "python" and words[1].endswith(".py"):
            assert (ROOT / words[1]).exists()
            assert cli.parse(words[2:])
        else:
            assert words[:3] == ["python", "-m", "venv"] or words[0] == "."


@pytest.fixture
def tables():
    """The script that makes the README's table."""
    spec = importlib.util.spec_from_file_location("tables", ROOT / "benchmarks" / "tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_short_and_shows_a_board():
    assert len(README.splitlines()) <= 150
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
    assert pictures and all((ROOT / picture).is_file() for picture in pictures)


@pytest.mark.slow
def test_the_table_is_that_of_the_records(tables):
    for page in tables.PAGES:
        text = page.read_text(encoding="utf-8")
        assert tables.BLOCK.search(text)
        assert tables.filled(text) == text, "run: python benchmarks/tables.py"


@pytest.mark.slow
def test_a_table_has_the_figures_of_a_record(tables, tmp_path, monkeypatch):
    options = {"data_path": str(ROOT / "dataset"), "checkpoint_dir": str(tmp_path / "saved"), "gpu_id": ""}
    (planned,) = read_board("quick").narrow(methods=["Pop"], datasets=["sim-small"], **options).runs
    record = run(planned.method.model, planned.dataset, options={**planned.options, "show_progress": False}).record
    monkeypatch.setattr(tables, "RECORDS", tmp_path)
    page = "<!-- results: quick sim-small -->\nold\n<!-- end of results -->\n"
    monkeypatch.chdir(ROOT)  # where the data set is
    assert "not published yet" in tables.filled(page)
    published.write(tmp_path / "quick-sim-small.parquet", [("Pop", records.read(planned.folder)[0])])
    assert "old" not in tables.filled(page)
    row = next(line for line in tables.filled(page).splitlines() if line.startswith("| `Pop` (reference) |"))
    figures = [record["metrics"][column]["value"] for column in tables.COLUMNS]
    assert row.split(" | ")[1:] == [*(f"{one:.3f}" for one in figures[:-1]), f"{figures[-1]:.3f} |"]


def test_files_that_are_named_exist():
    for path in re.findall(r"`((?:docs|properties|recbole_conrec|benchmarks|dataset)/[\w/.*-]+)`", README):
        assert list(ROOT.glob(path)), path


def test_options_that_are_named_exist():
    for text in (text for kind, text in BLOCKS if kind == "yaml" and "model_class" not in text):
        for key in yaml.safe_load(text):
            assert key in layers.overall()


@pytest.fixture
def readmes_folder(tmp_path, monkeypatch):
    """The working folder, with the files of the README's section on adding a baseline as they are written there."""
    section = README.split("## Add a baseline")[1].split("\n## ")[0]
    for _, text in re.findall(r"```(python|yaml)\n(.*?)```", section, flags=re.S):
        file = tmp_path / text.splitlines()[0].removeprefix("# ")
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_a_baseline_by_the_readmes_board(readmes_folder, tiny_path, capsys, quick_boards, monkeypatch):
    """Its command, narrowed to a small log: both methods fill every column."""
    monkeypatch.setattr(schedule, "counts_only", lambda network: True)  # what these two train is short, too: forked
    monkeypatch.setenv("PYTHONPATH", str(readmes_folder))
    (command,) = (line for line in COMMANDS if "my_board.yaml" in line)
    (readmes_folder / "small.yaml").write_text(
        yaml.safe_dump(
            {**tinylog.OPTIONS, "data_path": str(tiny_path), "gpu_id": "", "epochs": 1, "show_progress": False}
        )
    )
    assert cli.main([*command.split()[2:], "--dataset=tiny", "--config_files=small.yaml", "--seeds=1"]) == 0
    assert "MyRec" in capsys.readouterr().out
    rows = list(csv.DictReader((readmes_folder / "results" / "my_board" / "board.csv").open()))
    assert {row["method"] for row in rows} == {"SASRec", "MyRec"}
    assert len(rows) == 12 and all(int(row["n"]) > 0 for row in rows)

    before = read_board("my_board.yaml").runs[-1].identity
    with (readmes_folder / "my_package" / "my_file.py").open("a") as file:
        file.write("# another version of the model\n")
    assert read_board("my_board.yaml").runs[-1].identity != before


def test_a_baseline_by_one_file(readmes_folder, tiny_path):
    (row,) = yaml.safe_load((readmes_folder / "my_board.yaml").read_text())["methods"]
    file = readmes_folder / "my_model.yaml"
    file.write_text(yaml.safe_dump({"model": row["name"], "model_class": row["model_class"], **row["options"]}))
    result = run(
        None,
        "tiny",
        [str(file)],
        {**tinylog.OPTIONS, "data_path": str(tiny_path), "gpu_id": "", "epochs": 1, "show_progress": False},
    )
    assert result.record["model"] == "MyRec"
    assert all(figure["n"] > 0 for figure in result.record["metrics"].values())


def test_a_baseline_by_entry_point(readmes_folder):
    """An installed package is a folder on the path with metadata; the declaration is the README's."""
    (declared,) = (text for kind, text in BLOCKS if kind == "toml")
    name, target = (part.strip(' "') for part in declared.splitlines()[1].split("="))
    info = readmes_folder / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[recbole_conrec.models]\n{name} = {target}\n")
    assert registry.find_model("MyRec").__module__ == "my_package.my_file"
    (row,) = yaml.safe_load((readmes_folder / "my_board.yaml").read_text())["methods"]
    options = {**row["options"], "an_option_of_mine": 3}  # only the model knows which ones it has
    assert config.make_config("MyRec", "ml-100k", options=options)["an_option_of_mine"] == 3
    assert config.make_config(target, "ml-100k", options=options)["an_option_of_mine"] == 3
