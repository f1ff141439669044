"""The simulator: its bytes are reproducible, and its log obeys the truth it claims."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recbole_conrec.data.simulation import simulate as simulation
from recbole_conrec.data.simulation.catalogue import ATTRIBUTES
from recbole_conrec.data.simulation.oracle import Oracle
from recbole_conrec.utils.errors import UserError

COMMITTED = Path(__file__).parents[2] / "dataset" / "sim-small"


def simulate(out, **options):
    return simulation.simulate(simulation.SimulateOptions.read({"out": str(out), **options}, "simulate"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("sim")
    counts = simulate(out, name="sim", users=300, items=400, seed=1)
    log = pd.read_csv(out / "sim" / "sim.inter", sep="\t")
    log.columns = [name.split(":")[0] for name in log.columns]
    items = pd.read_csv(out / "sim" / "sim.item", sep="\t")
    return counts, log, items, Oracle.load(out / "sim")


def test_the_committed_log_comes_from_the_default_options(tmp_path):
    simulate(tmp_path)
    names = sorted(file.name for file in COMMITTED.iterdir())
    assert names == sorted(file.name for file in (tmp_path / "sim-small").iterdir())
    for name in names:
        assert (COMMITTED / name).read_bytes() == (tmp_path / "sim-small" / name).read_bytes(), name
    assert sum(file.stat().st_size for file in COMMITTED.iterdir()) < 500_000


def test_another_seed_makes_another_log(tmp_path):
    for seed in (1, 2):
        simulate(tmp_path, name=f"s{seed}", users=20, items=30, seed=seed)
    assert (tmp_path / "s1" / "s1.inter").read_bytes() != (tmp_path / "s2" / "s2.inter").read_bytes()


def test_negatives_are_sparse_and_the_log_is_in_time_order(made):
    counts, log, _, _ = made
    assert counts["negatives"] == (log.feedback == -1).sum() > 500
    assert counts["negatives"] <= counts["positives"] / 5
    assert (log.timestamp.diff().dropna() >= 0).all()
    assert (log.timestamp.max() - log.timestamp.min()) / 86_400 > 49
    assert log.timestamp.groupby(log.user_id).diff().dropna().min() >= 1  # one user's events are never simultaneous


def test_users_and_items_have_long_tails(made):
    _, log, _, _ = made
    for column in ("user_id", "item_id"):
        size = log[column].value_counts()
        assert size.iloc[: len(size) // 10].sum() > 0.2 * len(log)
        assert size.max() > 5 * size.median()
    assert (log[log.feedback < 0].user_id.value_counts() < 3).mean() > 0.15


def test_nothing_answered_is_shown_again(made):
    _, log, _, _ = made
    first_answer = log[log.feedback != 0].groupby(["user_id", "item_id"]).timestamp.min().rename("answered")
    again = log.join(first_answer, on=["user_id", "item_id"])
    assert not (again.timestamp > again.answered).any()
    assert log.duplicated(["user_id", "item_id"]).any()  # while a mere exposure may return


def test_items_appear_during_the_log(made):
    _, log, _, _ = made
    first = log.groupby("item_id").timestamp.min()
    late = first > log.timestamp.min() + 28 * 86_400
    assert 0.03 < late.mean() < 0.3


def test_the_truth_explains_the_negatives_and_not_the_noise(made):
    _, log, _, oracle = made
    users, items = oracle.rows("user", log.user_id), oracle.rows("item", log.item_id)
    known = oracle.dislike_probability(users, items[:, None], log.timestamp.to_numpy())[:, 0]
    # the log holds the truth as the session began, the oracle is asked a few minutes later
    np.testing.assert_allclose(known, oracle.event_dislike, atol=5e-3)
    negative = (log.feedback == -1).to_numpy()
    assert not (oracle.event_noise & ~negative).any()
    honest = negative & ~oracle.event_noise
    assert known[honest].mean() > 0.6
    assert known[oracle.event_noise].mean() < 0.3
    assert 0.05 < oracle.event_noise.sum() / negative.sum() < 0.15


def test_the_oracle_is_the_formula(made):
    _, _, _, oracle = made
    user, item, time = 7, 11, oracle.span[0] + 1_000_000
    share = 1_000_000 / (oracle.span[1] - oracle.span[0])
    strength = sum(
        (1 - share) * float(oracle.dislike_start[user, a]) + share * float(oracle.dislike_end[user, a])
        for a in oracle.item_attributes[item]
    )
    expected = 1 / (1 + np.exp(-5 * (strength - 1)))
    found = oracle.dislike_probability(np.array([user]), np.array([[item]]), np.array([time]))
    assert found[0, 0] == pytest.approx(expected, abs=1e-6)


def test_dislikes_are_not_likes_reversed_and_they_drift(made):
    _, _, _, oracle = made
    likes = (oracle.like_start > 0) | (oracle.like_end > 0)
    dislikes = (oracle.dislike_start > 0) | (oracle.dislike_end > 0)
    assert not (likes & dislikes).any()
    assert (~(likes | dislikes)).mean() > 0.5  # most attributes leave a user cold
    kept = ((oracle.dislike_start > 0) & (oracle.dislike_end > 0)).sum() / (oracle.dislike_start > 0).sum()
    assert kept == pytest.approx(0.7, abs=0.05)
    # liked and disliked attributes meet in one item
    like = likes[:, oracle.item_attributes].any(2)
    dislike = dislikes[:, oracle.item_attributes].any(2)
    assert (like & dislike).mean() > 0.1


def test_attributes_can_be_read_in_the_title(made):
    _, _, items, oracle = made
    for row in range(len(items)):
        words = [ATTRIBUTES[code].split(":")[1] for code in oracle.item_attributes[row, 1:]]
        assert all(word in items["title:token_seq"][row] for word in words)
    assert items["title:token_seq"].nunique() > 0.95 * len(items)


def test_the_recommender_shows_what_is_liked(made):
    _, log, _, oracle = made
    users, items = oracle.rows("user", log.user_id), oracle.rows("item", log.item_id)
    strength = oracle.like_start[users[:, None], oracle.item_attributes[items]].sum(1)
    at_random = oracle.like_start[users[:, None], oracle.item_attributes[np.random.default_rng(0).permutation(items)]]
    assert strength.mean() > 1.15 * at_random.sum(1).mean()


def test_blocks_of_users_do_not_change_what_is_promised(tmp_path, monkeypatch):
    monkeypatch.setattr("recbole_conrec.data.simulation.simulate.BLOCK", 900)
    simulate(tmp_path, name="blocks", users=100, items=30)
    log = pd.read_csv(tmp_path / "blocks" / "blocks.inter", sep="\t")
    assert log["user_id:token"].nunique() == 100
    assert log["timestamp:float"].is_monotonic_increasing
    assert len(Oracle.load(tmp_path / "blocks").like_start) == 100


@pytest.mark.parametrize(
    "options, words",
    [
        ({"users": 0}, "users: 0; expected a whole number of at least 1"),
        ({"drift": 2}, "drift: 2; expected a number of at least 0 and at most 1"),
        ({"items": 5}, "items: 5"),
        ({"name": "a/b"}, "name: 'a/b'; expected letters"),
        ({"users": "abc"}, "users: 'abc'; expected a whole number"),
        ({"users": 50.5}, "users: 50.5; expected a whole number"),
        ({"seed": -1}, "seed: -1"),
        ({"seed": True}, "seed: True"),
        ({"sessions": "many"}, "sessions: 'many'"),
        ({"noise": float("nan")}, "noise: nan"),
        ({"negative_ratio": 0}, "negative_ratio: 0; expected a number of at least 0.001"),
        ({"overwrite": "abc"}, "overwrite: 'abc'; expected true or false"),
        ({"user": 5}, "unknown option 'user'; did you mean 'users'"),
    ],
)
def test_wrong_options_are_named(tmp_path, options, words):
    with pytest.raises(UserError, match=f"simulate.* {words}|simulate.{words}"):
        simulate(tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_data_set_is_kept_unless_it_is_overwritten(tmp_path):
    simulate(tmp_path, users=5, items=20)
    with pytest.raises(UserError, match="pass --overwrite to replace it, or another --name"):
        simulate(tmp_path, users=5, items=20)
    simulate(tmp_path, users=6, items=20, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["sim-small"]


def test_a_log_without_truth_is_refused(tmp_path):
    (tmp_path / "real").mkdir()
    with pytest.raises(UserError, match="only simulated"):
        Oracle.load(tmp_path / "real")
