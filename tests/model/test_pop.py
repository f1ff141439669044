import torch
from counting import make_dataset, past, settings
from recbole.data.interaction import Interaction

from recbole_conrec.data.events import NEGATIVE
from recbole_conrec.model.pop import Pop


def test_scores_are_training_negatives():
    dataset = make_dataset()
    model = Pop(settings(), dataset)
    batch = past([1, 2, 3], dataset)
    scores = model.full_sort_predict(batch)
    expected = [0] * dataset.log.n_items
    for item, feedback, train in zip(dataset.log.item, dataset.log.feedback, dataset.train_mask, strict=True):
        expected[item] += bool(train and feedback == NEGATIVE)
    assert scores.tolist() == [expected] * 3
    assert max(expected) > 1
    batch.interaction["item_id"] = torch.tensor([4, 5, 6])
    assert model.predict(batch).tolist() == expected[4:7]


def test_as_of_t0_all_dislikes_before_it_count():
    dataset = make_dataset(as_of="t0")
    log, t0 = dataset.log, 85
    before = log.item[(log.feedback == NEGATIVE) & (log.time < t0)]
    expected = [(before == item).sum() for item in range(log.n_items)]
    assert Pop(settings(), dataset).full_sort_predict(past([1], dataset, t0)).tolist() == [expected]


def test_nothing_is_trained():
    model = Pop(settings(), make_dataset())
    loss = model.calculate_loss(Interaction({"user_id": torch.tensor([1])}))
    loss.backward()
    assert loss == 0 and all(p.grad is not None for p in model.parameters())
