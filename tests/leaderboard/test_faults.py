"""What goes wrong in a board is shown where its figures would be, and ends neither the board nor its tables."""

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import forked
import psutil
import pytest
from rich.console import Console

from recbole_conrec.leaderboard import schedule
from recbole_conrec.leaderboard.board import read_board
from recbole_conrec.leaderboard.board_options import Method
from recbole_conrec.leaderboard.latex import latex
from recbole_conrec.leaderboard.markdown import markdown
from recbole_conrec.leaderboard.page import content, page
from recbole_conrec.leaderboard.report import plan
from recbole_conrec.leaderboard.section import Cell, Line, Section
from recbole_conrec.leaderboard.sheet import comma_separated
from recbole_conrec.leaderboard.standings import standings
from recbole_conrec.leaderboard.tables import terminal
from recbole_conrec.runs import failures, records

pytestmark = pytest.mark.slow

SLOW = """
from recbole_conrec.model.pop import Pop
import os, time, signal

class Slow(Pop):
    def __init__(self, *_):
        open("started", "w").close()
        time.sleep(300)

class Killed(Pop):
    def __init__(self, *_):
        os.kill(os.getpid(), signal.SIGKILL)
"""

BACKGROUND = """
import signal, sys
from recbole_conrec.cli import main

signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell starts what is to go on in the background
sys.exit(main())
"""


def written(results: Path) -> dict[str, str]:
    return {ending: (results / f"board.{ending}").read_text() for ending in ("md", "tex", "csv", "html")}


def test_a_failure_and_its_reason_are_in_every_output(small, tmp_path, board, monkeypatch):
    (tmp_path / "my_slow.py").write_text(SLOW)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "more.yaml").write_text(
        f"extends: {small[0] / 'board.yaml'}\nmethods:\n"
        "  - {name: Dead, model_class: 'my_slow:Killed', seeds: 1}\n"
        "  - {name: Wrong, model: Pop, seeds: 1, options: {USER_ID_FIELD: nobody}}\n"
    )
    code, printed = board(leaderboard=str(tmp_path / "more.yaml"), methods=["Pop", "Dead", "Wrong"])
    assert code == 1
    for text in [printed, *written(tmp_path / "results").values()]:
        text = " ".join(text.split())
        assert "failed: it was ended by SIGKILL" in text and "not run yet" not in text
        assert "no field" in text and "nobody" in text
    run = read_board(str(tmp_path / "more.yaml")).narrow(**small[1], methods=["Dead"]).runs[0]
    assert "SIGKILL" in failures.read(run.folder)


def test_runs_end_with_their_board(small, tmp_path):
    """Also one that a script started in the background, whose children ignore SIGINT, and one killed outright."""
    (tmp_path / "my_slow.py").write_text(SLOW)
    (tmp_path / "slow.yaml").write_text(
        f"extends: {small[0] / 'board.yaml'}\nmethods: [{{name: Slow, model_class: 'my_slow:Slow', seeds: 1}}]\n"
    )
    (tmp_path / "background.py").write_text(BACKGROUND)
    words = ["-W", "ignore", tmp_path / "background.py", "--leaderboard=../slow.yaml", "--methods=Slow"]
    words += [f"--config_files={small[0] / 'options.yaml'}", "--checkpoint_dir=saved"]
    boards = {}
    for how in (signal.SIGTERM, signal.SIGKILL):
        (tmp_path / how.name).mkdir()
        boards[how] = forked.start(words, tmp_path / how.name, {"PYTHONPATH": str(tmp_path)})
    for how in boards:
        _wait((tmp_path / how.name / "started").exists)
    children = {how: psutil.Process(one.process.pid).children(recursive=True) for how, one in boards.items()}
    assert all(children.values())
    for how, one in boards.items():
        os.kill(one.process.pid, how)
    for how in boards:
        _wait(lambda how=how: not any(one.is_running() and one.status() != "zombie" for one in children[how]))
    assert [one.wait().returncode for one in boards.values()] == [130, -signal.SIGKILL]


def _wait(until, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def copied(small, tmp_path_factory):
    """(board with records of its own, the file of its first record, what was in that file)."""
    folder, options = small
    saved = shutil.copytree(folder / "saved", tmp_path_factory.mktemp("copied") / "saved")
    board = read_board(str(folder / "board.yaml")).narrow(**{**options, "checkpoint_dir": str(saved)})
    file = board.runs[0].folder / records.RESULT
    return board, file, file.read_text()


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": []},
        {"metrics": {"HR@5": {"value": "x", "n": 3}}},
        {"cost": {"fit_s": None, "eval_s": 1, "peak_mb": 1, "parameters": 1}},
        {"curve": 5},
        {"stages": [{}]},
        {"hardware": {}},
        {"versions": {}},
        {"config": {}},
        {"instances": "many"},
        {"seed": "5"},
        {"valid": {"HR@5": None}},
        None,
        [],
    ],
)
def test_one_bad_record_ends_no_board(change, copied, tmp_path):
    board, file, text = copied
    result = json.loads(text)
    file.write_text(json.dumps({**result, **change} if isinstance(change, dict) else change))
    said: list[str] = []
    assert schedule.missing(board.runs, said.append) == [board.runs[0]] and "corrupt" in said[0]
    assert "\n" not in said[0]
    sections = standings(board)
    assert "corrupt" in sections[0].lines[0].note and sections[0].lines[1].records
    assert page(content(board, sections, tmp_path)) and schedule.expected_seconds(board.runs)


def test_nan_in_a_curve_leaves_the_page_readable(small, tmp_path):
    board = read_board(str(small[0] / "board.yaml")).narrow(**small[1])
    sections = standings(board)
    record = next(iter(sections[0].lines[2].records.values()))
    record.result["curve"][0]["valid"] = float("nan")
    sections[0].lines[2].cells["HR@5"].sd = float("inf")
    data = re.search(r'id="data">(.*?)</script>', page(content(board, sections, tmp_path)), re.S)[1]
    json.loads(data, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


STRANGE = "[x] Pop |\\ *a* :smile: <b> {50%}\n& _c_ `d` \x1b[31m"


def test_names_are_printed_as_they_are(capsys):
    cells = {"HR@5": Cell(0.5, None, 0.4, 0.6, 100, False)}
    lines = [Line(Method(name=STRANGE, model="Pop"), cells, note=f"failed: {STRANGE}"), Line(Method(name="[/old]"))]
    section = Section("[/data]", ["HR@5"], lines, {"HR@5": (0.1, False)}, STRANGE, {"HR@5": 100})
    for console in (Console(width=200), Console(width=200, markup=False, emoji=False)):
        for table in terminal(section, "[/title]", 200):
            console.print(table)
        shown = capsys.readouterr().out
        assert "[x] Pop |\\ *a* :smile: <b> {50%} & _c_ `d` ?[31m" in shown and "[/title]: [/data]" in shown
        assert "[/old]" in shown and "\x1b" not in shown
    text = markdown([section], "a\nb")
    assert "# a b\n" in text and r"| \[x\] Pop \|\\ \*a\* :smile: \<b\> \{50%\} & \_c\_ \`d\` ?\[31m (failed" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in rows}) == 1
    text = latex([section], STRANGE)
    assert not re.search(r"^\s*[\[*]", text, re.M) and text.count("{") - text.count("\\{") == text.count(
        "}"
    ) - text.count("\\}")
    assert "failed: {[}x{]} Pop" in text  # seen in print, not a comment
    assert len(comma_separated([section]).splitlines()) == 3


def test_weak_methods_are_marked(small):
    board = read_board(str(small[0] / "board.yaml")).narrow(**small[1])
    from recbole_conrec.leaderboard import standings as module

    lines = standings(board)[0].lines
    pop, swing = lines[0], lines[1]
    for line, value in ((pop, 0.5), (swing, 0.1)):
        line.note = ""
        for record in line.records.values():
            record.result["valid"] = {"HR@5": value}
    module._note_weak([pop, swing])
    assert swing.note == "below Pop on validation (HR@5 0.1000 < 0.5000)" and pop.note == ""
    swing.note = ""
    for record in swing.records.values():
        record.result["present"] = {"weights": {"dislikes": 0.5}, "valid": {"HR@5": 0.6}}
    module._note_weak([pop, swing])
    assert swing.note == ""  # its lists have a prior, and with it they are good
    for record in swing.records.values():
        record.result["present"]["valid"] = {"HR@5": 0.4}
    module._note_weak([pop, swing])
    assert swing.note == "below Pop on validation (HR@5 0.4000 < 0.5000)"
    swing.note = ""
    for record in swing.records.values():
        record.result["valid"], record.result["present"] = {"CandAcc": 0.1}, None
    swing.note = ""
    module._note_weak([pop, swing])
    assert swing.note == ""  # figures of two metrics are not compared


def test_estimates_are_of_the_same_options_and_never_nothing(small, capsys):
    board = read_board(str(small[0] / "board.yaml"))
    known, other = (board.narrow(**{**small[1], **more}, seeds=[77]).runs for more in ({}, {"hidden_size": 32}))
    assert all(schedule.expected_seconds(known).values())
    assert [schedule.expected_seconds(other)[run] is None for run in other] == [False, False, True]  # SASRec reads it
    wide = Console(width=200)
    wide.print(plan(board.narrow(**small[1], seeds=[77]), known, 1))
    wide.print(plan(board.narrow(**small[1]), [], 1))
    shown = capsys.readouterr().out
    assert "0.0s" not in shown and "nothing to do" in shown
    left = [run for run in other if schedule.expected_seconds(other)[run] is None]
    wide.print(plan(board.narrow(**small[1], hidden_size=32, seeds=[77]), left, 1))
    assert capsys.readouterr().out.split("\n")[-2].strip() == "1 method of unknown time"
