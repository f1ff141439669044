"""Boards: their YAML, their runs, their records."""

import json
import multiprocessing
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recbole_conrec import registry
from recbole_conrec.cli import main, parse
from recbole_conrec.leaderboard import compare, schedule
from recbole_conrec.leaderboard.board import combine, read_board
from recbole_conrec.leaderboard.publish import publish
from recbole_conrec.leaderboard.standings import standings
from recbole_conrec.runs import lock, records
from recbole_conrec.utils.errors import UserError

ROOT = Path(__file__).parent.parent.parent
PAPER = [
    "Caser",
    "SASRec",
    "BERT4Rec",
    "FDSA",
    "S3-Rec",
    "P5-CID",
    "TIGER",
    "TALLRec",
    "InstructRec",
    "LC-Rec (Neg.&Pos.)",
    "LC-Rec (Neg. Only)",
    "CoNRec",
]


def test_boards_of_ours():
    paper = read_board("paper")
    assert [row.name for row in paper.rows] == PAPER and paper.improvement == "CoNRec"
    assert paper.columns == ["HR@20", "FHR@20", "LUF@20", "LIF@20", "CandAcc"]
    assert [row.name for row in read_board("beyond").rows][:12] == PAPER and len(read_board("beyond").rows) > 12
    for name in ("quick", "beyond"):
        for task in read_board(name).narrow(seeds=1).tasks:
            assert task.unavailable or task.identity  # every option of every row is known


def test_narrowing():
    board = read_board("paper").narrow(rows="CoNRec, SASRec", seeds=4, datasets="ml-100k,ml-1m-recent", epochs=2)
    assert [row.name for row in board.rows] == ["SASRec", "CoNRec"] and board.seeds == (2020, 2021, 2022, 2023)
    assert len(board.tasks) == 2 * 4 * 2 and board.tasks[0].options["epochs"] == 2
    assert board.narrow(seeds=[7]).seeds == (7,) and board.narrow(seeds=2).tasks[0].options["epochs"] == 2
    with pytest.raises(UserError, match="SASRek.*SASRec"):
        board.narrow(rows=["SASRek"])


@pytest.mark.parametrize(
    "text, words",
    [
        ("rows: [A]", "datasets"),
        ("datasets: [tiny]\nrows: [Pop, Pop]", "two rows are called 'Pop'"),
        ("datasets: [tiny]\nrows: [{name: Pop, optoins: {}}]", "optoins.*options"),
        ("datasets: [tiny]\nrows: [Pop]\nmetric: [HR]", "metric.*metrics"),
        ("datasets: [tiny]\nrows: [Pop]\nmetrics: [NDCG]", "NDCG"),
        ("datasets: [tiny]\nrows: [Pop]\nimprovement: CoNRec", "CoNRec"),
        ("datasets: [tiny]\nrows: [Pop]\nseeds: all", "seeds"),
        ("extends: paper\nrows: 5", "'rows' must be a list"),
        ("extends: bad.yaml", "has no end"),
        ("datasets: [tiny]\nrows: [Pop]\noptions: 5", "options: 5 must be a mapping"),
        ("datasets: [tiny]\nrows: [{name: Pop, options: [a]}]", "row 'Pop': options"),
        ("datasets: [tiny]\nrows: [{name: Pop, seeds: [1, 2]}]", "row 'Pop': seeds"),
        ("datasets: [tiny]\nrows: [{name: Pop, seeds: 0}]", "row 'Pop': seeds"),
        ("datasets: [tiny]\nrows: [{name: Pop, minutes: soon}]", "row 'Pop': minutes"),
        ("datasets: [tiny]\nrows: [{name: Pop, launch: 3}]", "row 'Pop': launch"),
    ],
)
def test_mistakes_in_a_board(text, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text(text)
    with pytest.raises(UserError, match=words):
        read_board("bad.yaml")


def test_a_board_may_extend_another_without_rows_of_its_own(tmp_path):
    (tmp_path / "more.yaml").write_text("extends: quick\nrows:\n")
    more, quick = read_board(str(tmp_path / "more.yaml")), read_board("quick")
    assert [row.name for row in more.rows] == [row.name for row in quick.rows]


def test_layers_of_options():
    assert combine({"a": {"x": 1, "y": 2}, "b.c": 1}, {"a": {"x": 3}, "b": {"d": 2}}) == {
        "a": {"x": 3, "y": 2},
        "b": {"d": 2},
    }
    assert combine({"split": {"by": "time", "ratio": [1]}}, {"split": {"by": "user"}}) == {"split": {"by": "user"}}


def test_a_finished_board_runs_nothing_and_writes_its_tables(board, tmp_path, monkeypatch):
    monkeypatch.setattr(schedule, "_start", lambda *_: pytest.fail("a recorded row was run again"))
    code, printed = board()
    assert code == 0 and "SASRec (both)" in printed and "CandAcc" in printed and "Swing over the best" in printed
    assert {file.name for file in (tmp_path / "results").iterdir()} == {
        "board.html",
        "board.md",
        "board.tex",
        "board.csv",
    }


def test_figures_are_those_of_the_records(small):
    folder, options = small
    (section,) = standings(read_board(str(folder / "board.yaml")).narrow(**options))
    line = section.lines[2]
    values = [record.result["metrics"]["FHR@5"]["value"] for record in line.records.values()]
    assert len(values) == 2 and line.cells["FHR@5"].mean == pytest.approx(np.mean(values))
    assert line.cells["FHR@5"].low <= line.cells["FHR@5"].mean <= line.cells["FHR@5"].high
    others = [other.cells["HR@5"].mean for other in section.lines if other.row.name != "Swing"]
    assert section.improvement["HR@5"][0] == pytest.approx(section.lines[1].cells["HR@5"].mean / max(others) - 1)


def test_facts_of_the_instances(small, make_tiny):
    folder, options = small
    record = standings(read_board(str(folder / "board.yaml")).narrow(**options))[0].lines[0].records[5]
    data = make_tiny("Pop")[1]
    facts, test, log = record.facts(), data.splits["test"], data.log
    assert record.result["data_fingerprint"] == data.fingerprint
    for n in (0, 17, len(test) - 1):
        before = (log.user == test.user[n]) & (log.time < test.time[n])
        assert facts["activity"][n] == before.sum() and facts["negatives"][n] == (log.feedback[before] == -1).sum()
        same = data.train_mask & (log.item == test.item[n]) & (log.feedback == -1)
        assert facts["popularity"][n] == same.sum() and facts["user"][n] == test.user[n]
        assert facts["window"][n] == np.diff(data.truth("test").f_ptr)[n]


def test_published_records_stand_in_for_runs_and_hold_no_data(small, tmp_path):
    folder, options = small
    name, out = str(folder / "board.yaml"), tmp_path / "published"
    board = read_board(name).narrow(**options)
    words = [f"--{key}={schedule._text(value)}" for key, value in options.items() if key != "checkpoint_dir"]
    assert main(["publish", f"--leaderboard={name}", f"--out={out}", f"--checkpoint_dir={folder}/saved", *words]) == 0
    moved = read_board(name).narrow(**{**options, "checkpoint_dir": str(out)})
    assert schedule.missing(moved.tasks, print) == []
    for task, other in zip(board.tasks, moved.tasks, strict=True):
        whole, part = (records.read(one.folder, one.identity)[0] for one in (task, other))
        assert {file.name for file in part.folder.iterdir()} == {"result.json", "outcomes.parquet"}
        assert not re.search(r'"[/~]|/tmp|home', (part.folder / "result.json").read_text())
        assert set(whole.facts()) - set(part.facts()) == {"item", "t0"}
        for one, two in ((whole.outcomes(), part.outcomes()), (part.facts(), whole.facts())):
            assert all(np.array_equal(values, two[key], equal_nan=True) for key, values in one.items())
    assert [vars(c) for c in standings(moved)[0].lines[0].cells.values()] == [
        vars(c) for c in standings(board)[0].lines[0].cells.values()
    ]
    with pytest.raises(UserError, match="has no record"):
        publish(read_board(name).narrow(**{**options, "checkpoint_dir": str(tmp_path / "empty")}), out)


def test_plan_and_commands(board, small):
    code, printed = board(seeds=3, **{"dry-run": True})
    assert code == 0 and "1 of 5 runs to do" in printed and "recorded" in printed and "about" in printed
    code, printed = board(seeds=3, **{"dry-run": True, "commands": True})
    folder, options = small
    (task,) = schedule.missing(read_board(str(folder / "board.yaml")).narrow(**options, seeds=3).tasks, print)
    words = shlex.split(printed)
    assert code == 0 and words == schedule.command(task)
    (task.folder / records.RESULT).parent.mkdir(parents=True, exist_ok=True)
    (task.folder / records.RESULT).write_text("{")  # what is said of it must not stand among the commands
    assert board(seeds=3, **{"dry-run": True, "commands": True})[1] == printed
    (task.folder / records.RESULT).unlink()
    assert words[:3] == ["python", "-m", "recbole_conrec"]
    read = parse(words[3:])[1]  # the command says what the board would run, to the last option
    assert (read.pop("model"), read.pop("dataset")) == ("SASRec", "tiny") and read == task.options


def test_identity_follows_options_data_and_place(small, tmp_path):
    folder, options = small
    board = read_board(str(folder / "board.yaml"))
    one = board.narrow(**options).tasks[0]
    assert board.narrow(**{**options, "checkpoint_dir": "elsewhere"}).tasks[0].identity == one.identity
    assert board.narrow(**options, learning_rate=0.5).tasks[0].identity != one.identity
    shutil.copytree(Path(options["data_path"]) / "tiny", tmp_path / "tiny")
    moved = {**options, "data_path": str(tmp_path)}
    assert board.narrow(**moved).tasks[0].identity == one.identity  # the same files elsewhere
    with (tmp_path / "tiny" / "tiny.inter").open("a") as file:
        file.write("u1\ti1\t1\t1005000000\n")
    assert board.narrow(**moved).tasks[0].identity != one.identity


def test_identity_follows_the_files_that_options_name(small, tmp_path):
    vectors = tmp_path / "vectors.npy"
    encoder = [{"name": "file", "path": str(vectors)}]
    board = read_board("paper").narrow(rows=["CoNRec"], **{"tokenizer.encoder": encoder})
    seen = set()
    for content in (None, [1.0], [2.0]):  # absent, there, changed
        if content:
            np.save(vectors, content)
        seen.add(records.identify(board.tasks[0].config, registry.find_model("CoNRec")))
    assert len(seen) == 3


def test_records_merge_by_copying_and_corrupt_ones_are_named(small, tmp_path):
    folder, options = small
    there = read_board(str(folder / "board.yaml")).narrow(**{**options, "checkpoint_dir": str(tmp_path)})
    said = []
    assert len(schedule.missing(there.tasks, said.append)) == 4 and not said
    for file in (folder / "saved" / "tiny").glob("*/*"):
        if file.name in (records.RESULT, records.OUTCOMES):
            (tmp_path / "tiny" / file.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, tmp_path / "tiny" / file.parent.name)
    assert schedule.missing(there.tasks, said.append) == [] and not said
    first, second, third, _ = there.tasks
    (first.folder / records.RESULT).write_text((first.folder / records.RESULT).read_text()[:500])
    (second.folder / records.OUTCOMES).write_bytes((second.folder / records.OUTCOMES).read_bytes()[:-7])
    record = json.loads((third.folder / records.RESULT).read_text())
    (third.folder / records.RESULT).write_text(json.dumps({**record, "identity": "0"}))
    assert schedule.missing(there.tasks, said.append) == [first, second, third]
    (third.folder / records.RESULT).write_text(json.dumps({**record, "cost": {}}))
    assert "keys are missing" in records.read(third.folder)[1]
    (third.folder / records.RESULT).write_text(json.dumps({**record, "identity": "0"}))
    for task, line in zip((first, second, third), said, strict=True):
        assert str(task.folder) in line and "corrupt" in line or "of another run" in line
    notes = [line.note for line in standings(there)[0].lines]
    assert "not run yet" in notes[0] and "corrupt" in notes[0]


def test_rows_under_different_protocols_share_no_table(small):
    folder, options = small
    board = read_board(str(folder / "board.yaml")).narrow(**options, rows=["Pop"])
    (section,) = standings(board)
    record = section.lines[0].records[5]
    other = records.Record(record.folder, {**record.result, "data_fingerprint": "0" * 64})
    from recbole_conrec.leaderboard.standings import Line, _check_same_data

    with pytest.raises(UserError, match="different data or protocols"):
        _check_same_data([section.lines[0], Line(board.rows[0], records={5: other})], "tiny")


def _hold(folder, told):
    with lock.hold(folder):
        told.send("held")
        signal.pause()


def test_a_lock_ends_with_its_process(tmp_path):
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_hold, args=(tmp_path, there))
    assert not lock.is_held(tmp_path)
    process.start()
    assert here.recv() == "held" and lock.is_held(tmp_path)
    with pytest.raises(lock.Busy, match=f"process {process.pid} on"), lock.hold(tmp_path, patience=0.2):
        pytest.fail("two processes hold one lock")
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not lock.is_held(tmp_path)
    with lock.hold(tmp_path, patience=0):
        assert lock.is_held(tmp_path)


def test_two_boards_share_the_work(small, tmp_path):
    """Two commands at once, on no records; one row has no model."""
    folder, options = small
    board = (folder / "board.yaml").read_text() + "  - {name: Nothing, model: Nope}\n"
    (tmp_path / "two.yaml").write_text(board)
    words = [
        sys.executable,
        "-W",
        "ignore",
        str(ROOT / "run_recbole_conrec.py"),
        "--leaderboard=two.yaml",
        f"--config_files={folder / 'options.yaml'}",
        "--checkpoint_dir=saved",
        "--rows=Pop,Swing,Nothing",
    ]
    boards = [
        subprocess.Popen(
            [*words, f"--out=results{n}"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        for n in (1, 2)
    ]
    printed = [process.communicate()[0] for process in boards]
    assert [process.returncode for process in boards] == [1, 1]  # of the row without a model
    lines = [line for text in printed for line in text.splitlines() if line.startswith("[")]
    for row in ("Pop", "Swing"):
        mine = [line for line in lines if f"] {row} on tiny" in line]
        assert sum("recorded by another process" not in line for line in mine) == 1, mine
    assert all("not available" in text and "Nothing" in text for text in printed)
    tables = [(tmp_path / f"results{n}" / "board.csv").read_text() for n in (1, 2)]
    assert tables[0] == tables[1] and tables[0].count("\ntiny,") == 15


def test_a_row_that_fails_is_told_and_the_others_go_on(small, tmp_path, monkeypatch, board):
    """A model that cannot be made, and one that is recorded."""
    (tmp_path / "my_faulty.py").write_text(
        "from recbole_conrec.model.pop import Pop\n\n\nclass Faulty(Pop):\n"
        "    def __init__(self, *_):\n        raise RuntimeError('no such luck')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "more.yaml").write_text(
        f"extends: {small[0] / 'board.yaml'}\nrows: [{{name: Faulty, model_class: 'my_faulty:Faulty', seeds: 1}}]\n"
    )
    code, printed = board(leaderboard=str(tmp_path / "more.yaml"), rows=["Pop", "Faulty"])
    assert code == 1 and "Faulty on tiny, seed 5: failed: RuntimeError: no such luck" in printed
    assert "terminal.log" in printed and "CandAcc" in printed


def test_a_row_may_be_launched_by_accelerate(small, tmp_path, board):
    (tmp_path / "more.yaml").write_text(
        f"extends: {small[0] / 'board.yaml'}\nrows:\n"
        "  - {name: Large, model: Pop, seeds: 1, options: {train_batch_size: 7},\n"
        "     launch: accelerate launch --num_processes=1 --cpu}\n"
    )
    code, printed = board(leaderboard=str(tmp_path / "more.yaml"), rows=["Pop", "Large"])
    assert code == 0 and "Large on tiny, seed 5: HR@5" in printed
    dry = board(leaderboard=str(tmp_path / "more.yaml"), rows=["Large"], seeds=[9], commands=True, **{"dry-run": True})
    assert dry[1].startswith("accelerate launch --num_processes=1 --cpu -m recbole_conrec --model=Pop")


@pytest.mark.parametrize(
    "source, words",
    [
        ("class Mine(:\n", "importing 'my_broken' failed: SyntaxError"),
        ("import no_such_package\n", "No module named"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("class Other:\n    pass\n", "module 'my_broken' has no 'Mine'"),
    ],
)
def test_a_class_that_cannot_be_imported_is_told(source, words, small, tmp_path, monkeypatch, board):
    (tmp_path / "my_broken.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_broken", raising=False)
    (tmp_path / "more.yaml").write_text(
        f"extends: {small[0] / 'board.yaml'}\nrows: [{{name: Mine, model_class: 'my_broken:Mine'}}]\n"
    )
    code, printed = board(leaderboard=str(tmp_path / "more.yaml"), rows=["Pop", "Mine"])
    assert code == 1 and "Mine: not available" in printed and words in printed
    with pytest.raises(UserError, match="'Mine': not available"):
        compare.from_board(read_board(str(tmp_path / "more.yaml")).narrow(**small[1]), ("Pop", "Mine"), "tiny", "HR@5")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--leaderboard=papre"], "unknown board 'papre'; did you mean 'paper'"),
        (["--leaderboard=paper", "--jobs=many"], "--jobs=many"),
        (["--leaderboard=paper", "--commands"], "--dry-run"),
        (["--leaderboard=paper", "--dry-run", "--rows=Casar"], "did you mean 'Caser'"),
        (["--leaderboard=paper", "--dry-run", "--datasets=ml-100k"], "--dataset=A,B"),
        (["--leaderboard=quick", "--dry-run", "--rows="], "--rows= says nothing"),
        (["--leaderboard=quick", "--dry-run", "--dataset=ml-100"], "ml-100.inter: there is no such file"),
        (["--leaderboard=quick", "--dry-run", "--epochz=2"], "row 'Pop': unknown option 'epochz'"),
        (["compare", "A"], "usage"),
        (["compare", "SASRec", "Caser", "--datasets=ml-100k"], "--dataset=A,B"),
        (["study", "metrics", "--datasets=sim-small"], "--dataset=A,B"),
        (["compare", "SASRec", "Caser", "--dataset=absent"], "absent"),
    ],
)
def test_mistakes_are_one_line(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and words in error and error.count("\n") == 1
