import numpy as np
import pytest
import torch
from counting import CUT, N_ITEMS, N_USERS, make_dataset, past, settings

from recbole_conrec.data.events import EXPOSURE, NEGATIVE, POSITIVE, SECONDS_A_DAY
from recbole_conrec.data.exclusion import Exclusion
from recbole_conrec.dense.pairs import KINDS, PairFeatures, columns, first_times
from recbole_conrec.model.countgbdt import CountGBDT

USERS = list(range(1, N_USERS))
DAYS = 20 / SECONDS_A_DAY
GROUPS = np.column_stack([np.arange(N_ITEMS) % 4, (np.arange(N_ITEMS) % 8 == 3) * 4])


def dataset_of(as_of="cut", late=None, keep=()):
    """The small log with exposures; from ``late`` on everything but the events of the users in ``keep`` is changed."""
    dataset = make_dataset(events=900, as_of=as_of)
    log = dataset.log
    log.feedback[::3] = EXPOSURE
    if late is not None:
        changed = (log.time >= late) & ~np.isin(log.user, keep)
        log.feedback[changed] = np.where(log.feedback[changed] == NEGATIVE, POSITIVE, NEGATIVE)
    dataset.exclusion = Exclusion(log)
    dataset.item_category = lambda: (GROUPS, None)
    return dataset


def make(dataset, **options):
    given = {"show_progress": False, "days": DAYS, "dislikes": 120, "trees": 5, "rerank": 12, "item_category": "genre"}
    return CountGBDT({**settings(), **given, **options}, dataset)


@pytest.mark.parametrize("as_of, known", [("t0", 80), ("cut", CUT)])
def test_features_are_those_of_a_loop(as_of, known):
    dataset = dataset_of(as_of)
    log, time = dataset.log, 80
    readable = log.time < (100 if as_of == "t0" else CUT)
    first = first_times(log, np.flatnonzero(readable))
    batch = past(USERS, dataset, time)
    begin, end, t0 = (batch[name].numpy() for name in ("history_begin", "history_end", "t0"))
    found = PairFeatures(log, readable, DAYS, GROUPS).of_all(dataset.side, first, begin, end, t0)
    events = list(zip(log.user, log.item, log.time, log.feedback, strict=True))
    for name, since in (("", 0), ("recent ", known - 20)):
        for n in (0, 5):
            counts = {k: np.zeros(N_ITEMS) for k in KINDS}
            for user, item, when, kind in events:
                counts[kind][item] += since <= when < known and user != USERS[n]
            for kind, sign in zip(KINDS, "-+0", strict=True):
                share = np.log((counts[kind] + 1) / (counts[kind].sum() + N_ITEMS))
                np.testing.assert_allclose(found[name + sign][n], share)
            share = (counts[NEGATIVE] + 1) / (sum(counts.values()) + 2)
            np.testing.assert_allclose(found[name + "share"][n], share)
    near = next(dataset.side.swing(t0))[1].matrix().toarray()
    sets = [set(GROUPS[item]) - {0} for item in range(N_ITEMS)]
    for n, user in enumerate(USERS):
        mine = [(item, kind) for u, item, when, kind in events if u == user and when < time]
        disliked = [item for item, kind in mine if kind == NEGATIVE]
        np.testing.assert_allclose(found["swing"][n], near[disliked].sum(axis=0), rtol=1e-5)
        assert found["user events"][n, 0] == pytest.approx(np.log1p(len(mine)))
        assert found["user dislikes"][n, 0] == pytest.approx((len(disliked) + 1) / (len(mine) + 3))
        overlap = [
            sum(len(a & b) / max(len(a) * len(b), 1) ** 0.5 for a in (sets[i] for i in disliked)) / (len(disliked) + 1)
            for b in sets
        ]
        np.testing.assert_allclose(found["category -"][n], overlap, atol=1e-12)
    for item in range(N_ITEMS):
        times = [when for _, i, when, _ in events if i == item and when < known]
        expected = (time - min(times)) / SECONDS_A_DAY if times else np.nan
        np.testing.assert_allclose(found["age"][0, item], expected)
    pairs = columns(found, np.array([2, 0]), np.array([5, 7]))
    assert pairs.shape == (2, len(found)) and pairs[0, 0] == np.float32(found["-"][2, 5])


def test_examples_are_the_latest_training_dislikes_against_others():
    dataset = dataset_of()
    model = make(dataset, dislikes=40, others=6)
    x, y = model.examples()
    assert y.sum() == 40 and 40 * 4 < len(y) <= 40 * 7 and len(x) == len(y)


def test_fitting_reads_training_events_alone():
    for as_of in ("cut", "t0"):
        plain, changed = (make(dataset_of(as_of, late)).examples() for late in (None, CUT))
        np.testing.assert_array_equal(plain[0], changed[0])
        np.testing.assert_array_equal(plain[1], changed[1])
    earlier = make(dataset_of(late=CUT - 5)).examples()
    assert earlier[0].shape != plain[0].shape or not np.array_equal(earlier[0], plain[0], equal_nan=True)


@pytest.mark.parametrize("as_of, late", [("t0", 80), ("cut", CUT)])
def test_what_happens_later_moves_no_answer(as_of, late):
    answers = []
    for when in (None, late):
        dataset = dataset_of(as_of, when, keep=[1, 2] if as_of == "cut" else ())
        model, batch = make(dataset), past([1, 2], dataset, 80)
        candidates = torch.arange(1, 11).repeat(2, 1)
        answers.append((model.recommend(batch, 5), model.score_candidates(batch, candidates)))
    assert torch.equal(answers[0][0], answers[1][0]) and torch.equal(answers[0][1], answers[1][1])


def test_a_list_is_the_head_in_the_order_of_the_trees():
    dataset = dataset_of()
    model, batch = make(dataset, rerank=8), past(USERS, dataset, 80)
    items = model.recommend(batch, 10)
    begin, end = (batch[name].numpy() for name in ("history_begin", "history_end"))
    row, item = dataset.exclusion.pairs(begin, end)
    left_out = {(r, i) for r, i in zip(row.tolist(), item.tolist(), strict=True)}
    everything = torch.arange(N_ITEMS).repeat(len(USERS), 1)
    scores = model.score_candidates(batch, everything)
    features = model._features(batch)
    cheap = features["-"] + features["recent -"] + np.log1p(features["swing"])
    for n in range(len(USERS)):
        shown = [i for i in items[n].tolist() if i]
        allowed = [i for i in range(1, N_ITEMS) if (n, i) not in left_out]
        assert len(shown) == len(set(shown)) == min(8, len(allowed)) and set(shown) <= set(allowed)
        assert (scores[n, shown].diff() <= 0).all()
        others = sorted(set(allowed) - set(shown))
        assert not others or cheap[n, shown].astype(np.float32).min() >= cheap[n, others].astype(np.float32).max()


def test_the_trees_are_fitted_again_to_the_same():
    dataset = dataset_of()
    batch = past(USERS, dataset)
    batch.interaction["item_id"] = torch.full((len(USERS),), 7)
    assert torch.equal(make(dataset).predict(batch), make(dataset).predict(batch))
    assert make(dataset).predict(batch).unique().numel() > 1
