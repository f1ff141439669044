"""The package is complete: every folder with code is installed, and so is every YAML."""

import configparser
import contextlib
import json
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

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


def test_pins_that_are_installed_suit_the_oldest_python():
    """Those of Python 3.10 that this Python shares with it: each takes that Python, and the others."""
    pins, known = dict(_pins("3.10")), 0
    for name, pin in pins.items():
        with contextlib.suppress(metadata.PackageNotFoundError):
            about = metadata.metadata(name)
            if about["Version"] == pin:
                known += 1
                wanted = about.get_all("Requires-Dist") or []
                _check(name, about.get("Requires-Python", ""), wanted, pins, "3.10")
    assert known > len(pins) / 2


@pytest.mark.slow
def test_constraints_resolve(tmp_path):
    """There is a release of every pin for the newest Python that we name, and each takes the others.

    CI installs all of them for every Python. Without torch, whose wheels are large and lie on an index of their own.
    """
    pins = dict(_pins("3.13"))
    del pins["torch"]
    (tmp_path / "pins.txt").write_text("".join(f"{name}=={pin}\n" for name, pin in pins.items()))
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--no-deps", "--ignore-installed"]
    target = ["--python-version", "3.13", "--only-binary=:all:", "--target", str(tmp_path / "site")]
    report = tmp_path / "report.json"
    done = subprocess.run(
        [*pip, *target, "-r", str(tmp_path / "pins.txt"), "--report", str(report)], capture_output=True, text=True
    )
    if re.search(r"Max retries|Connection|Temporary failure|ConnectTimeout", done.stderr):
        pytest.skip("no network")
    assert done.returncode == 0, done.stderr[-2000:]
    for entry in json.loads(report.read_text())["install"]:
        about = entry["metadata"]
        _check(about["name"], about.get("requires_python", ""), about.get("requires_dist", []), pins, "3.13")


def _check(name: str, python: str, requirements: list[str], pins: dict[str, str], version: str) -> None:
    """A release takes a version of Python and the pins of what it requires."""
    assert f"{version}.9" in SpecifierSet(python), f"{name} needs Python {python}"
    for line in requirements:
        wanted = Requirement(line)
        other = canonicalize_name(wanted.name)
        if other in pins and (wanted.marker is None or wanted.marker.evaluate(_environment(version))):
            assert wanted.specifier.contains(pins[other], prereleases=True), f"{name} needs {line}"


def _pins(version: str):
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if not line.startswith("#"):
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate(_environment(version)):
                yield canonicalize_name(wanted.name), next(iter(wanted.specifier)).version


def _environment(version: str) -> dict[str, str]:
    return {"python_version": version, "python_full_version": f"{version}.9", "sys_platform": "linux", "extra": ""}
