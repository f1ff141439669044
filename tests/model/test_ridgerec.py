import numpy as np
import pytest
import torch
from counting import CUT, N_ITEMS, N_USERS, make_dataset, past, settings

from recbole_conrec.data.events import NEGATIVE, POSITIVE
from recbole_conrec.dense import ridge
from recbole_conrec.model import ridgerec
from recbole_conrec.model.ridgerec import RidgeRec
from recbole_conrec.utils.errors import UserError

USERS = list(range(1, N_USERS))


def make(dataset, **options):
    given = {**settings(), "show_progress": False, "context": "both", "l2": 5, **options}
    model = RidgeRec(given, dataset)
    model.calculate_loss(past([1], dataset))
    return model


def history(dataset, user, time, options):
    """The features of one user at one time, event by event."""
    kinds = (NEGATIVE, POSITIVE) if options.get("context", "both") == "both" else (NEGATIVE,)
    log, x = dataset.log, np.zeros(2 * N_ITEMS)
    rows = [e for e in range(len(log)) if log.user[e] == user and log.time[e] < time and log.feedback[e] in kinds]
    for age, e in enumerate(rows[::-1][:10]):  # MAX_ITEM_LIST_LENGTH
        x[log.item[e] + N_ITEMS * (log.feedback[e] == POSITIVE)] += options.get("decay", 0.9) ** age
    return x


def oracle(dataset, target, time, **options):
    """The scores of all users, by dense equations in double precision."""
    log = dataset.log
    training = [e for e in range(len(log)) if dataset.train_mask[e]]
    negative = [e for e in training if log.feedback[e] == NEGATIVE]
    n, total = (np.bincount(log.item[rows], minlength=N_ITEMS) for rows in (negative, training))

    def linear(rows, counts):
        x = np.array([history(dataset, log.user[e], log.time[e], options) for e in rows])
        y = np.eye(N_ITEMS)[log.item[rows]]
        w = np.linalg.solve(x.T @ x + options.get("l2", 5) * np.eye(2 * N_ITEMS), x.T @ y)
        now = np.array([history(dataset, user, time, options) for user in USERS])
        return now @ w + options.get("popularity", 0.01) * counts / counts.sum()

    dislike, event = linear(negative, n), linear(training, total) * (n + 1) / (total + 2)
    both = np.sqrt(np.maximum(dislike, 0) * np.maximum(event, 0))
    return {"dislike": dislike, "event": event, "both": both}[target]


@pytest.mark.parametrize(
    "options",
    [
        {"target": "dislike"},
        {"target": "event", "decay": 1},
        {"target": "both", "popularity": 0.5},
        {"target": "both", "context": "negative", "l2": 0.5},
    ],
    ids=str,
)
def test_scores_equal_dense_equations(options, monkeypatch):
    monkeypatch.setattr(ridgerec, "_BATCH", 37)  # batches and blocks must add up
    monkeypatch.setattr(ridge, "_BLOCK", 7)
    dataset = make_dataset()
    scores = make(dataset, **options).full_sort_predict(past(USERS, dataset, 80))
    np.testing.assert_allclose(scores.numpy(), oracle(dataset, time=80, **options), rtol=1e-3, atol=1e-5)


def test_without_history_the_order_is_popularity():
    dataset = make_dataset()
    scores = make(dataset, target="dislike").full_sort_predict(past([1], dataset, 0))[0]
    n = np.bincount(dataset.log.item[dataset.train_mask & (dataset.log.feedback == NEGATIVE)], minlength=N_ITEMS)
    np.testing.assert_allclose(scores.numpy(), 0.01 * n / n.sum(), rtol=1e-5)


def test_only_the_most_frequent_features_are_kept():
    dataset = make_dataset()
    few, all_of_them = make(dataset, features=6, target="dislike"), make(dataset, target="dislike")
    assert few.weights["dislike"].shape[0] == 6 < all_of_them.weights["dislike"].shape[0]
    log, train = dataset.log, dataset.train_mask
    count = np.bincount((log.item + N_ITEMS * (log.feedback == POSITIVE))[train], minlength=2 * N_ITEMS)
    kept = few.histories.columns >= 0
    assert kept.sum() == 6 and count[kept].min() >= count[~kept].max()


def test_weights_are_saved_and_nothing_is_trained():
    dataset = make_dataset()
    model, other = make(dataset), RidgeRec({**settings(), "show_progress": False, "context": "both", "l2": 5}, dataset)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 1
    other.load_state_dict(model.state_dict())
    batch = past(USERS, dataset)
    assert torch.equal(model.full_sort_predict(batch), other.full_sort_predict(batch))


@pytest.mark.parametrize("as_of", ["cut", "t0"])
def test_fitting_reads_training_events_alone_and_scores_nothing_from_t0_on(as_of):
    models, scores = [], []
    for late in (101, 80, CUT):  # from when on everything is changed; no event is at 101
        dataset = make_dataset(as_of=as_of)
        changed = dataset.log.time >= late
        dataset.log.feedback[changed] = -dataset.log.feedback[changed]
        models.append(make(dataset, popularity=0.5))
        scores.append(models[-1].full_sort_predict(past(USERS, dataset, 80)))
    for name in ("dislike", "event"):
        assert torch.equal(models[0].weights[name], models[1].weights[name])
        assert torch.equal(models[0].weights[name], models[2].weights[name])
    assert torch.equal(scores[0], scores[1]) and not torch.equal(scores[0], scores[2])  # the own history is read


def test_as_of_the_cut_others_events_after_it_move_nothing():
    scores = []
    for change in (False, True):
        dataset = make_dataset()
        changed = (dataset.log.time >= CUT) & (dataset.log.user != 1) & change
        dataset.log.feedback[changed] = -dataset.log.feedback[changed]
        scores.append(make(dataset, popularity=0.5).full_sort_predict(past([1], dataset, 80)))
    assert torch.equal(*scores)


def test_no_memory_is_one_line(monkeypatch):
    def zeros(*_, **__):
        raise MemoryError

    monkeypatch.setattr(ridge.np, "zeros", zeros)
    with pytest.raises(UserError, match="no memory left while solving for 1000000 features; lower `features`"):
        ridge.NormalEquations(10**6, 10, 1)
