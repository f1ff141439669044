"""Feedback rules that compare with a statistic of the user's training events, against a look at every user."""

import numpy as np
import pandas as pd
import pytest
import yaml

from recbole_conrec.data import atomic
from recbole_conrec.data.convert import convert
from recbole_conrec.data.dataset import NegativeFeedbackDataset
from recbole_conrec.data.feedback import FeedbackRules, Rule
from recbole_conrec.data.inspection.measure import inspect
from recbole_conrec.data.user_statistics import TrainingEvents, UserStatistic
from recbole_conrec.runs.config import make_config
from recbole_conrec.utils.errors import UserError

RULES = {"negative": "rating <= user_median - 1", "positive": "rating >= user_q75 and rating > user_median"}
SPLITS = [{"by": "time"}, {"by": "user"}, {"by": "time", "cuts": [1_000_700_000, 1_000_850_000]}]


# ---- the statistic ----


def slowly(name: str, values: np.ndarray) -> float:
    if name == "user_mean":
        return float(np.mean(values))
    return float(np.quantile(values, 0.5 if name == "user_median" else int(name.removeprefix("user_q")) / 100))


@pytest.mark.parametrize(
    "name", ["user_mean", "user_median", "user_q1", "user_q05", "user_q25", "user_q75", "user_q99"]
)
@pytest.mark.parametrize("seed", range(3))
def test_a_statistic_is_that_of_each_users_training_events(name, seed):
    rng = np.random.default_rng(seed)
    user, values, known = rng.integers(1, 30, 300), rng.choice([0.5, 1, 2.5, 3, 4.1], 300), rng.random(300) < 0.4
    known[user == 7] = False  # a user without training events
    found = UserStatistic.parse(f"{name}-0.5", exact=False).of_users(values, TrainingEvents(user, known, 31))
    for one in range(31):
        own = values[known & (user == one)]
        assert found[one] == pytest.approx(slowly(name, own if len(own) else values[known]) - 0.5, abs=1e-8)


def test_equal_values_are_their_own_mean_and_decimals_are_exact():
    training = TrainingEvents(np.zeros(3, np.int64), np.ones(3, bool), 1)
    events = pd.DataFrame({"rating": [0.1, 0.1, 0.1]})
    assert Rule.parse("rating == user_mean", "negative").mask(events, training).all()
    events = pd.DataFrame({"rating": [0.3, 0.3, 0.2]})  # 0.3 - 0.1 is 0.19999999999999998
    assert Rule.parse("rating == user_median - 0.1", "negative").mask(events, training).tolist() == [0, 0, 1]


def test_no_training_events_at_all_is_an_error():
    training = TrainingEvents(np.zeros(1, np.int64), np.zeros(1, bool), 1)
    with pytest.raises(UserError, match="there are none before the first cut; change `split`"):
        Rule.parse("rating < user_mean", "negative").mask(pd.DataFrame({"rating": [1.0]}), training)


# ---- how it is written ----


@pytest.mark.parametrize(
    "text, quantile, shift",
    [
        ("user_median", 0.5, 0),
        ("user_mean", None, 0),
        ("user_median - 1", 0.5, -1),
        ("user_median -1", 0.5, -1),
        ("user_median- 1", 0.5, -1),
        ("user_median-1", 0.5, -1),
        ("user_q25 + .5", 0.25, 0.5),
        ("user_q5+1e-1", 0.05, 0.1),
    ],
)
def test_spellings(text, quantile, shift):
    rule = Rule.parse(f"rating <= {text} and label == x or rating < 1", "negative")
    (first, second), (third,) = rule.alternatives
    assert first.statistic == UserStatistic(quantile, shift) and str(first) == f"rating <= {text}"
    assert second.statistic is None and third.statistic is None and rule.by_user


def test_words_that_begin_so_stay_words():
    for text in ("source == user_liked", "source == 'user_mean'", "source in [user_mean, x]", "source != user_mean_x"):
        assert not Rule.parse(text, "negative").by_user
    assert Rule.parse("rating == user_mean", "negative").by_user
    events = pd.DataFrame({"source": ["user_liked", "user_mean", "x"]})
    assert Rule.parse("source == user_liked", "negative").mask(events).tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    "text, why",
    [
        ("rating <= user_medain", "unknown statistic 'user_medain'; did you mean 'user_median'"),
        ("rating <= user_avg - 1", "unknown statistic 'user_avg'"),
        ("rating < user_q100", "unknown statistic 'user_q100'; did you mean"),
        ("rating < user_q0", "quantiles from user_q1 to user_q99"),
        ("rating <= user_median - one", "expected a number after 'user_median -' but found 'one'"),
        ("rating <= user_median - inf", "expected a number after 'user_median -'"),
        ("rating <= user_median -", "expected a number after 'user_median -' but found ''"),
        ("rating <= user_median 1", "expected 'and' or 'or' but found '1'"),
    ],
)
def test_a_mistake_is_one_line(text, why):
    with pytest.raises(UserError) as error:
        FeedbackRules.read({"negative": text}, "feedback")
    assert why in str(error.value) and "negative" in str(error.value) and "\n" not in str(error.value)


def test_words_have_no_median():
    training = TrainingEvents(np.zeros(2, np.int64), np.ones(2, bool), 1)
    with pytest.raises(UserError, match="'label < user_median' needs numbers"):
        Rule.parse("label < user_median", "negative").mask(pd.DataFrame({"label": ["1", "x"]}), training)


# ---- in a data set ----


@pytest.fixture
def log(tmp_path):
    """Function (events=None, **options) -> the data set `log`; `log.events` are its rows."""
    rng = np.random.default_rng(11)
    generous = rng.integers(3, 8, 40)
    rows = []
    for second in range(1_000_000_000, 1_001_000_000, 1000):
        user = int(40 * rng.random() ** 2)
        rating = int(np.clip(generous[user] + rng.integers(-3, 4), 1, 10))
        rows.append((f"u{user}", f"i{rng.integers(60)}", rating, second + int(rng.integers(0, 2)) * 1000))
    rows += [("late", f"i{n}", 3 + n % 5, 1_000_990_000 + n) for n in range(9)]  # no training events by time
    (tmp_path / "log").mkdir()

    def load(events=rows, **options) -> NegativeFeedbackDataset:
        lines = [
            "user_id:token\titem_id:token\trating:float\ttimestamp:float",
            *("\t".join(map(str, e)) for e in events),
        ]
        (tmp_path / "log" / "log.inter").write_text("\n".join(lines) + "\n")
        fixed = {"data_path": str(tmp_path), "checkpoint_dir": str(tmp_path / "saved"), "use_gpu": False}
        return NegativeFeedbackDataset(make_config("Pop", "log", options={"feedback": RULES, **fixed, **options}))

    load.events = rows
    return load


def labels(data: NegativeFeedbackDataset) -> list[tuple]:
    """(user, item, time, feedback) of each event in the log's order; only the feedback depends on ratings."""
    users, items = data.field2id_token["user_id"][data.log.user], data.field2id_token["item_id"][data.log.item]
    return list(zip(users, items, data.log.time.tolist(), data.log.feedback.tolist(), strict=True))


@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_labels_are_those_of_a_look_at_every_user(log, split):
    data = log(split=split)
    events = sorted(log.events, key=lambda event: event[3])  # stable: ties keep the file's order
    ratings = {user: [(e[3], e[2]) for e in events if e[0] == user] for user in {e[0] for e in events}}

    def training(user):
        times = [time for time, _ in ratings[user]]
        if split["by"] == "user":
            end = times[int(0.7 * len(times) + 1e-9)]
        else:
            end = split["cuts"][0] if "cuts" in split else events[int(0.7 * len(events))][3]
        return [rating for time, rating in ratings[user] if time < end]

    everybody = [rating for user in ratings for rating in training(user)]
    expected = []
    for user, item, rating, time in events:
        known = training(user) or everybody
        median, high = np.quantile(known, 0.5), np.quantile(known, 0.75)
        expected.append((user, item, time, -1 if rating <= median - 1 else int(rating >= high and rating > median)))
    assert sorted(labels(data)) == sorted(expected)
    assert split["by"] == "user" or not training("late")
    assert {-1, 0, 1} == set(data.log.feedback)


@pytest.mark.parametrize("split", SPLITS, ids=str)
def test_changing_ratings_from_t0_on_moves_no_earlier_label(log, split):
    """Of the user for a split by user, of everybody for a split by time."""
    data = log(split=split)
    rng = np.random.default_rng(0)
    moved = 0
    for part in ("valid", "test"):
        for n in rng.choice(len(data.splits[part]), 3, replace=False):
            one = data.splits[part][n : n + 1]
            user, t0 = data.id2token("user_id", int(one.user[0])), int(one.time[0])
            later = [event[3] >= t0 and (split["by"] == "time" or event[0] == user) for event in log.events]
            changed = [
                (u, i, int(rng.integers(1, 11)) if late else rating, time)
                for late, (u, i, rating, time) in zip(later, log.events, strict=True)
            ]
            before, after = labels(data), labels(log(changed, split=split))
            assert [a[:3] for a in before] == [a[:3] for a in after]
            touched = [time >= t0 and (split["by"] == "time" or who == user) for who, _, time, _ in before]
            differ = [a != b for a, b in zip(before, after, strict=True)]
            assert not any(d and not t for d, t in zip(differ, touched, strict=True))
            moved += sum(differ)
    assert moved  # the labels of what was changed do follow


def test_a_split_by_user_evaluates_nothing_that_a_label_read(log):
    """Dislikes that come early would put the cut, a share of the dislikes, before events that the median reads."""
    early = [("early", f"i{n}", 2 if n in (2, 3, 4, 10) else 6, 1_000_000_500 + n) for n in range(20)]
    data = log([*log.events, *early], split={"by": "user"})
    user = data.token2id("user_id", "early")
    end = 1_000_000_500 + 14  # 70 % of 20 events
    assert data.cuts.valid_start[user] == data.cuts.test_start[user] == end
    fixed = log([*log.events, *early], split={"by": "user"}, feedback={"negative": "rating <= 2"})
    assert fixed.cuts.test_start[fixed.token2id("user_id", "early")] == end - 4  # the last of the dislikes
    for part in ("valid", "test"):
        for one_user, t0 in zip(data.splits[part].user, data.splits[part].time, strict=True):
            own = np.sort(data.log.time[data.log.user == one_user])
            assert t0 >= own[int(0.7 * len(own) + 1e-9)]


def test_the_cache_of_events_fits_every_split(log, monkeypatch):
    first = {str(split): labels(log(split=split)) for split in SPLITS}
    assert len({tuple(found) for found in first.values()}) == 3
    seen, read = [], atomic.read_columns
    monkeypatch.setattr(atomic, "read_columns", lambda path, *rest: seen.append(path.name) or read(path, *rest))
    for split in SPLITS:
        assert labels(log(split=split)) == first[str(split)]
    assert seen == []


def test_the_fingerprint_is_the_rules(log):
    texts = ("rating <= user_median - 1", "rating <= user_median - 2", "rating <= user_mean - 1", "rating <= 3")
    assert len({log(feedback={"negative": text}).fingerprint for text in texts}) == 4


def test_filters_come_before_statistics(log):
    """What is left out by a filter is in no statistic, and a mistake still names its row in the file."""
    data = log(val_interval={"rating": "[4,inf)"})
    kept = log([event for event in log.events if event[2] >= 4])
    assert labels(data) == labels(kept)
    both = {"negative": "rating <= user_median", "positive": "rating == 10"}
    row = next(n for n, event in enumerate(log.events) if event[2] == 10) + 2
    with pytest.raises(UserError, match=f"both match .* events of log.inter, the first in row {row}: make the rules"):
        log(val_interval={"rating": "[10,inf)"}, feedback=both)
    with pytest.raises(
        UserError, match="matches none of the 1009 events of log.inter, where 'rating' runs from 1 to 10"
    ):
        log(feedback={"negative": "rating <= user_median - 20"})


def test_inspect_shows_such_rules(log):
    seen = inspect(log())
    assert seen.counts["negatives"] == int((log().log.feedback == -1).sum())
    assert "user_median - 1" in seen.protocol["feedback"]


def test_a_mapping_may_have_such_rules(log, tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    pd.DataFrame(log.events, columns=["u", "i", "stars", "at"]).to_csv(raw / "log.csv", index=False)
    events = {"files": "log.csv", "user": "u", "item": "i", "time": "at"}
    events["fields"] = {"rating": {"column": "stars", "type": "float"}}
    (tmp_path / "my.yaml").write_text(yaml.safe_dump({"events": events, "feedback": RULES}))
    summary = convert(
        "generic", raw=str(raw), out=str(tmp_path / "out"), dataset="log", mapping=str(tmp_path / "my.yaml")
    )
    assert summary["events"] == len(log.events) and "negatives" not in summary  # a run knows them
    made = log(data_path=str(tmp_path / "out"))
    assert sorted(labels(made)) == sorted(labels(log()))
