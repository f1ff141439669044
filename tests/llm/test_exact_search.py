"""The whole trie, scored at once, against the scores of every leaf by itself."""

import pytest
import torch
from llmtools import bare_backbone, prompts, random_ids, tiny_backbone

from recbole_conrec.llm import exact
from recbole_conrec.llm.batch import left_pad
from recbole_conrec.llm.constraint import Constraint
from recbole_conrec.llm.decoding import beam_search, score, search_and_score
from recbole_conrec.llm.exact import all_scores
from recbole_conrec.llm.prior import leaf_prior
from recbole_conrec.llm.shared_prompt import open_prompt
from recbole_conrec.llm.walks import beams

LENGTHS = (9, 1, 23, 4)
SHAPES = [((30,), 31), ((6, 9), 40), ((8, 8, 8), 200), ((4, 4, 4, 4), 90), ((3, 3, 3), 8), ((2, 9), 3)]


def known(n_leaves, seed=0):
    """A prior, and forbidden leaves of which one is listed twice."""
    generator = torch.Generator().manual_seed(seed)
    prior = torch.randn(len(LENGTHS), n_leaves, generator=generator)
    forbidden = torch.randint(-1, n_leaves, (len(LENGTHS), n_leaves // 2 + 1), generator=generator)
    forbidden[:, -1] = forbidden[:, 0]
    return {"prior": prior, "forbidden": forbidden}


def assert_exact(backbone, trie, normalise, width, given):
    padded = left_pad(prompts(backbone, LENGTHS), 0)
    every = torch.arange(trie.n_leaves).expand(len(LENGTHS), -1)
    truth = score(backbone, trie, *padded, every, normalise=normalise, prior=given.get("prior"))
    for row, banned in zip(truth, given.get("forbidden", torch.empty(len(LENGTHS), 0)), strict=True):
        row[banned[banned >= 0].long()] = -torch.inf
    together = all_scores(backbone, trie, *padded, normalise=normalise, **given)
    torch.testing.assert_close(together, truth, atol=1e-4, rtol=0)
    leaves, scores = beam_search(backbone, trie, *padded, width=width, normalise=normalise, exact=True, **given)
    best = truth.sort(descending=True).values[:, :width]
    n = best.shape[1]
    torch.testing.assert_close(scores[:, :n], best, atol=1e-4, rtol=0)
    assert (scores[:, n:] == -torch.inf).all()
    assert torch.equal(leaves >= 0, scores > -torch.inf)
    found = truth.gather(1, leaves[:, :n].clamp(min=0))[leaves[:, :n] >= 0]
    torch.testing.assert_close(found, best[leaves[:, :n] >= 0], atol=1e-4, rtol=0)
    assert all(len(set(row[row >= 0].tolist())) == int((row >= 0).sum()) for row in leaves)


@pytest.fixture(params=["certified", "all"])
def wider(request, monkeypatch):
    """By beams that are known to suffice; by beams too narrow to be sure, so that every leaf is scored."""
    if request.param == "all":
        monkeypatch.setattr(exact, "beams", never_sure)


def never_sure(*given):
    found, scores, _ = beams(*given)
    return found, scores, torch.full((len(found),), torch.inf)


@pytest.mark.slow
@pytest.mark.parametrize("budget", [1, 2**13, 2**25])
@pytest.mark.parametrize("sizes, n_items", SHAPES)
def test_it_finds_the_best_of_all_at_every_depth(sizes, n_items, budget, monkeypatch, wider):
    """Prefixes in pieces of one, of some and all at once."""
    monkeypatch.setattr(exact, "BUDGET", budget)
    ids = random_ids(n_items, sizes)
    assert_exact(tiny_backbone(ids), ids.trie, "vocabulary", 20, {})


@pytest.mark.slow
@pytest.mark.parametrize("normalise", ["vocabulary", "allowed"])
@pytest.mark.parametrize("model_type", ["mistral", "t5"])
def test_with_a_prior_and_forbidden_leaves_for_every_kind_of_model(model_type, normalise, monkeypatch, wider):
    monkeypatch.setattr(exact, "BUDGET", 2**13)
    ids = random_ids(70, (5, 6, 7))
    backbone = bare_backbone(model_type, ids, **({"sliding_window": 6} if model_type == "mistral" else {}))
    assert_exact(backbone, ids.trie, normalise, 30, known(ids.trie.n_leaves))
    assert_exact(backbone, ids.trie, normalise, 100, {})


@pytest.mark.parametrize("chunk", [None, 3])
@pytest.mark.parametrize("given", [True, False])
def test_searches_and_scores_as_the_beams_do(given, chunk, monkeypatch, wider):
    monkeypatch.setattr(exact, "BUDGET", 2**13)
    ids = random_ids(70, (5, 6, 7))
    backbone, trie = tiny_backbone(ids), ids.trie
    padded = left_pad(prompts(backbone, LENGTHS), backbone.pad_id)
    leaves = torch.randint(-1, trie.n_leaves, (len(LENGTHS), 9), generator=torch.Generator().manual_seed(0))
    options = {"width": trie.n_leaves, "normalise": "allowed"} | (known(trie.n_leaves) if given else {})
    found, levels = search_and_score(backbone, trie, *padded, leaves, **options, exact=True, chunk=chunk)
    beams, theirs = search_and_score(backbone, trie, *padded, leaves, **options)
    assert torch.equal(found, beams)
    torch.testing.assert_close(levels, theirs, atol=1e-4, rtol=0)


def test_it_finds_what_a_narrow_beam_loses():
    ids = random_ids(200, (8, 8, 8))
    backbone = tiny_backbone(ids)
    padded = left_pad(prompts(backbone, LENGTHS), backbone.pad_id)
    exactly = beam_search(backbone, ids.trie, *padded, width=4, exact=True)[1]
    beams = beam_search(backbone, ids.trie, *padded, width=4)[1]
    assert (exactly >= beams - 1e-5).all() and (exactly > beams + 1e-3).any()


@pytest.mark.parametrize("width", [2, 10, 60])
def test_a_beam_says_what_it_lost(width):
    """A leaf that is not found was below a prefix that fell out, or is behind the last that is found."""
    ids = random_ids(200, (8, 8, 8))
    backbone, trie = tiny_backbone(ids), ids.trie
    padded = left_pad(prompts(backbone, LENGTHS), backbone.pad_id)
    prior = 3 * torch.randn(len(LENGTHS), trie.n_leaves, generator=torch.Generator().manual_seed(0))
    truth = all_scores(backbone, trie, *padded, prior=prior)
    with torch.no_grad():
        prompt, known = open_prompt(backbone.model, *padded), leaf_prior(trie, prior, None, largest=True)
        found, scores, lost = beams(trie, prompt, width, Constraint(backbone, trie), known)
    others = truth.scatter(1, found, -torch.inf).max(1).values
    assert (others <= torch.maximum(lost, scores[:, -1]) + 1e-4).all()
    assert (others > scores[:, -1] + 1e-3).any() == (width < 60)  # a narrow one misses some
