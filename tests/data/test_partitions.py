"""A log in partitions on disk is the log in memory: its events, its counts and its Swing neighbours, bit by bit."""

import numpy as np
import pytest

from recbole_conrec.data import partitions as module
from recbole_conrec.data.events import NEGATIVE, EventLog
from recbole_conrec.data.feedback import FeedbackRules
from recbole_conrec.data.partitions import Partitions, write_partitions
from recbole_conrec.data.swing import SwingOptions, swing_of
from recbole_conrec.data.swing_on_disk import swing_of_partitions
from recbole_conrec.utils.errors import UserError

RULES = FeedbackRules.read({"negative": "rating <= 2", "positive": "rating >= 4"}, "feedback")
EVENTS, USERS, ITEMS = 3000, 90, 60


@pytest.fixture(scope="module")
def columns():
    """User, item, time and rating of each event, with many ties and repeated pairs; not in order of time."""
    rng = np.random.default_rng(5)
    sizes = rng.permutation(USERS), rng.permutation(ITEMS)
    user, item = (names[(rng.power(0.4, EVENTS) * len(names)).astype(int)] for names in sizes)
    return user, item, rng.integers(0, 40, EVENTS) + 10**9, rng.integers(1, 6, EVENTS)


@pytest.fixture(scope="module")
def whole(columns):
    """The log in memory, with numbers in order of appearance, as a run gives them."""
    user, item, time, rating = columns
    codes = []
    for names in (user, item):
        known = {}
        codes.append(np.array([known.setdefault(name, len(known) + 1) for name in names]))
    feedback = np.where(rating <= 2, -1, np.where(rating >= 4, 1, 0))
    return EventLog.from_arrays(*codes, time, feedback, codes[0].max() + 1, codes[1].max() + 1)


@pytest.fixture
def inter(columns, tmp_path):
    rows = [f"u{u}\t{r}\ti{i}\t{t}" for u, i, t, r in zip(*columns, strict=True)]
    rows.insert(1000, "\t\t\t")  # an empty line
    head = "user_id:token\trating:float\titem_id:token\ttimestamp:float"
    file = tmp_path / "log.inter"
    file.write_text("\n".join([head, *rows]) + "\n")
    return file


@pytest.fixture
def parted(inter, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 2**12)  # many blocks
    return write_partitions(inter, tmp_path / "parts", RULES, parts=7)


def early(log: EventLog) -> np.ndarray:
    return log.time < 10**9 + 30


def test_the_partitions_hold_the_log(parted, whole):
    again = Partitions.load(parted.folder)
    assert again == parted and (parted.n_users, parted.n_items) == (whole.n_users, whole.n_items)
    seen = 0
    for number in range(7):
        part, mine = parted.read(number), whole.user % 7 == number
        for name in ("user", "item", "time", "feedback"):
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[mine])
        seen += len(part)
    assert seen == len(whole) == EVENTS


@pytest.mark.parametrize("keep", [None, early])
def test_counts(parted, whole, keep):
    mask = (whole.feedback == NEGATIVE) & (True if keep is None else keep(whole))
    np.testing.assert_array_equal(parted.dislikes(keep), np.bincount(whole.item[mask], minlength=whole.n_items))


@pytest.mark.parametrize("keep", [None, early])
@pytest.mark.parametrize("caps", [(1000, 1000), (9, 11), (1, 1)])
def test_swing(parted, whole, keep, caps, tmp_path):
    options = SwingOptions(max_user_items=caps[0], max_item_users=caps[1], top=5)
    mask = (whole.feedback == NEGATIVE) & (True if keep is None else keep(whole))
    one, two = swing_of(whole, mask, options), swing_of_partitions(parted, options, keep, tmp_path)
    assert len(one.items) or caps == (1, 1)
    for name in ("ptr", "items", "scores"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert not list(tmp_path.glob("swing-*"))


def test_mistakes(inter, tmp_path):
    lines = inter.read_text().splitlines()
    with pytest.raises(UserError, match="log.inter: there is no field 'when'; it has user_id, rating"):
        write_partitions(inter, tmp_path / "out", RULES, fields=("user_id", "item_id", "when"))
    inter.write_text("\n".join([*lines[:1500], "u1\tthree\ti1\t1000000000"]))
    with pytest.raises(UserError, match=r"row 1501: rating is 'three'; expected a number"):
        write_partitions(inter, tmp_path / "out", RULES)
    both = FeedbackRules.read({"negative": "rating <= 3", "positive": "rating >= 3"}, "feedback")
    inter.write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"row \d+ is both negative and positive"):
        write_partitions(inter, tmp_path / "out", both)
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match=r"no folder of partitions \(about.json is missing"):
        Partitions.load(tmp_path / "out")
