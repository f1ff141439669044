import numpy as np
import pytest
import torch
from counting import CUT, N_ITEMS, N_USERS, make_dataset, past, settings

from recbole_conrec.data.events import NEGATIVE
from recbole_conrec.model.itemease import ItemEASE

USERS = list(range(1, N_USERS))


def make(dataset, **options):
    model = ItemEASE({**settings(), "show_progress": False, "l2": 3, **options}, dataset)
    model.calculate_loss(past([1], dataset))
    return model


def training_dislikes(dataset):
    log = dataset.log
    x = np.zeros((N_USERS, N_ITEMS))
    for e in range(len(log)):
        if dataset.train_mask[e] and log.feedback[e] == NEGATIVE:
            x[log.user[e], log.item[e]] = 1
    return x


def oracle(dataset, time, decay):
    """The scores of all users: each column of B is a ridge regression of one item on all others, as in the paper."""
    log, x = dataset.log, training_dislikes(dataset)
    b = np.zeros((N_ITEMS, N_ITEMS))
    for j in range(N_ITEMS):
        others = [i for i in range(N_ITEMS) if i != j]
        gram = x[:, others].T @ x[:, others] + 3 * np.eye(N_ITEMS - 1)
        b[others, j] = np.linalg.solve(gram, x[:, others].T @ x[:, j])
    scores = np.zeros((len(USERS), N_ITEMS))
    for n, user in enumerate(USERS):
        rows = [
            e for e in range(len(log)) if log.user[e] == user and log.time[e] < time and log.feedback[e] == NEGATIVE
        ]
        for age, e in enumerate(rows[::-1][:10]):  # MAX_ITEM_LIST_LENGTH
            scores[n] += decay**age * b[log.item[e]]
    return scores


@pytest.mark.parametrize("decay", [0.9, 1])
def test_scores_are_those_of_one_regression_per_item(decay):
    dataset = make_dataset()
    scores = make(dataset, decay=decay, popularity=0).full_sort_predict(past(USERS, dataset, 80))
    np.testing.assert_allclose(scores.numpy(), oracle(dataset, 80, decay), atol=1e-5)
    assert scores.abs().max() > 0.1


def test_without_history_and_for_items_left_out_the_order_is_popularity():
    dataset = make_dataset()
    log = dataset.log
    n = np.bincount(log.item[dataset.train_mask & (log.feedback == NEGATIVE)], minlength=N_ITEMS)
    expected = 0.1 * n / n.sum()
    scores = make(dataset, popularity=0.1).full_sort_predict(past([1], dataset, 0))[0]
    np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-5)
    few = make(dataset, popularity=0.1, features=4)
    assert few.weights.shape == (4, 4) and n[few.kept].min() >= np.delete(n, few.kept).max()
    rest = np.delete(np.arange(N_ITEMS), few.kept)
    found = few.full_sort_predict(past(USERS, dataset, 80)).numpy()
    np.testing.assert_allclose(found[:, rest], np.tile(expected[rest], (len(USERS), 1)), rtol=1e-5)


def test_weights_are_saved():
    dataset = make_dataset()
    model, other = make(dataset), ItemEASE({**settings(), "show_progress": False, "l2": 3}, dataset)
    other.load_state_dict(model.state_dict())
    batch = past(USERS, dataset)
    assert torch.equal(model.full_sort_predict(batch), other.full_sort_predict(batch))


@pytest.mark.parametrize("as_of", ["cut", "t0"])
def test_fitting_reads_training_events_alone_and_scores_nothing_from_t0_on(as_of):
    models, scores = [], []
    for late in (101, 80, CUT):  # from when on everything is changed; no event is at 101
        dataset = make_dataset(as_of=as_of)
        changed = (dataset.log.time >= late) & ((dataset.log.user != 1) | (dataset.log.time >= 80))
        dataset.log.feedback[changed] = -dataset.log.feedback[changed]
        models.append(make(dataset, popularity=0.5))
        scores.append(models[-1].full_sort_predict(past([1], dataset, 80)))
    assert torch.equal(models[0].weights, models[1].weights) and torch.equal(models[0].weights, models[2].weights)
    assert torch.equal(scores[0], scores[1])
    assert torch.equal(scores[0], scores[2]) == (as_of == "cut")  # popularity among the others between cut and t0
