import torch
from test_rows_learn import TRANSFORMER

from recbole_conrec.model.nottorecommend import NotToRecommend


def test_the_loss_against_its_definition(make_tiny):
    config, data = make_tiny("NotToRecommend", not_to_recommend=2.5, **TRANSFORMER)
    model = NotToRecommend(config, data).eval()
    batch = data[range(30)]
    torch.manual_seed(1)
    loss = model.calculate_loss(batch)
    torch.manual_seed(1)
    likes = model.like_loss(30)
    p = model.like_logits(batch).double().softmax(dim=1)[range(30), batch["item_id"]]
    assert torch.allclose(loss.double(), likes.double() - 2.5 * (1 - p).log().mean(), atol=1e-5)


def test_certainty_of_recommending_a_dislike_costs_much_and_is_finite(make_tiny):
    config, data = make_tiny("NotToRecommend", not_to_recommend=1.0, **TRANSFORMER)
    model = NotToRecommend(config, data).eval()
    batch = data[range(4)]
    logits = torch.zeros(4, data.item_num).scatter(1, batch["item_id"][:, None], 200.0).requires_grad_()
    model.like_logits, model.like_loss = lambda _: logits, lambda n: 0.0
    loss = model.calculate_loss(batch)
    loss.backward()
    assert 150 < loss < 250 and logits.grad.isfinite().all()
    assert (logits.grad.gather(1, batch["item_id"][:, None]) > 0).all()  # what it pushes down
