"""Files of a data set that are not what their names say: one line that names the file, and never a run without them."""

import os

import numpy as np
import pytest

from recbole_conrec.cli import main
from recbole_conrec.data.dataset import NegativeFeedbackDataset
from recbole_conrec.runs.config import make_config

HEAD = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
ITEMS = "item_id:token\ttitle:token_seq\n" + "".join(f"i{n}\ttitle {n}\n" for n in range(7))
OPTIONS = "feedback: {negative: 'rating <= 2', positive: 'rating >= 4'}\nwindow: {unit: days, length: 3}\n"


@pytest.fixture
def folder(tmp_path):
    """A data set of 300 events of 6 users and 7 items."""
    random = np.random.default_rng(0)
    drawn = zip(*(random.integers(n, size=300) for n in (6, 7, 2)), strict=True)
    rows = (f"u{u}\ti{i}\t{1 + 4 * y}\t{1_600_000_000 + n * 7200}\n" for n, (u, i, y) in enumerate(drawn))
    made = tmp_path / "data" / "d"
    made.mkdir(parents=True)
    for suffix, text in {"inter": HEAD + "".join(rows), "item": ITEMS, "yaml": OPTIONS}.items():
        (made / f"d.{suffix}").write_text(text)
    return made


def inspect(folder, capsys, *options) -> str:
    """What is wrong with a data set: one line, or nothing."""
    code = main(["inspect", "d", f"--data_path={folder.parent}", *options])
    error = capsys.readouterr().err
    assert (code, error) == (0, "") or (code == 2 and error.startswith("error: ") and error.count("\n") == 1)
    return error.removeprefix("error: ")


@pytest.mark.parametrize("suffix", ["inter", "item", "yaml"])
def test_what_is_no_file_is_named(folder, suffix, capsys):
    file = folder / f"d.{suffix}"
    file.unlink()
    file.mkdir()
    assert inspect(folder, capsys) == f"{file}: a folder; expected a file. Rename or remove it\n"
    for target in ("/nowhere", file.name):
        file.rmdir() if file.is_dir() else file.unlink()
        os.symlink(target, file)
        assert f"{file}: a link that leads nowhere; expected a file" in inspect(folder, capsys)


@pytest.mark.slow
def test_marks_line_ends_and_a_missing_last_one(folder, capsys):
    """They change nothing of what is read."""
    assert inspect(folder, capsys) == ""

    def read():
        config = make_config(
            "Pop", "d", options={"data_path": str(folder.parent), "checkpoint_dir": str(folder.parent)}
        )
        data = NegativeFeedbackDataset(config)
        titles = data.item_feat["title"].tolist()
        return data.log, titles, data.options

    log, *others = read()
    for change in (
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.rstrip("\n"),
    ):
        for file in folder.iterdir():
            before = file.read_text()
            file.write_bytes(change(before).encode())
            again, *same = read()
            assert same == others, file
            for name in ("user", "item", "time", "feedback"):
                np.testing.assert_array_equal(getattr(again, name), getattr(log, name), err_msg=str(file))
            file.write_text(before)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["inter", "item"])
@pytest.mark.parametrize(
    "change, words",
    [
        (lambda text: text.partition("\n")[0].encode(), "it has a header but no rows"),
        (lambda text: (text.partition("\n")[0] + "\n").encode(), "it has a header but no rows"),
        (lambda text: b"", "row 1: it is empty; expected a header"),
        (lambda text: text.replace("i3", "i3\0", 1).encode(), "expected an id, without control characters"),
        (lambda text: text.encode("utf-16"), "not utf-8 text, but utf-16; set `encoding: utf-16`"),
        (lambda text: text.encode("utf-16-le"), "it has characters 0; is it UTF-16?"),
        (lambda text: text.replace("i3", "é", 1).encode("latin-1"), "not utf-8 text"),
    ],
)
def test_a_damaged_file_is_named(folder, suffix, change, words, capsys):
    file = folder / f"d.{suffix}"
    file.write_bytes(change(file.read_text()))
    error = inspect(folder, capsys)
    assert str(file) in error and words in error


@pytest.mark.slow
def test_an_unknown_option_beside_the_files_is_named(folder, capsys):
    file = folder / "d.yaml"
    file.write_text(OPTIONS + "windw: {length: 9}\n")
    assert inspect(folder, capsys).startswith(f"{file}: unknown option 'windw'; did you mean 'window'")
    file.write_text(OPTIONS + "stages: []\nlearning_rate: 0.1\nlr_warmup_steps: 3\nnon_neg: true\n")
    assert "unknown option 'lr_warmup_steps'" in inspect(folder, capsys)
    file.write_text(OPTIONS + "stages: []\nlearning_rate: 0.1\n")  # those of any method may be there
    assert inspect(folder, capsys) == ""
