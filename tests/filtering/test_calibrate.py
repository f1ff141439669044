"""Thresholds against a search over all of them; the manifest and the filter with them."""

from dataclasses import replace

import numpy as np
import pytest

from recbole_conrec.data.events import EXPOSURE, NEGATIVE, POSITIVE
from recbole_conrec.filtering import NegativeFilter
from recbole_conrec.filtering import folder as layout
from recbole_conrec.filtering.calibrate import CalibrationOptions, calibrate, choose, threshold, thresholds
from recbole_conrec.filtering.future import future_pairs, top_lists
from recbole_conrec.filtering.predict import SetOptions, predict
from recbole_conrec.filtering.sets import moments
from recbole_conrec.utils.errors import UserError


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("share", [0, 0.05, 0.3, 0.99])
def test_the_lowest_theta_that_keeps_the_promise(seed, share):
    rng = np.random.default_rng(seed)
    scores = np.round(rng.uniform(-1, 1, 200), 1 if seed % 2 else 6).astype(np.float32)  # with ties, and without
    scores[rng.random(200) < 0.1] = np.nan
    theta = threshold(scores, share)
    assert np.mean(scores > np.float32(theta)) <= share
    for lower in np.unique(scores[~np.isnan(scores)]):
        if lower < theta - 2e-6:
            assert np.mean(scores >= lower) > share  # dropping this one, too, breaks it
    shaken = np.minimum(scores + rng.choice([-1e-7, 0, 1e-7], 200).astype(np.float32), 1)
    assert np.mean(shaken > np.float32(theta)) <= share


def test_groups_have_their_own_theta_and_small_groups_that_of_all():
    rng = np.random.default_rng(0)
    activity = np.repeat([5, 20, 90], [300, 300, 20])
    scores = np.where(activity == 5, 0.2, 0.6) + rng.uniform(0, 0.3, 620)
    found = thresholds(scores, activity, 0.1, groups=2)
    assert found["bounds"] == [20] and found["own"] == [True, True] and found["n"] == [300, 320]
    assert found["values"][0] < 0.5 < found["values"][1]
    assert all(above <= 0.1 for above in found["above"])
    few = thresholds(scores[-330:], activity[-330:], 0.1, groups=3)
    assert False in few["own"] and few["values"][few["own"].index(False)] == threshold(scores[-330:], 0.1)


@pytest.mark.slow
def test_future_pairs_are_new_to_the_user(trained):
    data, log = trained.data, trained.data.log
    for part, kind in (("valid", POSITIVE), ("test", NEGATIVE), ("test", POSITIVE)):
        t0, expected = moments(data, part), set()
        end = data.cuts.test_start if part == "valid" else np.full(log.n_users, np.iinfo(np.int64).max)
        for user in range(1, log.n_users):
            rows = range(log.start[user], log.start[user + 1])
            known = {log.item[r] for r in rows if log.time[r] < t0[user] and log.feedback[r] != EXPOSURE}
            expected |= {
                (user, log.item[r])
                for r in rows
                if t0[user] <= log.time[r] < end[user] and log.feedback[r] == kind and log.item[r] not in known
            }
        users, items = future_pairs(data, part, kind)
        assert len(users) == len(expected) > 0 and set(zip(users, items, strict=True)) == expected


def test_lists_are_item_item_cosines_of_earlier_likes(trained):
    data, log = trained.data, trained.data.log
    t0 = moments(data, "test")
    early = log.time < t0[log.user]
    likes = np.zeros((log.n_users, log.n_items))
    likes[log.user[early & (log.feedback == POSITIVE)], log.item[early & (log.feedback == POSITIVE)]] = 1
    norm = np.maximum(np.linalg.norm(likes, axis=0), 1)
    similar = (likes.T @ likes) / np.outer(norm, norm)
    np.fill_diagonal(similar, 0)
    users = np.array([1, 8, 30])
    for user, found in zip(users, top_lists(data, users, "test", 15), strict=True):
        scores = likes[user] @ similar
        scores[log.item[early & (log.user == user)]] = 0
        found = found[found > 0]
        assert len(found) == min(15, (scores > 0).sum()) and len(set(found)) == len(found)
        np.testing.assert_allclose(scores[found], np.sort(scores)[::-1][: len(found)], rtol=1e-5)


def test_calibrated_filter_keeps_its_promise_on_validation(trained, sets_copy):
    theta = calibrate(trained, sets_copy, CalibrationOptions(lost=0.2, groups=2))
    assert layout.read_manifest(sets_copy)["theta"] == theta and theta["target"] == {"lost": 0.2}
    negative = NegativeFilter.load(sets_copy)
    assert negative.sets.size == theta["size"] and negative.theta.tolist() == np.float32(theta["values"]).tolist()
    valid = NegativeFilter.load(sets_copy / "valid", theta=1.0)
    valid.theta, valid.bounds, valid.sets = negative.theta, negative.bounds, valid.sets.cut(theta["size"])
    users, items = future_pairs(trained.data, "valid", POSITIVE)
    names = trained.data.id2token("user_id", users), trained.data.id2token("item_id", items)
    keep, _ = valid.filter(*names)
    assert 0 < np.mean(~keep) <= 0.2
    assert max(t["removed"] for t in theta["tried"]) == theta["removed"]
    assert [t["size"] for t in theta["tried"]] == [1, 2, 4, 8]
    assert NegativeFilter.load(sets_copy, theta=0.5).sets.size is None


def test_theta_outlives_damage_and_is_never_chosen_by_another_run(trained, sets_copy, capsys):
    theta = calibrate(trained, sets_copy, CalibrationOptions(lost=0.2))
    (sets_copy / layout.part_file(1)).unlink()
    predict(trained, sets_copy, SetOptions(size=8, part_users=25))
    assert layout.part_file(1) in capsys.readouterr().err
    assert layout.read_manifest(sets_copy)["theta"] == theta
    other = replace(trained, fingerprints={**trained.fingerprints, "weights": "others"})
    with pytest.raises(UserError, match="of another run .the fingerprints of weights differ"):
        calibrate(other, sets_copy, CalibrationOptions(lost=0.1))
    assert layout.read_manifest(sets_copy)["theta"] == theta


def test_a_filter_rate(trained, sets_folder):
    sets = NegativeFilter.load(sets_folder / "valid")
    chosen = choose(trained, sets, "rate", 0.1)
    users = np.arange(1, trained.data.user_num)
    lists = top_lists(trained.data, users, "valid", 100)
    scores = sets.sets.cut(chosen["size"]).scores(users - 1, lists - 1)[lists > 0]
    assert 0.05 < np.mean(scores > np.float32(chosen["values"][0])) <= 0.1


@pytest.mark.parametrize(
    "target, words",
    [
        ({"lost": 0.1, "rate": 0.1}, "lost and rate are both given; give one target"),
        ({"lost": 1.5}, "predict.lost: 1.5; expected a number of at least 0 and below 1"),
        ({"lost": float("nan")}, "predict.lost: nan; expected a finite number"),
        ({"rate": "x"}, "predict.rate: 'x'; expected a number"),
        ({"lost": 0.1, "groups": 0}, "predict.groups: 0; expected a whole number of at least 1"),
        ({"groups": 3}, "groups is for calibration"),
    ],
)
def test_targets_are_checked(target, words):
    with pytest.raises(UserError, match=words):
        CalibrationOptions.read(target, "predict")


def test_calibration_needs_a_target(trained, sets_folder):
    with pytest.raises(UserError, match="calibration: no target; give lost=0.05"):
        calibrate(trained, sets_folder, CalibrationOptions())
