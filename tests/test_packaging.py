"""The package is complete: every folder with code is installed, and so is every YAML."""

import configparser
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_package_is_listed():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = set(setup["options"]["packages"].split()) - {"recbole_conrec.properties"}
    there = {".".join(file.parent.relative_to(ROOT).parts) for file in (ROOT / "recbole_conrec").rglob("*.py")}
    assert listed == there


def test_constraints_pin_every_requirement():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options"]["install_requires"].split("\n") + setup["options.extras_require"]["test"].split("\n")
    wanted = {re.split(r"[ =<>;]", line.strip())[0].lower() for line in lines if line.strip()[:1].isalpha()}
    pinned = {
        line.split("==")[0].lower()
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    }
    assert wanted <= pinned, wanted - pinned


def test_a_wheel_finds_its_yaml_without_the_checkout(tmp_path):
    """Install the built wheel's files in a folder of their own and read a YAML from there."""
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT]
    subprocess.run(build, check=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([sys.executable, "-m", "zipfile", "-e", wheel, tmp_path / "site"], check=True)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); "
        "sys.meta_path[:] = [f for f in sys.meta_path if 'Editable' not in str(f)]; "
        "import recbole_conrec.options.layers as c; assert c.__file__.startswith(sys.argv[1]), c.__file__; "
        "assert c.properties('model', 'CoNRec') and c.properties('dataset', 'ml-100k') and c.overall()"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "site")], check=True, cwd=tmp_path)
