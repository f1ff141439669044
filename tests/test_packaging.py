"""The package is complete: every folder with code is installed, and so is every YAML."""

import configparser
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PTH = "recbole_conrec.pth"


def test_every_package_is_listed():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = set(setup["options"]["packages"].split()) - {"recbole_conrec.properties", "recbole_conrec.dataset"}
    there = {".".join(file.parent.relative_to(ROOT).parts) for file in (ROOT / "recbole_conrec").rglob("*.py")}
    assert listed == there


def test_constraints_pin_every_requirement():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = setup["options.extras_require"]
    lines = "\n".join((setup["options"]["install_requires"], extras["test"], extras["docs"])).split("\n")
    wanted = {re.split(r"[ =<>;[]", line.strip())[0].lower() for line in lines if line.strip()[:1].isalpha()}
    pinned = {
        line.split("==")[0].lower()
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    }
    assert wanted <= pinned, wanted - pinned


@pytest.mark.slow
def test_a_wheel_finds_its_yaml_and_data_without_the_checkout(tmp_path):
    """Install the built wheel's files in a folder of their own; read a YAML and the shipped data set from there.

    RecBole is imported first, the order that isort makes, with the real ray where there is one.
    """
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT]
    subprocess.run(build, check=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([sys.executable, "-m", "zipfile", "-e", wheel, tmp_path / "site"], check=True)
    code = (
        "import importlib.util, site, sys; sys.path.insert(0, sys.argv[1]); "
        "ours = [f for f in sys.meta_path if 'Editable' in str(f) or getattr(f, '__name__', '') == 'Names']; "
        "sys.meta_path[:] = [f for f in sys.meta_path if f not in ours]; "
        "site.addsitedir(sys.argv[1]); "  # as Python does when it starts: reads the .pth
        "first = 'recbole.quick_start' if importlib.util.find_spec('ray') else 'recbole.utils'; "
        "importlib.import_module(first); "
        "import recbole_conrec.options.layers as c; assert c.__file__.startswith(sys.argv[1]), c.__file__; "
        "assert c.properties('model', 'CoNRec') and c.properties('dataset', 'ml-100k') and c.overall(); "
        "from recbole.utils import get_model; assert get_model('CoNRec').__name__ == 'CoNRec'; "
        "from recbole_conrec.runs.config import make_config; "
        "from recbole_conrec.data.dataset import NegativeFeedbackDataset as Dataset; "
        "config = make_config('Pop', 'movietweetings-100k'); "
        "assert config['data_path'].startswith(sys.argv[1]), config['data_path']; "
        "assert len(Dataset(config).splits['test']) == 2934"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "site")], check=True, cwd=tmp_path)
    shipped = (tmp_path / "site" / "recbole_conrec" / "dataset").glob("*/*")
    assert {file.name.rpartition(".")[2] for file in shipped} == {"LICENSE", "md", "inter", "item"}
    assert (tmp_path / "site" / PTH).read_bytes() == (ROOT / "recbole_conrec" / PTH).read_bytes()


@pytest.mark.slow
def test_an_editable_installation_has_the_pth(tmp_path):
    for name in ("recbole_conrec", "properties", "dataset", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        (tmp_path / name).symlink_to(ROOT / name)
    code = "import sys; from setuptools import build_meta; build_meta.build_editable(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, tmp_path / "wheels"], check=True, cwd=tmp_path, capture_output=True)
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    assert zipfile.ZipFile(wheel).read(PTH) == (ROOT / "recbole_conrec" / PTH).read_bytes()


def test_the_pth_provides_the_name_that_ray_needs(tmp_path):
    """As Python reads the file when it starts: the name comes with ray.tune, and nothing is imported before."""
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "__init__.py").write_text("")
    (tmp_path / "ray" / "tune.py").write_text("import numpy\nNAME = numpy.bool8\n")
    code = (
        "import site, sys; sys.path.insert(0, sys.argv[1])\n"
        "sys.meta_path[:] = [f for f in sys.meta_path if getattr(f, '__name__', '') != 'Names']\n"
        "site.addsitedir(sys.argv[2]); assert sys.meta_path[0].__name__ == 'Names'\n"
        "import ray; assert 'numpy' not in sys.modules\n"
        "import numpy; assert 'bool8' not in vars(numpy)\n"
        "from ray import tune; assert tune.NAME is numpy.bool_\n"
        "assert all(getattr(f, '__name__', '') != 'Names' for f in sys.meta_path)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path), str(ROOT / "recbole_conrec")], check=True, cwd=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13"])
def test_constraints_resolve(version, tmp_path):
    """There is a set of releases that has a wheel for this Python, takes one another, and is as pinned (by uv)."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = setup["options.extras_require"]
    lines = "\n".join((setup["options"]["install_requires"], extras["test"], extras["docs"])).split("\n")
    (tmp_path / "wanted.in").write_text("\n".join(line for line in lines if line.strip()[:1].isalpha()))
    uv = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--system-certs", "--only-binary=:all:"]
    target = ["--python-version", version, "--python-platform", "linux", "--no-header", "--no-annotate"]
    given = [tmp_path / "wanted.in", "-c", ROOT / "constraints.txt", "-o", tmp_path / "found.txt"]
    done = subprocess.run([*uv, *target, *given], capture_output=True, text=True)
    if re.search(r"error sending request|dns error|Failed to fetch|timed out|tunnel", done.stderr):
        pytest.skip("no network")
    assert done.returncode == 0, done.stderr[-2000:]
    found = set((tmp_path / "found.txt").read_text().split())
    assert "peft==" + _pin("peft") in found and len(found) > 100
    assert ("recbole==1.2.1" in found) == (version in ("3.10", "3.11"))  # later ones take it without what it asks for


def _pin(name: str) -> str:
    return re.search(rf"^{name}==(\S+)", (ROOT / "constraints.txt").read_text(), flags=re.M)[1]
