"""CoNRec's rewards by hand and by loops; what alignment and GRPO show of the training part."""

import copy
from dataclasses import replace
from types import MethodType, SimpleNamespace

import numpy as np
import pytest
import torch
from llmtools import random_ids

from recbole_conrec.data.events import NEGATIVE, POSITIVE
from recbole_conrec.data.splits import first_dislikes
from recbole_conrec.generative.prompts import ID_TEXTS, PromptBuilder
from recbole_conrec.generative.recommender import GenerativeRecommender
from recbole_conrec.generative.rewards import REWARDS, unit_vectors
from recbole_conrec.generative.stage import StageRun
from recbole_conrec.generative.tasks import QUESTIONS, alignment_choices
from recbole_conrec.llm.backbone import BackboneOptions, load_backbone
from recbole_conrec.model.conrec import CoNRecGRPOStage, grpo
from recbole_conrec.utils.arrays import mix
from recbole_conrec.utils.errors import UserError

DAY = 86_400
#        item:       0 none    1       2         3         4          5
VECTORS = torch.tensor([[0.0, 0], [1, 0], [0, 1], [0.6, 0.8], [-1, 0], [0.8, 0.6]])
CODES = torch.tensor([[-1, -1, -1], [0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0], [0, 0, 0]])
OUT = torch.tensor([[1, 3, 0, 4], [1, 3, 2, 5], [1, 5, 0, 2]])
GTS = torch.tensor([[2, 5, 0], [3, 0, 0], [4, 0, 0]])
FPS = torch.tensor([[1, 0], [0, 0], [4, 0]])  # the second user likes nothing
# max cos to GTS: .8 .96 - 0 | .6 1 .8 .96 | -1 -.8 - 0; to FPS: 1 .6 - -1 | none | -1 -.8 - 0; .6 is not above .6
BY_HAND = {
    "negatives": [[0.8, 0.96, -1, 0], [0.6, 1, 0.8, 0.96], [-1, -0.8, -1, 0]],
    "negatives_truncated": [[0.8, 0.96, 0, 0], [0, 1, 0.8, 0.96], [0, 0, 0, 0]],
    "negatives_minus_positives": [[0.3, 0.66, -1.5, 0.5], [0.6, 1, 0.8, 0.96], [-0.5, -0.4, -1.5, 0]],
    "truncated_minus_truncated": [[0.3, 0.96, -0.5, 0], [0, 1, 0.8, 0.96], [0, 0, -0.5, 0]],
    # GTS 2, 5 = (0 0 1), (0 0 0); 3 = (0 1 0); 4 = (1 0 0)
    "hits": [[1, 0.01, 0, 0], [0.01, 1, 0.01, 0.01], [0, 0, 0, 0]],
}


@pytest.mark.parametrize("name", REWARDS)
def test_rewards_by_hand(name):
    got = REWARDS[name](OUT, GTS, FPS, VECTORS, CODES, 0.5)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, torch.tensor(BY_HAND[name], dtype=torch.float32))
    without = REWARDS[name](OUT[1:2], GTS[1:2], torch.zeros(1, 0, dtype=torch.int64), VECTORS, CODES, 0.5)
    torch.testing.assert_close(without, got[1:2])  # nobody of the batch likes anything


@pytest.mark.parametrize(
    "depth, worth", [(1, [0, 1]), (2, [0, 0.1, 1]), (3, [0, 0.01, 0.1, 1]), (4, [0, 0, 0.01, 0.1, 1])]
)
def test_hits_of_every_depth(depth, worth):
    codes = torch.zeros(depth + 3, depth, dtype=torch.int64)
    for item in range(1, depth + 2):  # item i shares its first i - 1 codes with the last one
        codes[item, item - 1 :] = 1
    codes[0], codes[-1] = -1, 0
    out = torch.arange(1, depth + 2)[None]
    got = REWARDS["hits"](out, torch.tensor([[depth + 2, 0]]), torch.zeros(1, 0, dtype=torch.int64), None, codes, 0.5)
    assert got.tolist() == [pytest.approx(worth)]


def slow(name, out, gts, fps, vectors, codes, gamma):
    """One completion against the lists of GTS and FPS."""

    def cosine(targets):
        values = [float(sum(a * b for a, b in zip(vectors[out], vectors[t], strict=True))) for t in targets]
        return max(values) if values else 0.0

    def cut(value):
        return value if value > 0.6 else 0.0

    if name == "hits":
        equal = 0
        for target in gts:
            n = 0
            while n < 3 and codes[out][n] == codes[target][n]:
                n += 1
            equal = max(equal, n)
        return {0: 0, 1: 0.01, 2: 0.1, 3: 1}[equal] if out else 0
    negative, positive = (cosine(gts), cosine(fps)) if out else (0, 0)
    return {
        "negatives": negative if out else -1,
        "negatives_truncated": cut(negative),
        "negatives_minus_positives": negative - gamma * positive if out else -1 - gamma,
        "truncated_minus_truncated": cut(negative) - gamma * cut(positive) if out else -gamma,
    }[name]


@pytest.mark.parametrize("name", REWARDS)
@pytest.mark.parametrize("gamma", [0.0, 0.7])
def test_rewards_equal_a_slow_loop(name, gamma):
    rng = np.random.default_rng(0)
    ids = random_ids(50, (3, 3, 8))
    vectors, codes = unit_vectors(ids), torch.from_numpy(np.array(ids.codes))
    out = rng.integers(0, 50, (20, 6))
    gts = [rng.choice(np.arange(1, 50), rng.integers(1, 5), replace=False) for _ in range(20)]
    fps = [rng.choice(np.arange(1, 50), rng.integers(0, 4), replace=False) for _ in range(20)]
    padded = [torch.tensor([[*row, *[0] * (5 - len(row))] for row in rows]) for rows in (gts, fps)]
    got = REWARDS[name](torch.from_numpy(out), *padded, vectors, codes, gamma)
    expected = [
        [slow(name, o, g, f, vectors.numpy(), codes.numpy(), gamma) for o in row]
        for row, g, f in zip(out, gts, fps, strict=True)
    ]
    torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float32), atol=1e-5, rtol=0)
    assert (out == 0).any() and (got[torch.from_numpy(out == 0)] <= got.min() + 1e-6).all()


def test_unit_vectors_point_where_the_codes_do():
    ids = random_ids(20, (3, 4, 5))
    vectors = unit_vectors(ids).numpy()
    for item in range(1, 20):
        rebuilt = sum(book[code] for book, code in zip(ids.codebooks, ids.codes[item], strict=True))
        assert vectors[item] == pytest.approx(rebuilt / np.sqrt((rebuilt**2).sum()), abs=1e-5)
    assert not vectors[0].any()


def changed_after_the_cut(data, seed=0):
    """A copy of the data set with other items and other feedback in all that is not training."""
    rng, log = np.random.default_rng(seed), data.log
    item = np.where(data.train_mask, log.item, rng.integers(1, log.n_items, len(log)))
    feedback = np.where(data.train_mask, log.feedback, rng.choice([-1, 1], len(log)))
    other = copy.copy(data)
    other._shared, other.log = {}, replace(log, item=item, feedback=feedback)
    other.first_dislike = np.isin(np.arange(len(log)), first_dislikes(other.log))
    return other


# -- alignment -----------------------------------------------------------------------------------------------------
def test_alignment_asks_for_the_disliked_among_liked(tiny_dataset):
    data, log = tiny_dataset, tiny_dataset.log
    dislikes, liked = dict.fromkeys(range(log.n_items), 0), set()
    for row in np.flatnonzero(data.train_mask):
        dislikes[log.item[row]] += log.feedback[row] == NEGATIVE
        if log.feedback[row] == POSITIVE:
            liked.add(log.item[row])
    least = sorted(dislikes.values())[-20]
    able = {item for item, number in dislikes.items() if number > least}
    assert 0 < len(able) < 20

    answers, choices = alignment_choices(data, least, 2000, np.random.default_rng(0))
    assert answers.shape == (2000,) and choices.shape == (2000, 4)
    assert set(answers.tolist()) == able
    for answer, four in zip(answers.tolist(), choices.tolist(), strict=True):
        assert len(set(four)) == 4 and answer in four
        assert set(four) - {answer} <= liked
    assert set(choices.ravel().tolist()) - able <= liked
    drawn = np.bincount(answers, minlength=log.n_items)
    assert np.corrcoef([dislikes[i] for i in able], drawn[list(able)])[0, 1] > 0.5  # by events, not by items
    places = np.bincount((choices == answers[:, None]).argmax(1), minlength=4)
    assert (abs(places - 500) < 100).all()  # five standard deviations

    of_others = alignment_choices(data, 1, 2000, np.random.default_rng(0), held_out=True)
    users = (mix(QUESTIONS, np.arange(log.n_users)) % 10 == 0)[log.user]  # the tenth that measures, and no other
    assert 0 < users.mean() < 0.3
    assert set(of_others[0].tolist()) <= set(log.item[users & data.train_mask & (log.feedback == NEGATIVE)].tolist())
    ours = replace(log, feedback=np.where(users, -log.feedback, log.feedback))
    kept = SimpleNamespace(log=ours, train_mask=data.train_mask & ~users)
    assert set(alignment_choices(kept, 1, 500, np.random.default_rng(0))[0].tolist()) <= set(
        log.item[~users & data.train_mask & (log.feedback == NEGATIVE)].tolist()
    )

    for other in (data, changed_after_the_cut(data)):
        again = alignment_choices(other, least, 2000, np.random.default_rng(0))
        assert (again[0] == answers).all() and (again[1] == choices).all()
    assert (alignment_choices(data, least, 2000, np.random.default_rng(1))[1] != choices).any()


def test_alignment_names_what_is_missing(tiny_dataset):
    data, log = tiny_dataset, tiny_dataset.log
    with pytest.raises(UserError, match="0 items have more than 100000 negatives"):
        alignment_choices(data, 100_000, 5, np.random.default_rng(0))
    some = log.feedback == POSITIVE
    for liked in (0, 3, 8):
        sparse = np.where(some & (log.item > liked), 0, log.feedback)
        part = SimpleNamespace(log=replace(log, feedback=sparse), train_mask=data.train_mask)
        if liked == 8:  # just enough, though an answer may itself be among them
            assert len(alignment_choices(part, 1, 200, np.random.default_rng(0))[0]) == 200
        else:
            with pytest.raises(UserError, match=f"{liked} items are liked"):
                alignment_choices(part, 1, 5, np.random.default_rng(0))


# -- GRPO ----------------------------------------------------------------------------------------------------------
STAGE = {"name": "g", "task": "grpo", "context": "both", "history": 10, "neighbours": 3, "samples": 10**6}
METHOD = SimpleNamespace(context="negative", history=1)  # what a stage leaves open


@pytest.fixture(scope="module")
def backbone(tiny_dataset):
    tiny = {"layers": 1, "hidden": 8, "heads": 1, "kv_heads": 1, "intermediate": 8}
    return load_backbone("tiny", random_ids(tiny_dataset.log.n_items, (6, 6, 6)), ID_TEXTS, BackboneOptions(tiny=tiny))


def rows_of(backbone, data, **options):
    """GRPO's examples, and the (user, t0) that each prompt was written for."""
    prompts = PromptBuilder(backbone, data.log, 512)
    write, asked = prompts.history, []

    def history(begin, end, t0, context, users):
        asked.extend(zip(users.tolist(), t0.tolist(), begin.tolist(), end.tolist(), strict=True))
        return write(begin, end, t0, context, users)

    prompts.history = history
    trie = backbone.semantic_ids.trie
    model = SimpleNamespace(prompts=prompts, options=METHOD, semantic_ids=backbone.semantic_ids, trie=trie)
    model.exclusion, model._shared, model.backbone = data.exclusion, False, backbone
    model.forbidden = MethodType(GenerativeRecommender.forbidden, model)
    stage = CoNRecGRPOStage.read(STAGE | options)
    rows = grpo(StageRun(model, data, stage, np.random.default_rng(0))).examples
    assert len(rows) == len(asked)
    return rows, asked


def oracle(data, user, t0, neighbours, days=7):
    """GTS and FPS by looking at each of the user's training events."""
    log, near = data.log, data.swing().matrix().toarray()
    gts, fps, before = set(), set(), set()
    left_out = {int(i) for i, t, f in events_of_user(log, user) if t < t0 and f == NEGATIVE}
    for row in range(log.start[user], log.start[user + 1]):
        time, item, feedback = log.time[row], int(log.item[row]), log.feedback[row]
        if time >= data.cuts.valid_start[user]:
            break
        if feedback == NEGATIVE and item not in before:
            before.add(item)
            if t0 <= time <= t0 + days * DAY:
                gts.add(item)
        if feedback == POSITIVE and t0 <= time <= t0 + days * DAY:
            fps.add(item)
    for item in list(gts):
        ranked = sorted((j for j in range(log.n_items) if near[item, j] > 0), key=lambda j: (-near[item, j], j))
        gts |= set(ranked[:neighbours])
    return sorted(gts - left_out), sorted(fps)


def events_of_user(log, user):
    rows = range(log.start[user], log.start[user + 1])
    return [(log.item[row], log.time[row], log.feedback[row]) for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("by", ["time", "user"])
def test_grpo_examples_look_ahead_in_the_training_part_only(make_tiny, backbone, by):
    data = make_tiny(split={"by": by})[1].build()[0]
    rows, asked = rows_of(backbone, data)
    assert len(rows) == len(data.instances) == data.splits["train"].row.shape[0]
    widened, cut_off = 0, 0
    for row, (user, t0, begin, end) in list(zip(rows, asked, strict=True))[::5]:
        assert t0 < data.cuts.valid_start[user]
        assert begin == data.log.start[user] and end == data.log.first_at_or_after(np.array([user]), np.array([t0]))[0]
        gts, fps = oracle(data, user, t0, 3)
        assert (row["gts"], row["fps"]) == (gts, fps)
        disliked = {int(i) for i, t, f in events_of_user(data.log, user) if t < t0 and f == NEGATIVE}
        assert {int(backbone.semantic_ids.trie.leaf_items[leaf]) for leaf in row["forbidden"]} == disliked
        assert not disliked & set(gts)
        widened += len(gts) > len(oracle(data, user, t0, 0)[0])
        cut_off += t0 + 7 * DAY >= data.cuts.valid_start[user]
    assert widened and cut_off and any(not row["fps"] for row in rows)

    other = changed_after_the_cut(data)
    assert (other.log.item != data.log.item).any()
    assert rows_of(backbone, other) == (rows, asked)


def test_grpo_examples_are_a_sample_with_the_prompts_of_the_stage(make_tiny, backbone):
    data = make_tiny()[1].build()[0]
    every, asked = rows_of(backbone, data, neighbours=0)
    some, asked_some = rows_of(backbone, data, neighbours=0, samples=40)
    assert len(some) == 40 and len(set(asked_some)) > 30 and set(asked_some) <= set(asked)
    assert some == every[:40]
    for row, (user, t0, _, _) in zip(some, asked_some, strict=True):
        assert row["gts"] == oracle(data, user, t0, 0)[0]
    near, _ = rows_of(backbone, data, window={"unit": "days", "length": 3}, context="negative", samples=40)
    lengths = [[len(row["input_ids"]) for row in rows] for rows in (near, some)]
    assert sum(lengths[0]) < sum(lengths[1]) and all(a <= b for a, b in zip(*lengths, strict=True))


def test_the_future_of_grpo_examples_may_be_the_next_dislike_or_another_window(make_tiny, backbone):
    data = make_tiny()[1].build()[0]
    part = data.instances[np.random.default_rng(0).permutation(len(data.instances))[:40]]
    rows, asked = rows_of(backbone, data, future="next", neighbours=0, samples=40)
    assert [row["gts"] for row in rows] == part.item[:, None].tolist()
    assert [row["fps"] for row in rows] == [oracle(data, user, t0, 0)[1] for user, t0, _, _ in asked]
    near = data.swing().matrix()
    rows, _ = rows_of(backbone, data, future="next", neighbours=3, samples=40)
    for row, item, (user, t0, _, _) in zip(rows, part.item, asked, strict=True):
        before = {int(i) for i, t, f in events_of_user(data.log, user) if t < t0 and f == NEGATIVE}
        best = sorted(near[item].indices, key=lambda j: (-near[item, j], j))[:3]
        assert row["gts"] == sorted({item, *best} - before)
    rows, asked = rows_of(backbone, data, future={"unit": "days", "length": 2}, samples=40)
    for row, (user, t0, _, _) in zip(rows, asked, strict=True):
        assert (row["gts"], row["fps"]) == oracle(data, user, t0, 3, days=2)
    assert any(oracle(data, user, t0, 3) != oracle(data, user, t0, 3, days=2) for user, t0, _, _ in asked)
