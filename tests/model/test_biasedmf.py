import numpy as np
import pytest
import torch
from counting import CUT, N_USERS, make_dataset, past, settings

from recbole_conrec.data.events import EXPOSURE, NEGATIVE
from recbole_conrec.model.biasedmf import BiasedMF

USERS = list(range(1, N_USERS))


class Sized:
    """The small log with a length, as RecBole's loop knows it: so many next-dislike instances."""

    def __init__(self, exposures=False):
        dataset = make_dataset()
        vars(self).update(vars(dataset))
        if exposures:
            self.log.feedback[::3] = EXPOSURE

    def __len__(self):
        return int((self.train_mask & (self.log.feedback == NEGATIVE)).sum())


def make(dataset, **options):
    torch.manual_seed(0)
    return BiasedMF({**settings(), "factors": 3, **options}, dataset)


def test_the_loss_is_that_of_the_formula(monkeypatch):
    dataset = Sized(exposures=True)
    model = make(dataset, exposures=0.25, l2=0.1)
    for weights in model.parameters():
        torch.nn.init.normal_(weights)
    monkeypatch.setattr(model.events, "draw", lambda n: model.events.instances[:n])
    batch = past(USERS, dataset)
    drawn = model.events.instances[: round(len(batch) * len(model.events) / len(dataset))]
    total = 0.0
    for row, user, item in zip(drawn.row, drawn.user, drawn.item, strict=True):
        feedback = dataset.log.feedback[row]
        label = 1 if feedback == NEGATIVE else 0.25 if feedback == EXPOSURE else 0
        p, q = model.user_factors.weight[user], model.item_factors.weight[item]
        b_u, b_j = model.user_bias.weight[user, 0], model.item_bias.weight[item, 0]
        score = model.mean + b_u + b_j + (0 if feedback == EXPOSURE else p @ q)
        total += ((score - label) ** 2 + 0.1 * (p @ p + q @ q + b_u**2 + b_j**2)).item()
    assert model.calculate_loss(batch).item() == pytest.approx(total / len(drawn), rel=1e-4)


def test_it_learns_the_labels_and_gives_strangers_the_biases():
    dataset = Sized()
    model = make(dataset, l2=1e-4)
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(60):
        optimizer.zero_grad()
        model.calculate_loss(past(USERS, dataset)).backward()
        optimizer.step()
    rows = model.events.instances.row
    scores = model.full_sort_predict(past(USERS, dataset)).detach().numpy()
    label = dataset.log.feedback[rows] == NEGATIVE
    found = scores[dataset.log.user[rows] - 1, dataset.log.item[rows]]
    assert found[label].mean() - found[~label].mean() > 0.3
    batch = past([1], dataset)
    batch.interaction["user_id"] = torch.tensor([0])  # nobody
    expected = model.mean + model.item_bias.weight[:, 0]
    assert torch.allclose(model.full_sort_predict(batch)[0], expected)


def test_only_training_events_are_drawn():
    dataset, other = Sized(), Sized()
    late = other.log.time >= CUT
    other.log.feedback[late] = -other.log.feedback[late]
    losses = []
    for d in (dataset, other):
        model = make(d)
        losses.append([float(model.calculate_loss(past(USERS, d))) for _ in range(3)])
    assert losses[0] == losses[1]


def test_without_exposures_they_are_never_drawn():
    dataset = Sized(exposures=True)
    events = make(dataset, exposures=None).events.instances.row
    expected = np.flatnonzero(dataset.train_mask & (dataset.log.feedback != EXPOSURE))
    assert np.array_equal(events, expected)
