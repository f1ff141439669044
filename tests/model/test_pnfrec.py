import pytest
import torch
from test_rows_learn import TRANSFORMER

from recbole_conrec.model.pnfrec import PNFRec
from recbole_conrec.runs.runner import run
from recbole_conrec.utils.errors import UserError


def make(make_tiny, **options):
    config, data = make_tiny("PNFRec", **TRANSFORMER, **options)
    torch.manual_seed(0)
    return PNFRec(config, data), data


def test_the_contrastive_term_against_a_loop(make_tiny):
    model, _ = make(make_tiny)
    h, y = torch.randn(4, 32), torch.tensor([3, 5, 7, 9])
    opposing = torch.tensor([[1, 2, 0], [4, 0, 0], [0, 0, 0], [9, 8, 6]])
    e, terms = model._items, []
    for n in range(4):
        own = (h[n] @ e[y[n]]).exp()
        against = sum((h[n] @ e[j]).exp() for j in opposing[n].tolist() if j)
        terms.append(-(own / (own + against)).log())
    assert torch.allclose(model._contrast(h, y, opposing), torch.stack(terms).mean(), atol=1e-6)
    assert terms[2] == 0  # no opposing history, nothing to contrast


def test_encoders_share_items_only(make_tiny):
    model, _ = make(make_tiny)
    assert model.positive.item_embedding is model.negative.item_embedding
    alone, _ = make(make_tiny, context="negative")
    shared = model._items.numel()
    assert sum(p.numel() for p in model.parameters()) == 2 * sum(p.numel() for p in alone.parameters()) - shared


@pytest.mark.parametrize(
    "leading, weights, moves",
    [
        ("negative", (0.0, 0.0), {"negative"}),
        ("positive", (0.0, 0.0), {"positive"}),
        ("negative", (1.0, 0.0), {"negative", "positive"}),
        ("positive", (0.0, 1.0), {"positive"}),
    ],
)
def test_which_encoder_each_term_trains(make_tiny, leading, weights, moves):
    model, data = make(make_tiny, leading=leading, other_weight=weights[0], contrastive_weight=weights[1])
    model.calculate_loss(data[range(20)]).backward()
    encoders = {name: getattr(model, name).trm_encoder for name in ("negative", "positive")}
    assert moves == {
        name
        for name, encoder in encoders.items()
        if any(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())
    }


def test_likes_reach_the_scores_by_the_shared_items_only(make_tiny):
    """The negative encoder reads dislikes: under `context: both`, too, scores are those of SASRec on dislikes."""
    model, data = make(make_tiny, context="both")
    one = make_tiny("SASRec", context="negative")[1][range(5)]
    model.eval()
    assert torch.allclose(model.full_sort_predict(data[range(5)]), model.negative.full_sort_predict(one))


def test_wrong_options_are_named(tiny_path, tmp_path, monkeypatch):
    import tinylog

    monkeypatch.chdir(tmp_path)
    options = {**tinylog.OPTIONS, "data_path": str(tiny_path), "gpu_id": "", "leading": "none"}
    with pytest.raises(UserError, match="leading: 'none'; expected one of negative, positive"):
        run("PNFRec", "tiny", options=options)
