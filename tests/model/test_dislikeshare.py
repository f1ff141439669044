import numpy as np
import pytest
import torch
from counting import CUT, make_dataset, past, settings

from recbole_conrec.data.events import EXPOSURE, NEGATIVE
from recbole_conrec.model.dislikeshare import DislikeShare


def with_exposures(as_of):
    dataset = make_dataset(as_of=as_of)
    dataset.log.feedback[::3] = EXPOSURE
    return dataset


def make(dataset, **options):
    return DislikeShare({**settings(), **options}, dataset)


def oracle(log, end):
    """(dislikes, events) of each item before a time, loop by loop."""
    dislikes, events = [0] * log.n_items, [0] * log.n_items
    for item, time, feedback in zip(log.item, log.time, log.feedback, strict=True):
        if time < end:
            events[item] += 1
            dislikes[item] += bool(feedback == NEGATIVE)
    return np.array(dislikes), np.array(events)


@pytest.mark.parametrize("as_of, end", [("t0", 80), ("cut", CUT)])
def test_scores_are_shares_of_dislikes(as_of, end):
    dataset = with_exposures(as_of)
    dislikes, events = oracle(dataset.log, end)
    batch = past([1, 2], dataset, 80)
    add_one = make(dataset).full_sort_predict(batch)
    np.testing.assert_allclose(add_one.numpy(), [(dislikes + 1) / (events + 2)] * 2, rtol=1e-6)
    mean = dislikes.sum() / events.sum()
    shrunk = make(dataset, shrinkage=10, towards=None).full_sort_predict(batch)
    np.testing.assert_allclose(shrunk[0].numpy(), (dislikes + 10 * mean) / (events + 10), rtol=1e-6)


def test_before_the_first_event_all_items_are_level():
    scores = make(with_exposures("t0"), towards=None).full_sort_predict(past([1], with_exposures("t0"), 0))
    assert torch.equal(scores, torch.zeros_like(scores))


@pytest.mark.parametrize("as_of, late", [("t0", 80), ("cut", CUT)])
def test_what_happens_later_moves_nothing(as_of, late):
    scores = []
    for change in (False, True):
        dataset = with_exposures(as_of)
        changed = (dataset.log.time >= late) & change
        dataset.log.feedback[changed] = -1 - dataset.log.feedback[changed]
        scores.append(make(dataset).full_sort_predict(past([1, 2, 3], dataset, 80)))
    assert torch.equal(*scores)
