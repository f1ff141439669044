import copy

import pytest
import torch
from test_rows_learn import TRANSFORMER, losses, network

from recbole_conrec.data.events import POSITIVE
from recbole_conrec.dense.likes import LikeSASRec
from recbole_conrec.dense.targets import Targets
from recbole_conrec.model.reversedsasrec import ReversedSASRec


@pytest.mark.slow
@pytest.mark.parametrize("context", ["negative", "both"])
def test_it_overfits_50_likes_and_reads_them_upside_down(make_tiny, context):
    """A model of likes cannot learn dislikes: it learns likes, and its order of dislikes is theirs reversed."""
    options = {"context": context, "MAX_ITEM_LIST_LENGTH": 10, "train_batch_size": 50, **TRANSFORMER}
    config, data = make_tiny("ReversedSASRec", **options)
    liked = Targets(data, (POSITIVE,)).instances[:50]
    few = copy.copy(data)
    few.instances = liked
    model, loader = network(config, few, "ReversedSASRec")
    model.likes.instances = liked
    curve = losses(model, loader, 60, 0.01)
    assert sum(curve[-3:]) < 0.5 * sum(curve[:3])
    with torch.no_grad():
        batch = few[range(50)]
        likes, dislikes = model.like_logits(batch), model.full_sort_predict(batch)
    target = batch["item_id"][:, None]
    assert (likes[:, 1:].topk(20).indices + 1 == target).any(dim=1).float().mean() > 0.9
    assert (dislikes[:, 1:].topk(60).indices + 1 == target).any(dim=1).float().mean() < 0.1
    assert torch.equal(likes.argsort(dim=1, stable=True), dislikes.argsort(dim=1, descending=True, stable=True))


def test_a_dislike_in_the_history_is_not_a_like(make_tiny):
    config, data = make_tiny("ReversedSASRec", **TRANSFORMER)
    model = ReversedSASRec(config, data).eval()
    model.item_embedding.disliked.data.normal_()
    batch = data[range(200, 210)]
    before = model.like_logits(batch)
    batch["feedback_list"] = -batch["feedback_list"]
    assert not torch.allclose(before, model.like_logits(batch))
    batch["feedback_list"] = batch["feedback_list"].abs()  # only likes: then it is RecBole's SASRec
    assert torch.allclose(model.like_logits(batch), super(LikeSASRec, model).full_sort_predict(batch), atol=1e-6)


def test_other_losses_are_refused(make_tiny):
    config, data = make_tiny("ReversedSASRec", loss_type="BPR", **TRANSFORMER)
    with pytest.raises(NotImplementedError, match="loss_type"):
        ReversedSASRec(config, data)
