"""Prompts with titles, against an oracle that writes text; texts that share a prompt, against one by one."""

import numpy as np
import pytest
import torch
from llmtools import SMALL, next_token_logps, random_ids, shake
from test_prompts import WORD, random_log

from recbole_conrec.data.events import NEGATIVE, POSITIVE, Instances
from recbole_conrec.data.splits import first_dislikes
from recbole_conrec.generative.prompts import FEEDBACK, ID_TEXTS, INSTRUCTION, context_of
from recbole_conrec.generative.text_prompts import (
    ANSWER,
    INTENTION,
    LIKE_IT,
    LIKE_OR_NOT,
    OPINION,
    PREFERENCE,
    RANK,
    TARGET,
    TASTE,
    TITLE_TEXTS,
    TITLED,
    TextPrompts,
)
from recbole_conrec.llm.backbone import BackboneOptions, load_backbone
from recbole_conrec.llm.batch import left_pad
from recbole_conrec.llm.decoding import answer_logps, text_logps

KINDS = {"negative": (NEGATIVE,), "both": (NEGATIVE, POSITIVE)}


@pytest.fixture(scope="module")
def titles_log():
    """(log, titles, builder with a long limit, its backbone, instances)."""
    log = random_log(0)
    rng = np.random.default_rng(1)
    words = ["night", "river", "golden", "silent", "moon", "iron", "lost"]
    titles = [" ".join(rng.choice(words, rng.integers(1, 5))) for _ in range(log.n_items)]
    titles[0] = titles[7] = ""
    backbone = load_backbone(
        "tiny", random_ids(log.n_items, (6, 7, 16)), [*titles, *ID_TEXTS, *TITLE_TEXTS], BackboneOptions(tiny=WORD)
    )
    return log, titles, TextPrompts(backbone, log, 4096, titles), backbone, Instances.of_rows(log, first_dislikes(log))


def titled(titles_log, item: int) -> str:
    _, titles, _, backbone, _ = titles_log
    sid = "".join(f"<{'abc'[level]}_{code}>" for level, code in enumerate(backbone.semantic_ids.codes[item]))
    return titles[item] or sid


def past(titles_log, part, n, kinds, history=6) -> list[tuple[int, int]]:
    """The last events before t0 as (item, feedback), by a loop over the log."""
    log = titles_log[0]
    return [
        (int(i), int(f))
        for u, i, t, f in zip(log.user, log.item, log.time, log.feedback, strict=True)
        if u == part.user[n] and t < part.time[n] and f in kinds
    ][-history:]


def listed(titles_log, events, kind: int) -> str:
    return " ".join(f"{titled(titles_log, item)} ;" for item, feedback in events if feedback == kind)


@pytest.mark.parametrize("context", ["negative", "both"])
def test_liking_tells_likes_and_dislikes_apart(titles_log, context):
    _, _, builder, backbone, part = titles_log
    found = builder.liking(part.begin, part.end, part.time, part.user, context_of(context, 6)).lists()
    for n in range(len(part)):
        events = past(titles_log, part, n, KINDS[context])
        text = LIKE_OR_NOT
        for kind in (POSITIVE, NEGATIVE):
            text += f"{TASTE[kind]} {listed(titles_log, events, kind)}" if kind in KINDS[context] else ""
        assert found[n] == backbone.encode([text + TARGET])[0]
    items = np.array([[3, 7], [1, 2]])
    for row, question in zip(items.ravel(), builder.question(items).reshape(4, -1), strict=True):
        assert question[question >= 0].tolist() == backbone.encode([titled(titles_log, row) + LIKE_IT])[0]
        assert (np.diff((question >= 0).astype(int)) <= 0).all()  # holes are last


def test_ranking_names_every_candidate_once_in_an_order_of_its_own(titles_log):
    log, _, builder, backbone, part = titles_log
    part = part[:20]
    candidates = np.stack([np.random.default_rng(n).permutation(np.arange(1, log.n_items))[:5] for n in range(20)])
    candidates[3, 2:] = 0
    context = context_of("both", 6)
    ask = (part.begin, part.end, part.time, part.user, context)
    found = builder.ranking(*ask, candidates, 1).lists()
    for n in range(20):
        events = past(titles_log, part, n, KINDS["both"])
        text = PREFERENCE + "".join(
            f"{OPINION[kind]} {listed(titles_log, events, kind)}" for kind in (POSITIVE, NEGATIVE)
        )
        start = backbone.encode([text + INTENTION + RANK])[0]
        assert found[n][: len(start)] == start
        end = backbone.encode([ANSWER])[0]
        assert found[n][-len(end) :] == end
        named = backbone.tokenizer.decode(found[n][len(start) : -len(end)]).split(";")
        assert sorted(name.replace(" ", "") for name in named if name.strip()) == sorted(
            titled(titles_log, item).replace(" ", "") for item in candidates[n] if item
        )
    assert builder.ranking(*ask, candidates[:, ::-1], 1).lists() == found  # the columns' order does not matter
    assert builder.ranking(*ask, candidates, 2).lists() != found
    answers = builder.answer(candidates)
    assert (answers[3, 2:] == -1).all()
    assert answers[0, 0][answers[0, 0] >= 0].tolist() == [
        *backbone.encode([titled(titles_log, candidates[0, 0])])[0],
        backbone.eos_id,
    ]


@pytest.mark.parametrize("ask", [None, TITLED])
def test_titles_stand_in_for_ids(titles_log, ask):
    _, _, builder, backbone, part = titles_log
    context = context_of("both", 6)
    found = builder.title_history(part.begin, part.end, part.time, part.user, context, ask).lists()
    for n in range(len(part)):
        text = "".join(f"{FEEDBACK[f]} {titled(titles_log, i)} ;" for i, f in past(titles_log, part, n, KINDS["both"]))
        assert found[n] == backbone.encode([INSTRUCTION + text + (ask or FEEDBACK[NEGATIVE])])[0]


def test_a_long_history_loses_its_oldest_titles_and_is_counted(titles_log):
    log, titles, builder, backbone, part = titles_log
    tight = TextPrompts(backbone, log, 60, titles)
    context = context_of("both", 50)
    ask = (part.begin, part.end, part.time, part.user, context)
    whole, short = (one.title_history(*ask).lists() for one in (builder, tight))
    shortened = tight.title_history(*ask).shortened
    head, tail = backbone.encode([INSTRUCTION])[0], backbone.encode([FEEDBACK[NEGATIVE]])[0]
    lost = 0
    for n, (long, brief) in enumerate(zip(whole, short, strict=True)):
        assert len(brief) <= 60
        events, kept = long[len(head) : len(long) - len(tail)], brief[len(head) : len(brief) - len(tail)]
        assert events[len(events) - len(kept) :] == kept
        lost += len(kept) < len(events)
        assert shortened[n] == (len(kept) < len(events))
    assert 0 < lost < len(part) and not builder.title_history(*ask).shortened.any()
    candidates = np.tile(np.arange(1, 6), (len(part), 1))
    roomy = TextPrompts(backbone, log, 90, titles)
    for prompts in (roomy.liking(*ask), roomy.ranking(*ask, candidates, 0)):
        assert max(map(len, prompts.lists())) < 90


@pytest.mark.parametrize("texts", [[[[5, 6, 7], [8]], [[9, 4], []]]])
def test_texts_that_share_a_prompt_score_as_if_alone(texts):
    backbone = load_backbone("tiny", random_ids(9, (3, 3)), ["a b c d e f g h i j k"], BackboneOptions(tiny=SMALL))
    shake(backbone.model)
    backbone.model.eval()
    prompts = [[3, 4, 5, 6, 7], [8, 9]]
    ids, mask = left_pad(prompts, backbone.pad_id)
    padded = torch.tensor([[[*text, *[-1] * (4 - len(text))] for text in row] for row in texts])
    scores = text_logps(backbone, ids, mask, padded)
    answers = answer_logps(backbone, ids, mask, padded, [4, 5])
    assert torch.allclose(text_logps(backbone, ids, mask, padded, chunk=1), scores, atol=1e-5)
    for b, row in enumerate(texts):
        for c, text in enumerate(row):
            alone = torch.tensor([prompts[b] + text])
            with torch.no_grad():
                logps = backbone.model(alone).logits[0].float().log_softmax(-1)
            start = len(prompts[b]) - 1
            expected = sum(logps[start + n, token] for n, token in enumerate(text)) if text else -torch.inf
            assert scores[b, c] == pytest.approx(float(expected), abs=1e-4)
            one = next_token_logps(backbone, alone[0].tolist(), [4, 5])
            assert torch.allclose(answers[b, c], one, atol=1e-4)
