import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.model.sequential_recommender import DIN

from recbole_conrec.model import dislikedin
from recbole_conrec.model.dislikedin import DislikeDIN
from recbole_conrec.utils.errors import UserError


def make(make_tiny, **options):
    config, data = make_tiny("DislikeDIN", MAX_ITEM_LIST_LENGTH=10, **options)
    torch.manual_seed(0)
    return DislikeDIN(config, data).eval(), data


@pytest.mark.parametrize("pairs", [1 << 14, 100])
def test_the_sweep_is_what_recboles_class_says_of_each_pair(make_tiny, monkeypatch, pairs):
    monkeypatch.setattr(dislikedin, "_PAIRS", pairs)
    model, data = make(make_tiny)
    batch = data[[0, 50, 120]]  # the first has no history
    sweep = model.full_sort_predict(batch)
    assert sweep.shape == (3, data.item_num)
    for item in (1, 17, 99):
        asked = Interaction({**batch.interaction, "item_id": torch.full((3,), item)})
        assert torch.allclose(sweep[:, item].sigmoid(), DIN.predict(model, asked), atol=1e-6)


def test_shown_items_stand_against_dislikes(make_tiny):
    """Each of them a training event that is no dislike, with the history before its own time."""
    model, data = make(make_tiny, contrast="shown", contrast_items=3)
    batch = data[range(40)]
    fields = ("user_id", "item_id", "item_id_list", "item_length")
    user, item, history, length = model._contrast(*(batch[field] for field in fields))
    log = data.log
    known = {}
    for row in range(len(log)):
        if data.train_mask[row] and log.feedback[row] != -1:
            past = [
                log.item[e]
                for e in range(log.start[log.user[row]], row)
                if log.time[e] < log.time[row] and log.feedback[e] == -1
            ][-10:]
            known.setdefault((log.user[row], log.item[row]), []).append(past)
    assert len(user) == 120
    for n in range(120):
        mine = history[n][history[n] > 0].tolist()
        assert mine in known[user[n].item(), item[n].item()] and length[n] == max(len(mine), 1)


def test_random_items_keep_the_history_of_their_dislike(make_tiny):
    model, data = make(make_tiny, contrast="random", contrast_items=2)
    batch = data[range(60, 100)]
    fields = ("user_id", "item_id", "item_id_list", "item_length")
    user, item, history, length = model._contrast(*(batch[field] for field in fields))
    assert torch.equal(user[::2], batch["user_id"]) and torch.equal(user[1::2], batch["user_id"])
    assert torch.equal(history[1::2], batch["item_id_list"]) and torch.equal(length[::2], batch["item_length"])
    assert item.min() >= 1 and item.max() < data.item_num and len(item.unique()) > 40


def test_a_wrong_contrast_is_named(make_tiny):
    with pytest.raises(UserError, match="contrast: 'none'; expected one of shown, random"):
        make(make_tiny, contrast="none")
