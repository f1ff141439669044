"""The inspection's figures against slow obvious loops; each warning fires on its own number."""

import io
import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import roc_auc_score

from recbole_conrec.data.events import EXPOSURE, NEGATIVE, POSITIVE, EventLog
from recbole_conrec.data.inspection.measure import RATIOS, K, _loads, inspect
from recbole_conrec.data.inspection.report import draw, render
from recbole_conrec.data.inspection.warnings import findings
from recbole_conrec.evaluation.metrics.lif import LIF

DAY = 86_400


@pytest.fixture(scope="module")
def seen(tiny_dataset):
    return inspect(tiny_dataset)


def test_counts(tiny_dataset, seen):
    log = tiny_dataset.log
    assert seen.counts["events"] == len(log) == sum(seen.counts[k] for k in ("negatives", "positives", "exposures"))
    for user in range(1, log.n_users):
        rows = np.flatnonzero(log.user == user)
        assert seen.per_user["events"][user - 1] == len(rows)
        assert seen.per_user["negatives"][user - 1] == (log.feedback[rows] == NEGATIVE).sum()
        assert seen.active_days[user - 1] == len({time // DAY for time in log.time[rows].tolist()})
        assert seen.days[user - 1] == pytest.approx((log.time[rows].max() - log.time[rows].min()) / DAY)
    assert seen.per_item["negatives"].sum() == seen.counts["negatives"]


def test_gaps_and_ties(tiny_dataset, seen):
    log = tiny_dataset.log
    gaps, tied = [], 0
    for user in range(1, log.n_users):
        times = log.time[log.user == user].tolist()
        bad = log.time[(log.user == user) & (log.feedback == NEGATIVE)].tolist()
        gaps += [later - earlier for earlier, later in itertools.pairwise(bad)]
        tied += sum(times.count(time) > 1 for time in times)
    assert sorted(seen.gaps.tolist()) == sorted(gaps)
    assert seen.tied == pytest.approx(tied / len(log))


def test_parts(tiny_dataset, seen):
    log, train = tiny_dataset.log, tiny_dataset.train_mask
    for name, part in tiny_dataset.splits.items():
        truth = tiny_dataset.truth(name)
        sizes = np.diff(truth.f_ptr)
        figures = seen.parts[name]
        assert figures.instances == len(part) and figures.future_size.tolist() == sizes.tolist()
        assert figures.followed == pytest.approx((sizes > 1).mean())
        has_tail = [truth.long_tail[items].any() for items in np.split(truth.f_items, truth.f_ptr[1:-1])]
        assert figures.long_tail == pytest.approx(np.mean(has_tail))
        lif = LIF().values(SimpleNamespace(items=np.zeros((len(part), 1), dtype=int)), truth, 1)
        assert figures.long_tail == pytest.approx(np.mean(~np.isnan(lif)))  # the instances that LIF is over
        assert figures.low_activity == pytest.approx(truth.low_activity.mean())
        known = set(log.item[train].tolist())
        hated = set(log.item[train & (log.feedback == NEGATIVE)].tolist())
        assert figures.unseen == pytest.approx(np.mean([item not in known for item in part.item.tolist()]))
        assert figures.undisliked == pytest.approx(np.mean([item not in hated for item in part.item.tolist()]))
        shown = [(log.feedback[b:e] == EXPOSURE).sum() >= 19 for b, e in zip(part.begin, part.end, strict=True)]
        assert figures.exposed == pytest.approx(np.mean(shown))


def test_popularity_hit(tiny_dataset, seen):
    log, test = tiny_dataset.log, tiny_dataset.splits["test"]
    counts = np.zeros(log.n_items)
    for row in np.flatnonzero(tiny_dataset.train_mask & (log.feedback == NEGATIVE)):
        counts[log.item[row]] += 1
    hits = []
    for item, begin, end in zip(test.item, test.begin, test.end, strict=True):
        own = set(log.item[begin:end][log.feedback[begin:end] == NEGATIVE].tolist())
        ranked = sorted((i for i in range(1, log.n_items) if i not in own), key=lambda i: (-counts[i], i))
        hits.append(item in ranked[:K] and counts[item] > 0)
    assert seen.popularity_hit == pytest.approx(np.mean(hits))


def test_item_auc(tiny_dataset, seen):
    log = tiny_dataset.log
    train = tiny_dataset.train_mask & (log.feedback != EXPOSURE)
    mean = (log.feedback[train] == NEGATIVE).mean()
    score, label = [], []
    for row in np.flatnonzero((log.time >= tiny_dataset.cuts.test_start[log.user]) & (log.feedback != EXPOSURE)):
        own = train & (log.item == log.item[row])
        score.append(((log.feedback[own] == NEGATIVE).sum() + 5 * mean) / (own.sum() + 5))
        label.append(log.feedback[row] == NEGATIVE)
    assert (log.feedback == POSITIVE).any()
    assert seen.item_auc == pytest.approx(roc_auc_score(label, score))


def test_covered(tiny_dataset, seen):
    log, test = tiny_dataset.log, tiny_dataset.splits["test"]
    sizes = np.diff(tiny_dataset.truth("test").f_ptr)
    left = [(log.feedback[e : log.start[u + 1]] == NEGATIVE).sum() for u, e in zip(test.user, test.end, strict=True)]
    assert seen.covered == pytest.approx(np.mean(np.minimum(sizes / left, 1)))


def healthy(seen):
    """The same figures, all of them such that no warning is raised."""
    parts = {
        name: replace(
            part,
            instances=5000,
            followed=0.5,
            low_activity=0.2,
            unseen=0.0,
            exposed=0.9,
            future_size=np.array([1, 2, 3]),
        )
        for name, part in seen.parts.items()
    }
    return replace(
        seen,
        parts=parts,
        split_by="time",
        cuts=False,
        context="negative",
        user_ratio=(0.7, 0.1, 0.2),
        window=("days", 7),
        active_days=np.full_like(seen.active_days, 10),
        tied=0.0,
        covered=0.5,
        popularity_hit=0.05,
        item_auc=0.6,
        without_text=0.0,
        counts=seen.counts | {"negatives": 100, "positives": 900},
    )


def change_test(seen, **changes):
    return replace(seen, parts=seen.parts | {"test": replace(seen.parts["test"], **changes)})


@pytest.mark.parametrize(
    "name, change, number, fix",
    [
        ("few test instances", lambda s: change_test(s, instances=100), "100 test instances", "split.ratio"),
        ("bursty", lambda s: replace(s, active_days=np.ones_like(s.active_days)), "100% of the users", "by: user"),
        ("window covers nothing", lambda s: change_test(s, followed=0.01), "1.0%", "window.length"),
        (
            "window covers everything",
            lambda s: change_test(replace(s, covered=0.99), future_size=np.array([9, 9])),
            "99%",
            "window.length",
        ),
        ("items never seen", lambda s: change_test(s, unseen=0.4), "40%", "content"),
        ("popularity decides", lambda s: replace(s, popularity_hit=0.6, chance_hit=0.01), "60.0%", "Pop"),
        ("items decide", lambda s: replace(s, item_auc=0.95), "0.95", "Pop"),
        ("thin histories", lambda s: change_test(s, low_activity=0.9), "90%", "context: both"),
        (
            "negatives are not sparse",
            lambda s: replace(s, counts=s.counts | {"negatives": 500, "positives": 500}),
            "50%",
            "feedback.negative",
        ),
        ("ties", lambda s: replace(s, tied=0.5), "50%", "seconds"),
        ("few exposures", lambda s: change_test(s, exposed=0.2), "80%", "log what was shown"),
        ("items without text", lambda s: replace(s, without_text=0.3), "30%", "item_text"),
        ("items without text", lambda s: replace(s, without_text=None), "all the items", "add a .item file"),
        ("no positives", lambda s: replace(s, counts=s.counts | {"positives": 0}), "no event", "feedback.positive"),
    ],
)
def test_each_warning_fires_alone_and_names_number_and_fix(seen, name, change, number, fix):
    good = healthy(seen)
    assert findings(good) == []
    (found,) = findings(change(good))
    assert found.name == name
    assert number in found.what and fix in found.fix


def test_nothing_is_advised_that_is_so_already(seen):
    bursts = replace(healthy(seen), active_days=np.ones_like(seen.active_days))
    (found,) = findings(replace(bursts, split_by="user"))
    assert found.fix == "window: {unit: events, length: 20}" and "a cut in time" not in found.what
    (found,) = findings(replace(bursts, window=("events", 20)))
    assert found.fix == "split: {by: user, ratio: [0.7, 0.1, 0.2]}" and "window" not in found.what
    (found,) = findings(replace(change_test(healthy(seen), unseen=0.4), split_by="user"))
    assert "by: user" not in found.fix
    (found,) = findings(replace(change_test(healthy(seen), low_activity=0.9), context="both"))
    assert "context" not in found.fix
    few = change_test(healthy(seen), followed=0.01)
    (found,) = findings(replace(few, window=("events", 20)))
    assert found.fix == "lengthen `window.length`"
    (found,) = findings(replace(few, window=("days", None)))
    assert "window" not in found.fix
    (found,) = findings(replace(change_test(healthy(seen), instances=100), cuts=True))
    assert "split.cuts" in found.fix and "split.ratio" not in found.fix


def test_what_is_advised_loads(make_tiny, seen):
    _, dataset = make_tiny(
        split={"by": "user", "ratio": list(seen.user_ratio)}, window={"unit": "events", "length": 20}
    )
    assert all(len(part) for part in dataset.splits.values())


def test_a_split_per_user_is_not_advised_where_it_leaves_a_part_empty(seen):
    bursts = replace(healthy(seen), active_days=np.ones_like(seen.active_days), user_ratio=None)
    (found,) = findings(bursts)
    assert found.fix == "window: {unit: events, length: 20}"
    single = EventLog.from_arrays([1, 2, 3], [1, 2, 3], [1, 2, 3], [-1, -1, -1], 4, 4)
    three = EventLog.from_arrays([1, 1, 1], [1, 2, 3], [1, 2, 3], [-1, -1, -1], 2, 4)
    assert not any(_loads(single, ratio) for ratio in RATIOS)
    assert [_loads(three, ratio) for ratio in RATIOS] == [False, True, True]


@pytest.mark.slow
@pytest.mark.parametrize("days, scale", [([24, 31, 28], "linear"), ([1, 9], "linear"), ([1, 10], "log")])
def test_days_within_one_decade_have_a_plain_axis(seen, tmp_path, monkeypatch, days, scale):
    figures = []

    def save(figure, path, **_):
        figures.append(figure)
        path.touch()

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", save)
    draw(replace(seen, active_days=np.array([0, *days])), tmp_path)
    axis = next(axis for axis in figures[0].axes if axis.get_title().startswith("Days on which"))
    assert axis.get_xscale() == scale


def test_a_split_per_user_and_windows_of_events_suit_bursts(seen):
    bursts = replace(healthy(seen), active_days=np.ones_like(seen.active_days), split_by="user", window=("events", 20))
    assert findings(bursts) == []


@pytest.mark.slow
def test_the_report_prints_and_draws(seen, tmp_path):
    console = Console(file=io.StringIO(), width=100)
    console.print(render(seen))
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 100
    for word in ("negatives per user", "long-tail item in the window (LIF)", f"{seen.counts['events']:,}", "HR@20"):
        assert word in text
    path = draw(seen, tmp_path / "pictures")
    assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 20_000
