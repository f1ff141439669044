"""Disks that are full or cannot be written, and what killed processes leave."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import forked
import pytest
import tinylog

from recbole_conrec.cli import COMMANDS, main
from recbole_conrec.runs import failures, runner
from recbole_conrec.subcommands import Command
from recbole_conrec.utils import files
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import replacing, replacing_folder, write_text

ROOT = Path(__file__).parent.parent


@pytest.fixture
def words(tiny_path, tmp_path, monkeypatch):
    """A command line of a short run, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    options = {**tinylog.OPTIONS, "data_path": str(tiny_path), "gpu_id": "", "topk": [5], "valid_metric": "HR@5"}
    options |= {"show_progress": False, "epochs": 2}
    return ["--model=SASRec", "--dataset=tiny", *(f"--{key}={value}" for key, value in options.items())]


def temporary(folder: Path) -> list[Path]:
    return [file for file in folder.rglob(".*") if file.name.startswith(".")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("last.pt", errno.ENOSPC),
        ("model.safetensors", errno.ENOSPC),
        ("spent.json", errno.EDQUOT),
        ("outcomes.parquet", errno.EROFS),
        ("result.json", errno.ENOSPC),
    ],
)
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(words, code, name, monkeypatch, tmp_path, capsys):
    replace = os.replace

    def refuse(source, target):
        if Path(target).name == name:
            raise OSError(code, os.strerror(code))
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "replace", refuse)
        assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and name in error and os.strerror(code) in error
    assert temporary(tmp_path) == []
    assert main(words) == 0 and temporary(tmp_path) == []
    assert not list(tmp_path.rglob(failures.FILE))


@pytest.mark.slow
@pytest.mark.parametrize("size", ["64k", "400k"])
def test_a_disk_that_fills_up(words, size, tmp_path):
    """A real one, of a few hundred KiB; the same command resumes when there is space."""
    (tmp_path / "saved").mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", tmp_path / "saved"], check=False)
    if mounted.returncode:
        pytest.skip("no right to mount a file system")
    try:
        command = [ROOT / "run_recbole_conrec.py", *words]
        full = forked.run(command, tmp_path)
        assert full.returncode == 2 and full.stderr.count("\n") == 1, full.stderr
        assert full.stderr.startswith("error: ") and "No space left" in full.stderr
        assert temporary(tmp_path) == []
        subprocess.run(["mount", "-o", "remount,size=50m", tmp_path / "saved"], check=True)
        again = forked.run(command, tmp_path)
        assert again.returncode == 0, again.stderr
    finally:
        subprocess.run(["umount", tmp_path / "saved"], check=True)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"fit_s": "x"}', '{"fit_s": NaN}', "{}"])
def test_a_damaged_note_of_the_time_spent_does_not_stop_a_run(content, tmp_path):
    (tmp_path / "spent.json").write_text(content)
    with pytest.warns(UserWarning, match=r"spent.json is damaged"):
        assert runner._spent(tmp_path / "spent.json") == 0.0


def test_what_killed_processes_left_is_removed_and_what_lives_is_kept(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / f".a.txt.{files.HOST}.{dead.pid}"
    lives = tmp_path / f".a.txt.{files.HOST}.{os.getppid()}"
    elsewhere = tmp_path / f".a.txt.another_host.{dead.pid}"
    for file in (left, lives, elsewhere):
        file.write_text("half")
    folder = tmp_path / f".f.x1.{files.HOST}.{dead.pid}"
    folder.mkdir()
    write_text(tmp_path / "a.txt", "whole")
    with replacing_folder(tmp_path / "f") as made:
        (made / "b").write_text("b")
    assert {file.name for file in tmp_path.iterdir()} == {"a.txt", "f", lives.name, elsewhere.name}


def test_a_folder_that_was_killed_between_two_renames_is_put_back(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    old = tmp_path / f".f.old-x.{files.HOST}.{dead.pid}"
    (old / "f").mkdir(parents=True)
    (old / "f" / "kept").write_text("")
    with pytest.raises(ZeroDivisionError), replacing_folder(tmp_path / "f"):
        1 / 0  # noqa: B018
    assert [file.name for file in tmp_path.iterdir()] == ["f"] and (tmp_path / "f" / "kept").exists()


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "free some space or give another folder"),
        (errno.EDQUOT, "remove some of your files"),
        (errno.EROFS, "give a folder on a disk that can be written"),
        (errno.EFBIG, "takes files of this size"),
        (errno.EIO, "give a folder on another disk"),
        (errno.EACCES, "give a folder in which you may write"),
        (errno.EPERM, "give a folder in which you may write"),
    ],
)
def test_each_fault_has_a_remedy_of_its_own(code, remedy, tmp_path, capsys, monkeypatch):
    fault = OSError(code, os.strerror(code), str(tmp_path / "a.bin"))
    with pytest.raises(UserError) as error, replacing(tmp_path / "a.bin"):
        raise fault
    assert os.strerror(code) in str(error.value) and remedy in str(error.value)
    assert "free some space" not in str(error.value) or code == errno.ENOSPC

    def fail(argv):  # not by one of our own writers
        raise fault

    monkeypatch.setitem(COMMANDS, "inspect", Command(fail, "", ""))
    assert main(["inspect", "x"]) == 2
    error = capsys.readouterr().err
    assert os.strerror(code) in error and error.count("\n") == 1
    assert (remedy if code in files.REMEDIES else "give another file or folder") in error


def test_a_file_that_may_not_be_read_is_no_fault_of_the_folder_that_is_written(tmp_path):
    with pytest.raises(PermissionError), replacing(tmp_path / "out" / "a.bin"):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "in" / "raw.csv"))


@pytest.mark.parametrize(
    "error", [RuntimeError("[enforce fail] PytorchStreamWriter failed writing file"), OSError(errno.ENOSPC, "full")]
)
def test_whatever_library_writes(error, tmp_path):
    with pytest.raises(UserError, match=r"a.bin: cannot be written"), replacing(tmp_path / "a.bin") as temporary:
        temporary.write_bytes(b"half")
        raise error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["--model=Pop", "--dataset=ml-10k"],
        ["--model=Pop", "--dataset=.."],
        ["--model=Pop", "--dataset="],
        ["--model=Pop", "--dataset", ""],
        ["--model=Pop", "--dataset=null"],
        ["--model=Pop", "--dataset=''"],
        ["--model=Pop", "--window.length= "],
        ["--model=Pop", "--data_path=''"],
        ["--model="],
        ["--leaderboard="],
        ["explain", "--model=CoNRec", "--user="],
        ["convert", "generic", "--raw="],
        ["inspect", ""],
        ["--model=Pop", "--dataset=../up"],
        ["--model=Pop", "--dataset=a/b"],
        ["--model=Pop", "--dataset=" + "x" * 300],
        ["--model=Popp"],
        ["--model=Pop", "--feedback={negative: 'stars <= 2'}"],
        ["--model=CoNRec", "--normalise=foo"],
        ["--model=CoNRec", "--use_gpu=maybe"],
        ["--model=CoNRec", "--swing.theta=.nan"],
        ["--model=Pop", "--seed=4294967296"],
        ["--model=Pop", "--candidate_seed=99999999999999999999"],
        ["--model=Pop", "--window={unit: days, unit: events}"],
        ["--model=Pop", "--window=&a {unit: *a}"],
        ["inspect", "ml-10k"],
        ["--leaderboard=quick", "--dataset=ml-10k"],
    ],
)
def test_typos_are_one_line_and_leave_nothing_behind(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_more_candidates_than_items_are_one_line_and_no_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["--model=Pop", "--candidates=10000000"]) == 2
    assert "candidates: 10000000; expected at most 1682" in capsys.readouterr().err
    assert [file.name for file in (tmp_path / "saved").iterdir()] == ["events"]  # the cache of the data


def test_a_failure_leaves_earlier_folders_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "saved" / "mine").mkdir(parents=True)
    assert main(["--model=Pop", "--feedback={negative: 'stars <= 2'}"]) == 2
    assert [file.name for file in (tmp_path / "saved").iterdir()] == ["mine"]


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["head -n 1"])
def test_output_that_nobody_reads_is_no_traceback(reader, tmp_path):
    command = f"{sys.executable} {ROOT / 'run_recbole_conrec.py'} --help | {reader}"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.stderr == ""
    done = subprocess.run(
        f"{command.partition('|')[0]} > /dev/full", shell=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 5"), "it was asked for more than"),
        (MemoryError("Unable to allocate 74.5 GiB for an array"), "74.5 GiB at once"),
        (MemoryError(), "it was asked for more than"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "2.00 GiB at once"),
    ],
)
def test_a_lack_of_memory_is_one_line(error, words, capsys, monkeypatch):
    def fail(argv):
        raise error

    monkeypatch.setitem(COMMANDS, "inspect", Command(fail, "", ""))
    assert main(["inspect", "x"]) == 2
    found = capsys.readouterr().err
    assert found.startswith("error: no memory left") and words in found and found.count("\n") == 1
