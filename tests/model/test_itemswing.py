import numpy as np
import torch
from counting import N_ITEMS, N_USERS, make_dataset, past, settings

from recbole_conrec.data.events import NEGATIVE
from recbole_conrec.model.itemswing import ItemSwing


def oracle(dataset, user, time):
    """Scores of one user, loop by loop."""
    log = dataset.log
    train = dataset.train_mask & (log.feedback == NEGATIVE)
    near = dataset.swing()
    count = np.bincount(log.item[train], minlength=N_ITEMS)
    disliked = {
        i
        for u, i, t, f in zip(log.user, log.item, log.time, log.feedback, strict=True)
        if u == user and t < time and f == NEGATIVE
    }
    scores = np.zeros(N_ITEMS)
    for i in disliked:
        for at in range(near.ptr[i], near.ptr[i + 1]):
            scores[near.items[at]] += near.scores[at]
    return [s if s > 0 else count[j] / (1 + count.max()) - 1 for j, s in enumerate(scores)]


def test_scores_equal_the_oracle():
    dataset = make_dataset()
    model = ItemSwing(settings(), dataset)
    users = list(range(1, N_USERS))
    for time in (0, 40, 80):  # at 0 nobody has a history
        found = model.full_sort_predict(past(users, dataset, time))
        np.testing.assert_allclose(found.numpy(), [oracle(dataset, u, time) for u in users], rtol=1e-5)
    assert (found > 0).any() and (found < 0).any()


def test_without_history_the_order_is_popularity():
    dataset = make_dataset()
    model = ItemSwing(settings(), dataset)
    scores = model.full_sort_predict(past([1], dataset, 0))[0]
    count = np.bincount(dataset.log.item[dataset.train_mask & (dataset.log.feedback == NEGATIVE)], minlength=N_ITEMS)
    assert torch.all(scores < 0)
    assert torch.equal(scores.argsort(stable=True), torch.from_numpy(count).argsort(stable=True))


def test_what_happens_after_the_cut_and_after_t0_moves_nothing():
    dataset, other = make_dataset(), make_dataset()
    late = other.log.time >= 60
    other.log.feedback[late] = -other.log.feedback[late]
    users = list(range(1, N_USERS))
    scores = [ItemSwing(settings(), d).full_sort_predict(past(users, d, 60)) for d in (dataset, other)]
    assert torch.equal(*scores)


def test_predict_is_one_cell_of_the_full_scores():
    dataset = make_dataset()
    model = ItemSwing(settings(), dataset)
    batch = past([1, 2, 3], dataset)
    batch.interaction["item_id"] = torch.tensor([5, 6, 7])
    assert torch.equal(model.predict(batch), model.full_sort_predict(batch)[[0, 1, 2], [5, 6, 7]])
