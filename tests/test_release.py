"""What a release consists of: the files in its archives, checked as an index checks them, and its version."""

import configparser
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

from recbole_conrec.utils.version import __version__

ROOT = Path(__file__).parent.parent
BESIDE = "share/doc/recbole-conrec/"
LEFT = {"saved", "results", "build", "dist", "site", "dataset", "log", "log_tensorboard"}
BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """(sdist, wheel): the wheel is made from the sdist's content alone, so that it proves that to be complete."""
    out = tmp_path_factory.mktemp("release")
    source, dist = out / "source", out / "dist"
    copied = (path for path in ROOT.iterdir() if path.name not in LEFT and path.suffix != ".egg-info")
    ignore = shutil.ignore_patterns("__pycache__")
    for path in copied:
        if path.is_file():
            source.mkdir(exist_ok=True)
            shutil.copy(path, source)
        elif path.name == ".github" or not path.name.startswith("."):
            shutil.copytree(path, source / path.name, ignore=ignore)
    for name in ("sim-small", "movietweetings-100k"):
        shutil.copytree(ROOT / "dataset" / name, source / "dataset" / name)
    shutil.copy(ROOT / "dataset" / "README.md", source / "dataset")
    _build("build_sdist", source, dist)
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(out / "unpacked", filter="data")
    (unpacked,) = (out / "unpacked").iterdir()
    _build("build_wheel", unpacked, dist)
    (wheel,) = dist.glob("*.whl")
    return sdist, wheel


def _build(hook: str, source: Path, out: Path) -> None:
    out.mkdir(exist_ok=True)
    done = subprocess.run([sys.executable, "-c", BUILD, hook, out], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_the_sdist_has_what_builds_tests_and_documents(archives):
    with tarfile.open(archives[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "CITATION.cff",
        "CONTRIBUTING.md",
        "constraints.txt",
        "mkdocs.yml",
        "Dockerfile",
        "Dockerfile.cuda",
        "Makefile",
        "setup.cfg",
        "pyproject.toml",
        "run_recbole_conrec.py",
    }
    for folder in ("docs", "examples", "tests", "properties", "recbole_conrec", "dataset/sim-small"):
        files = (ROOT / folder).rglob("*")
        wanted |= {
            file.relative_to(ROOT).as_posix() for file in files if file.is_file() and "__pycache__" not in file.parts
        }
    assert wanted <= names, sorted(wanted - names)[:20]
    assert not [name for name in names if re.search(r"\.pyc$|^saved|^\.git/|\.pt$|\.pkl$", name)]


@pytest.mark.slow
def test_the_wheel_has_the_files_that_the_readme_names(archives):
    with zipfile.ZipFile(archives[1]) as archive:
        names = set(archive.namelist())
        metadata = next(archive.read(name).decode() for name in names if name.endswith("/METADATA"))
    assert re.search(rf"^Version: {re.escape(__version__)}$", metadata, flags=re.M)
    for label in ("Source", "Documentation", "Changelog", "Issues"):
        assert re.search(rf"^Project-URL: {label}, https://", metadata, flags=re.M)
    assert any(name.endswith("LICENSE") for name in names)
    beside = {name.partition(BESIDE)[2] for name in names if BESIDE in name}
    assert {"README.md", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "constraints.txt"} <= beside
    source = (ROOT / "recbole_conrec").rglob("*")
    package = {
        path.relative_to(ROOT).as_posix() for path in source if path.is_file() and "__pycache__" not in path.parts
    }
    assert {path for path in package if not path.endswith(".pth")} <= names  # pages need their styles and scripts
    inside = {name.removeprefix("recbole_conrec/") for name in names} | names
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"[`(]((?:docs|properties|recbole_conrec|benchmarks|examples)/[\w/.-]+\.\w+)", readme)
    assert named
    for path in named:
        assert path in beside | inside, path
    assert {path.name for path in (ROOT / "docs").glob("*.md")} == {
        name.removeprefix("docs/") for name in beside if re.fullmatch(r"docs/[^/]+\.md", name)
    }


@pytest.mark.slow
@pytest.mark.parametrize("module", ["twine", "check_wheel_contents"])
def test_the_checks_of_an_index_pass(archives, module):
    pytest.importorskip(module, reason="pip install -e '.[release]'")
    words = ["check", "--strict", *archives] if module == "twine" else [archives[1]]
    done = subprocess.run([sys.executable, "-m", module, *words], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_version_stands_in_one_place():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["metadata"]["version"] == "attr: recbole_conrec.utils.version.__version__"
    assert f"\n## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "\nversion:" not in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_workflows_test_every_python_that_is_named():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    named = re.findall(r"Python :: (3\.\d+)", setup["metadata"]["classifiers"])
    workflows = {file.stem: yaml.safe_load(file.read_text()) for file in (ROOT / ".github" / "workflows").glob("*.yml")}
    assert workflows["test"]["jobs"]["test"]["strategy"]["matrix"]["python"] == named
    release = workflows["release"]["jobs"]
    assert release["test"]["uses"] == "./.github/workflows/test.yml"
    assert {"test", "version"} <= set(release["pypi"]["needs"])
    (step,) = [step for step in release["version"]["steps"] if "run" in step]
    command = step["run"].replace("${GITHUB_REF_NAME#v}", __version__)
    assert subprocess.run(["bash", "-c", command], cwd=ROOT).returncode == 0  # what the tag is compared with


def test_images_copy_what_exists_and_need_the_package_index_alone():
    for name in ("Dockerfile", "Dockerfile.cuda"):
        text = (ROOT / name).read_text()
        assert text.count("FROM ") == 1 and "FROM python:3" in text
        assert not re.search(r"^RUN.*(apt|curl|wget|git |https?://)", text, flags=re.M)
        assert "-c constraints.txt" in text


def test_published_records_are_small():
    files = [file for file in (ROOT / "benchmarks" / "records").rglob("*") if file.is_file()]
    assert {file.suffix for file in files} <= {".parquet", ".md"}
    assert sum(file.stat().st_size for file in files) < 3e6
