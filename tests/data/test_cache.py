"""The cache of parsed events: read when it fits, rebuilt when it does not."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from recbole_conrec.data import atomic, cache
from recbole_conrec.data.dataset import NegativeFeedbackDataset
from recbole_conrec.runs.config import make_config
from recbole_conrec.utils import files
from recbole_conrec.utils.errors import UserError


@pytest.fixture
def log(tmp_path):
    """Function (**options) -> the data set `log` of tmp_path, whose rule reads a field of words."""
    rng = np.random.default_rng(5)
    folder = tmp_path / "log"
    folder.mkdir()
    rows = [
        f"u{rng.integers(9)}\ti{rng.integers(30)}\t{rng.choice(['skip', 'like', 'hate'])}\t{second}\t{second % 7}"
        for second in range(400)
    ]
    rows[100] = ""  # a blank line
    head = "user_id:token\titem_id:token\tevent:token\ttimestamp:float\tplace:float"
    (folder / "log.inter").write_text("\n".join([head, *rows]) + "\n")

    def load(**options):
        rules = {"feedback": {"negative": "event == hate", "positive": "event == like"}, "split": {"by": "user"}}
        fixed = {"data_path": str(tmp_path), "checkpoint_dir": str(tmp_path / "saved"), "use_gpu": False}
        return NegativeFeedbackDataset(make_config("Pop", "log", options={**rules, **fixed, **options}))

    load.inter, load.cache = folder / "log.inter", tmp_path / "saved" / "events"
    return load


def facts(dataset):
    log = dataset.log
    tokens = [list(dataset.field2id_token[field]) for field in (dataset.uid_field, dataset.iid_field)]
    return [
        log.user.tolist(),
        log.item.tolist(),
        log.time.tolist(),
        log.feedback.tolist(),
        tokens,
        dataset.field2type,
        dataset.truth("test").candidates[:].tolist(),
    ]


def parses(monkeypatch) -> list:
    """The files that are parsed from now on."""
    seen, read = [], atomic.read_columns
    monkeypatch.setattr(atomic, "read_columns", lambda path, *rest: seen.append(path.name) or read(path, *rest))
    return seen


def test_a_second_run_reads_no_text_and_sees_the_same(log, monkeypatch):
    first = facts(log())
    seen = parses(monkeypatch)
    assert facts(log()) == first and seen == []
    assert len(first[0]) == 399


def test_fields_that_recbole_filters_by_are_kept(log, monkeypatch):
    some = {"val_interval": {"place": "[3,inf)", "event": ["like", "hate"]}}
    first = facts(log(**some))
    seen = parses(monkeypatch)
    assert facts(log(**some)) == first and seen == []
    assert 100 < len(first[0]) < 200


def test_a_field_of_the_rules_is_there_when_recbole_filters_by_it(log):
    everything = log()
    some = log(val_interval={"event": ["like", "hate"]})  # the same fields are read, another one is kept
    assert len(some.log) == (everything.log.feedback != 0).sum()


def test_missing_words_are_kept(log, monkeypatch):
    log.inter.write_text(log.inter.read_text().replace("\tskip\t", "\t\t"))
    some = {"val_interval": {"event": ["like", "hate"]}}
    first = facts(log(**some))
    seen = parses(monkeypatch)
    assert facts(log(**some)) == first and seen == []


def test_another_content_or_rule_is_another_cache(log, monkeypatch):
    first = log()
    seen = parses(monkeypatch)
    other = log(feedback={"negative": "event in [hate, skip]", "positive": "event == like"})
    assert (other.log.feedback == -1).sum() > (first.log.feedback == -1).sum()
    text = log.inter.read_text()
    log.inter.write_text(text.replace("\thate\t", "\tlike\t", 1))
    assert (log().log.feedback == -1).sum() == (first.log.feedback == -1).sum() - 1
    assert seen == ["log.inter"] * 2
    log.inter.write_text(text)
    assert facts(log()) == facts(first) and seen == ["log.inter"] * 2


def damage(file, how):
    content = bytearray(file.read_bytes())
    if how == "flipped":
        column = content.index(np.arange(5, dtype=np.int64).tobytes())  # the times
        content[column + 9] ^= 1
    file.write_bytes(content[: int(len(content) * how)] if isinstance(how, float) else content)


@pytest.mark.slow
@pytest.mark.parametrize("how", [0.0, 0.1, 0.5, 0.99, "flipped"])
def test_half_a_file_is_rebuilt(log, how, monkeypatch):
    first = facts(log())
    (file,) = log.cache.iterdir()
    whole = file.read_bytes()
    damage(file, how)
    seen = parses(monkeypatch)
    assert facts(log()) == first and seen == ["log.inter"]
    assert file.read_bytes() == whole


def test_a_file_under_a_wrong_name_is_rebuilt(log, monkeypatch):
    log()
    (file,) = log.cache.iterdir()
    log.inter.write_text(log.inter.read_text().replace("\thate\t", "\tlike\t", 9))
    changed = facts(log())
    (other,) = set(log.cache.iterdir()) - {file}
    other.write_bytes(file.read_bytes())
    seen = parses(monkeypatch)
    assert facts(log()) == changed and seen == ["log.inter"]


def test_a_run_killed_while_writing_leaves_nothing_that_is_read(tmp_path, monkeypatch):
    events = pd.DataFrame({"user": pd.Categorical(["b", "a", "b"]), "time": [3, 1, 2]})
    file = tmp_path / "events" / "x.arrow"

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(files.os, "replace", die)
        cache.save(file, "k", events)
    assert not list(file.parent.iterdir()) and cache.load(file, "k") is None
    cache.save(file, "k", events)
    pd.testing.assert_frame_equal(cache.load(file, "k"), events)
    assert cache.load(file, "other") is None
    with pa.ipc.open_file(str(file)) as stored:  # no pickle: plain Arrow
        assert stored.schema.names == ["user", "time"]


def test_a_folder_that_takes_no_file_is_named(log, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="events cannot be kept.*checkpoint_dir"):
        log(checkpoint_dir=str(tmp_path / "file"))
