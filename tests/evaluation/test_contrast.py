"""The scoring `contrast`: its terms by hand, its weights by looking at every combination."""

import itertools

import numpy as np
import pytest
import torch

from recbole_conrec.data.events import NEGATIVE
from recbole_conrec.evaluation.contrast import WEIGHTS, accuracy, choose, combine, item_terms
from recbole_conrec.runs.contrast import calibrated, terms
from recbole_conrec.utils.distributed import my_batches


def test_terms_are_counts_of_the_training(tiny_dataset):
    data, log = tiny_dataset, tiny_dataset.log
    candidates = np.array([[1, 5, 0], [7, 2, 3]])
    found = item_terms(data.side, np.array([10**12, 10**12]), candidates)
    for row, column in itertools.product(range(2), range(3)):
        mine = data.train_mask & (log.item == candidates[row, column])
        disliked = (mine & (log.feedback == NEGATIVE)).sum()
        assert found["popularity"][row, column] == pytest.approx(-np.log(1 + mine.sum()))
        assert found["share"][row, column] == pytest.approx(np.log((disliked + 1) / (mine.sum() + 2)))


def lists(n=400, size=8, seed=0):
    """Scores that hold a popularity which says nothing of the answer."""
    rng = np.random.default_rng(seed)
    answer = rng.integers(0, size, n)
    popularity = rng.normal(size=(n, size)) * 2
    taste = rng.normal(size=(n, size)) + 1.5 * (np.arange(size) == answer[:, None])
    return taste + popularity, {"popularity": -popularity, "share": rng.normal(size=(n, size))}, answer


def test_what_only_popularity_adds_is_taken_away():
    scores, terms, answer = lists()
    weights = choose(scores, terms, answer)
    assert weights["popularity"] == pytest.approx(1, rel=0.35)
    assert accuracy(combine(scores, terms, weights), answer) > accuracy(scores, answer) + 0.1
    held_out, held_terms, held_answer = lists(seed=1)
    assert accuracy(combine(held_out, held_terms, weights), held_answer) > accuracy(held_out, held_answer) + 0.1


def test_no_better_single_change_of_a_weight_exists():
    scores, terms, answer = lists(60, 5, 3)
    weights = choose(scores, terms, answer)
    best = accuracy(combine(scores, terms, weights), answer)
    unit = {name: np.median(scores.std(axis=1)) / np.median(term.std(axis=1)) for name, term in terms.items()}
    for w in WEIGHTS:  # of the term that was chosen last
        assert accuracy(combine(scores, terms, {**weights, "share": w * unit["share"]}), answer) <= best
    assert all(min(abs(w / unit[name] - v) for v in WEIGHTS) < 1e-6 for name, w in weights.items())
    assert choose(scores * 10, terms, answer)["share"] == pytest.approx(weights["share"] * 10)


def test_a_tie_is_a_miss_and_a_missing_candidate_changes_nothing():
    scores = np.array([[1.0, 1.0, -np.inf], [2.0, 1.0, -np.inf]])
    assert accuracy(scores, np.array([0, 0])) == 0.5
    assert choose(scores, {"share": np.zeros((2, 3))}, np.array([0, 0])) == {"share": 0.0}


def test_weights_read_validation_alone(tiny_dataset):
    """Pop's scores are counts; the weights that come out are those of the lists of the part that is served."""

    class Counted:
        def full_sort_predict(self, interaction):
            counts = tiny_dataset.side.counts((NEGATIVE,), interaction["t0"].numpy())
            return torch.from_numpy(counts.astype(np.float32))

    valid = tiny_dataset.build()[1]
    model = Counted()
    weights = calibrated(model, valid, my_batches(len(valid), 7), torch.device("cpu"))
    truth, batch = valid.truth(), valid[np.arange(len(valid))]
    scores = np.take_along_axis(tiny_dataset.side.counts((NEGATIVE,), batch["t0"].numpy()), truth.candidates[:], 1)
    scores = np.where(truth.candidates[:] > 0, scores, -np.inf)
    assert weights == choose(scores, terms(model, valid, batch, torch.from_numpy(truth.candidates[:])), truth.answer)
