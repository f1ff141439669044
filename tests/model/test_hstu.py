"""HSTU against a loop over places, and what its biases read."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import silu

from recbole_conrec.data.events import FeedbackStream
from recbole_conrec.model.hstu import HSTU

SMALL = {"hidden_size": 8, "n_layers": 2, "n_heads": 2, "head_size": 3, "hidden_dropout_prob": 0.0}


def make(make_tiny, **options):
    config, data = make_tiny("HSTU", **{**SMALL, "MAX_ITEM_LIST_LENGTH": 6, **options})
    torch.manual_seed(0)
    model = HSTU(config, data).eval()
    with torch.no_grad():  # as drawn, attention is so small that errors in it would not show
        for parameter in model.parameters():
            parameter.mul_(20)
    return model, data


def norm(x):
    return (x - x.mean()) / (x.var(unbiased=False) + 1e-5).sqrt()


@torch.no_grad()
def slowly(model, data, n: int) -> torch.Tensor:
    """The scores of instance n, one query and one key at a time."""
    log, one = data.log, data.instances[[n]]
    rows = [r for r in range(one.begin[0], one.end[0]) if log.feedback[r] in (-1, 1)][-model.max_seq_length :]
    times = [*log.time[rows].tolist(), int(one.time[0])]
    x = [
        model.item_embedding.weight[log.item[r]] * math.sqrt(8)
        + model.place_embedding.weight[place]
        + model.feedback_embedding.weight[1 if log.feedback[r] == 1 else 2]
        for place, r in enumerate(rows)
    ]
    for layer in model.layers:
        mixed = [silu(layer.mix.weight @ norm(v)).view(4, 2, 3) for v in x]  # gate, value, query, key; heads
        after = []
        for i, v in enumerate(x):
            total = torch.zeros(2, 3)
            for j in range(i + 1):
                seconds = max(times[i + 1] - times[j], 1)
                bias = model.place_bias[i - j] + model.time_bias[min(int(math.log2(seconds)), 63)]
                for head in range(2):
                    weight = silu(mixed[i][2, head] @ mixed[j][3, head] + bias) / 6
                    total[head] += weight * mixed[j][1, head]
            after.append(v + layer.out(norm(total.flatten()) * mixed[i][0].flatten()))
        x = after
    return norm(x[-1]) @ model.item_embedding.weight.T


def lengths(data) -> np.ndarray:
    return FeedbackStream(data.log, (-1, 1)).count(data.instances.begin, data.instances.end)


def test_scores_are_those_of_a_loop(make_tiny):
    model, data = make(make_tiny)
    for length in (1, 4, 9):
        n = int(np.flatnonzero(lengths(data) == length)[0])
        expected = slowly(model, data, n)
        torch.testing.assert_close(model.full_sort_predict(data[[n]])[0], expected, rtol=1e-3, atol=1e-3)


def test_the_batch_changes_no_score(make_tiny):
    model, data = make(make_tiny)
    batch = [int(np.flatnonzero(lengths(data) == length)[0]) for length in (0, 1, 4, 9)]
    together = model.full_sort_predict(data[batch])
    for place, n in enumerate(batch):
        torch.testing.assert_close(together[place], model.full_sort_predict(data[[n]])[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("what", ["t0", "feedback", "place"])
def test_scores_follow_time_feedback_and_order(make_tiny, what):
    model, data = make(make_tiny)
    n = int(np.flatnonzero(lengths(data) == 9)[0])
    batch = data[[n]]
    before = model.full_sort_predict(batch)
    if what == "t0":
        batch.interaction["t0"] = batch["t0"] + 30 * 86_400
    elif what == "feedback":
        with torch.no_grad():
            model.feedback_embedding.weight[1] *= -1
    else:
        with torch.no_grad():
            model.place_bias[1] += 1
    assert not torch.allclose(model.full_sort_predict(batch), before, atol=1e-2)


def test_negative_context_shows_no_like(make_tiny):
    model, data = make(make_tiny, context="negative")
    before = model.full_sort_predict(data[range(20)])
    with torch.no_grad():
        model.feedback_embedding.weight[1] += 1
    assert torch.equal(model.full_sort_predict(data[range(20)]), before)
