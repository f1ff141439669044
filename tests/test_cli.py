"""Help, lists, completion and hints of the command line, without torch; and that catalogue.json is up to date."""

import json
import os
import re
import shlex
import subprocess
import sys

import pytest

from recbole_conrec import catalogue, cli, names
from recbole_conrec.subcommands import COMMANDS

LIGHT = (
    "import sys; from recbole_conrec.cli import main; code = main(sys.argv[1:]); "
    "heavy = {'torch', 'recbole', 'numpy', 'transformers'} & set(sys.modules); assert not heavy, heavy; sys.exit(code)"
)


def called(*words, **environment) -> str:
    """What a command line prints in a process of its own, which imports nothing that takes long."""
    command = [sys.executable, "-c", LIGHT, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **environment})
    return done.stdout


def test_the_catalogue_is_up_to_date():
    made = json.loads(catalogue.text())
    assert made == names.catalogue(), "run: python -m recbole_conrec.catalogue"


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--help"], ["predict", "--help"], ["list", "models"], ["--version"]])
def test_help_and_lists_import_no_torch(words):
    assert called(*words)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_subcommand_has_its_own_help(name, capsys):
    assert cli.main([*name.split(), "--help"]) == 0
    page = " ".join(capsys.readouterr().out.split())
    assert f"Usage: recbole-conrec {name} {COMMANDS[name].positional}".strip() in page
    assert " ".join(COMMANDS[name].example.split()) in page
    for option, kind, default, text in names.catalogue()["options"].get(name, ()):
        assert f"--{option} " in page
        shown = page.replace("- ", "-")
        assert f"{' '.join(text.split())} [{kind}".replace("- ", "-") in shown
        assert not default or f"default: {default}".replace("- ", "-") in shown or default == "required"


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_name_options_that_there_are(name):
    words = shlex.split(COMMANDS[name].example)
    assert words[0] == "recbole-conrec" and words[1 : 1 + len(name.split())] == name.split()
    given = {word[2:].split("=")[0].split(".")[0] for word in words if word.startswith("--")}
    reads = ["run"] if COMMANDS[name].also else []
    known = {row[0] for command in (name, *reads) for row in names.catalogue()["options"].get(command, ())}
    assert given <= known | {"tokenizer"}


def test_lists(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dataset" / "mine").mkdir(parents=True)
    (tmp_path / "dataset" / "mine" / "mine.inter").touch()
    found = {}
    for kind in names.KINDS:
        assert cli.main(["list", kind]) == 0
        found[kind] = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert {"CoNRec", "SASRec", "GRU4Rec"} <= set(found["models"])
    assert {"ml-100k", "mine"} <= set(found["datasets"]) and "paper" in found["boards"]
    assert "rqvae" in found["tokenizers"] and "hits" in found["rewards"] and "FHR" in found["metrics"]
    assert cli.main(["list", "modles"]) == 2
    assert "did you mean 'models'" in capsys.readouterr().err
    assert cli.main(["list"]) == 2 and "usage: recbole-conrec list models|" in capsys.readouterr().err


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert re.fullmatch(r"recbole-conrec \d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.mark.slow
@pytest.mark.parametrize(
    "shell, line, wanted",
    [
        ("bash", ["pre"], "predict"),
        ("bash", ["predict", "--part"], "--part_users"),
        ("bash", ["study", "cov"], "coverage"),
        ("zsh", ["run", "--model", "CoNR"], "CoNRec"),
        ("fish", ["tokenize", "--dataset", "ml-1m-"], "ml-1m-recent"),
    ],
)
def test_completion(shell, line, wanted):
    words = " ".join(["recbole-conrec", *line])
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(len(line)), "_TYPER_COMPLETE_ARGS": words}
    printed = called(_RECBOLE_CONREC_COMPLETE=f"complete_{shell}", _TYPER_COMPLETE_FISH_ACTION="get-args", **asked)
    assert wanted in printed


@pytest.mark.parametrize(
    "words, hint",
    [
        (["inspect", "ml-100k", "--outt=x"], "did you mean 'out'"),
        (["tokenize", "--modle=Pop"], "did you mean 'model'"),
        (["study", "coverage", "--neighbors=3"], "did you mean 'neighbours'"),
        (["explain", "--user=3", "--model=Pop", "--datset=x"], "did you mean 'dataset'"),
        (["predict", "--usres=all"], "did you mean 'users'"),
        (["simulate", "--user=10"], "did you mean 'users'"),
        (["filter", "--candidate=x"], "did you mean 'candidates'"),
        (["study", "covrage"], "there is no 'covrage'; there are coverage, metrics, filter"),
        (["tokenise"], "did you mean 'tokenize'"),
    ],
)
def test_misspelt_words_name_the_nearest(words, hint, capsys):
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    assert hint in error and error.count("\n") == 1
