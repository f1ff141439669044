import torch
from counting import make_dataset, past, settings
from recbole.data.interaction import Interaction

from recbole_conrec.data.events import NEGATIVE
from recbole_conrec.model.pop import Pop


def test_scores_are_training_negatives():
    dataset = make_dataset()
    model = Pop(settings(), dataset)
    scores = model.full_sort_predict(Interaction({"user_id": torch.tensor([1, 2, 3])}))
    expected = [0] * dataset.log.n_items
    for item, feedback, train in zip(dataset.log.item, dataset.log.feedback, dataset.train_mask, strict=True):
        expected[item] += bool(train and feedback == NEGATIVE)
    assert scores.tolist() == [expected] * 3
    assert max(expected) > 1
    assert model.predict(Interaction({"item_id": torch.tensor([4, 5])})).tolist() == expected[4:6]


def test_nothing_to_train_and_the_counts_are_saved():
    model = Pop(settings(), make_dataset())
    loss = model.calculate_loss(Interaction({"user_id": torch.tensor([1])}))
    loss.backward()
    assert loss == 0 and all(p.grad is not None for p in model.parameters())
    other = Pop(settings(), make_dataset(seed=9))
    other.load_state_dict(model.state_dict())
    everyone = past([1, 2], make_dataset())
    assert torch.equal(other.full_sort_predict(everyone), model.full_sort_predict(everyone))
