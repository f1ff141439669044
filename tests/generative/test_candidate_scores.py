"""The three candidate scores, against searches over a trie of only the candidates and against loops."""

import numpy as np
import pytest
import torch
from llmtools import prompts, random_ids, tiny_backbone

from recbole_conrec.generative.candidate_scores import SCORINGS, similarity, within
from recbole_conrec.generative.rewards import unit_vectors
from recbole_conrec.llm.batch import left_pad
from recbole_conrec.llm.decoding import beam_search, score
from recbole_conrec.model.conrec import CoNRec, CoNRecOptions
from recbole_conrec.tokenizer.trie import Trie
from recbole_conrec.utils.errors import UserError


@pytest.mark.parametrize("normalise", ["allowed", "vocabulary"])
def test_beam_equals_a_search_over_the_trie_of_the_candidates(normalise):
    ids = random_ids(60, (3, 4, 6))
    backbone = tiny_backbone(ids)
    rng = np.random.default_rng(0)
    padded = left_pad(prompts(backbone, (7, 3, 12, 5)), backbone.pad_id)
    items = torch.from_numpy(np.stack([rng.permutation(np.arange(1, 60))[:20] for _ in range(4)]))
    items[2, 5:] = 0  # padding
    leaves = ids.trie.item_leaf[items]
    levels = score(backbone, ids.trie, *padded, leaves, normalise=normalise, by_level=True)
    got = within(levels, ids.trie.leaf_codes[leaves.clamp(min=0)])
    torch.testing.assert_close(levels.sum(2), score(backbone, ids.trie, *padded, leaves, normalise=normalise))
    for user in range(4):
        own = items[user][items[user] > 0].numpy()
        codes = np.full_like(ids.codes, -1)
        codes[own] = ids.codes[own]
        trie = Trie.from_codes(codes)
        ranked, scores = beam_search(
            backbone, trie, padded[0][user : user + 1], padded[1][user : user + 1], width=20, normalise="allowed"
        )
        expected = {
            int(trie.leaf_items[leaf]): float(value)
            for leaf, value in zip(ranked[0], scores[0], strict=True)
            if leaf >= 0
        }
        assert set(expected) == set(own.tolist())
        assert [float(got[user, n]) for n in range(len(own))] == pytest.approx([expected[i] for i in own], abs=1e-4)
    assert torch.isinf(got[2, 5:]).all() and (got.exp().sum(1) - 1).abs().max() < 1e-4
    assert (got.argsort(1) != levels.sum(2).argsort(1)).any()  # it is another order than that of the likelihoods


def test_candidates_that_share_an_id_tie():
    levels = torch.log(torch.tensor([[[0.5, 0.5], [0.5, 0.5], [0.25, 1.0]]]))
    codes = torch.tensor([[[0, 1], [0, 1], [1, 0]]])
    torch.testing.assert_close(within(levels, codes).exp(), torch.tensor([[2 / 3, 2 / 3, 1 / 3]]))


def test_similarity_is_the_filters():
    ids = random_ids(30, (4, 4, 4))
    vectors = unit_vectors(ids)
    items, predicted = torch.tensor([[3, 9, 4], [7, 8, 29]]), torch.tensor([[4, 9, 20], [11, 0, 0]])
    got = similarity(items, predicted, vectors)
    for row in range(2):
        for n, item in enumerate(items[row].tolist()):
            best = max(float(vectors[item] @ vectors[p]) for p in predicted[row].tolist() if p)
            assert float(got[row, n]) == pytest.approx(best, abs=2e-6)
    assert got[0, 1] == got[0, 2] == 1  # two of the Predict Set tie
    assert (similarity(items, torch.zeros(2, 3, dtype=torch.int64), vectors) == -1).all()


@pytest.mark.slow
@pytest.mark.parametrize("collisions", ["nearest_free", "shared"])
def test_answers_given_together_are_those_given_apart(make_tiny, collisions):
    """Lists longer than topk, so that the filter's similarity must look at topk of them only."""
    sizes = [8, 8, 8] if collisions == "nearest_free" else [2, 2, 2]
    config, data = make_tiny(
        "CoNRec",
        topk=[5],
        candidate_scores=list(SCORINGS),
        valid_metric="HR@5",
        tokenizer={"name": "rqkmeans", "sizes": sizes, "collisions": collisions, "encoder": ["tfidf", "behaviour"]},
    )
    train, _, test = data.build()
    model = CoNRec(config, train).eval()
    batch, candidates = test[np.arange(9)], torch.from_numpy(data.truth("test").candidates[:9])
    answers = model.answer(batch, candidates, 12)
    assert torch.equal(answers.items, model.recommend(batch, 12)) and answers.shortened == 0
    first, *_ = SCORINGS
    for way, together in {first: answers.scores, **answers.others}.items():
        apart = model.scores_by(way, batch, candidates)
        torch.testing.assert_close(together[candidates > 0], apart[candidates > 0], atol=1e-5, rtol=0)

    # pairs beside the candidates: they are judged by themselves, and change no candidate's score
    batch, candidates = test[np.arange(3)], candidates[:3]
    pairs = torch.cat([batch["item_id"][:, None], candidates[:, :1], torch.zeros(3, 1, dtype=torch.int64)], dim=1)
    for scorings, alone in ((("beam",), first), (("similarity",), "similarity")):
        model.scorings = scorings
        beside = model.answer(batch, candidates, 12, pairs)
        torch.testing.assert_close(beside.scores, model.answer(batch, candidates, 12).scores, atol=1e-5, rtol=0)
        apart = model.scores_by(alone, batch, pairs)
        torch.testing.assert_close(beside.pairs[:, :2], apart[:, :2], atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("collisions", ["nearest_free", "shared"])
def test_a_prior_moves_lists_by_what_it_says_of_each_item_and_no_score(make_tiny, collisions):
    """Against the scores of all items, by the exact search, which has no beam to lose them."""
    sizes = [8, 8, 8] if collisions == "nearest_free" else [4, 4, 4]
    config, data = make_tiny(
        "CoNRec",
        topk=[5],
        search="exact",
        valid_metric="HR@5",
        tokenizer={"name": "rqkmeans", "sizes": sizes, "collisions": collisions, "encoder": ["tfidf", "behaviour"]},
    )
    train, _, test = data.build()
    model = CoNRec(config, train).eval()
    batch, candidates = test[np.arange(6)], torch.from_numpy(data.truth("test").candidates[:6])
    prior = torch.randn(6, data.item_num, generator=torch.Generator().manual_seed(0)) * 3
    lists = model.recommend(batch, 5, prior)
    every = torch.arange(data.item_num).expand(6, -1)
    scores = model.scores_by("likelihood", batch, every)
    leaf, of_id = model.trie.item_leaf, scores.clone()
    for item in range(1, data.item_num):  # items that share an ID share the best prior among them
        same = (leaf == leaf[item]).nonzero()[:, 0]
        of_id[:, item] += prior[:, same].amax(1)
    owner, items = data.exclusion.pairs(batch["history_begin"].numpy(), batch["history_end"].numpy())
    of_id[owner, items] = of_id[:, 0] = -torch.inf
    torch.testing.assert_close(of_id.gather(1, lists), of_id.topk(5).values, atol=1e-4, rtol=0)
    assert not torch.equal(lists, model.recommend(batch, 5))
    moved, plain = model.answer(batch, candidates, 5, prior=prior), model.answer(batch, candidates, 5)
    assert torch.equal(moved.items, lists)
    torch.testing.assert_close(moved.scores, plain.scores)


def test_the_option():
    def read(given):
        return CoNRecOptions.read({"stages": [], "candidate_scores": given}).candidate_scores

    assert CoNRecOptions.read({"stages": []}).candidate_scores == ("likelihood",) and read("beam") == ("beam",)
    assert read(["similarity", "beam"]) == ("similarity", "beam")
    for wrong in ("loud", [], ["beam", "beam"], 3, [3]):
        with pytest.raises(UserError, match=r"candidate_scores.*: .*likelihood, beam, similarity"):
            read(wrong)
