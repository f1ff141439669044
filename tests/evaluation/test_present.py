"""The prior of recent dislikes: what it adds, when it is used, and that validation chooses it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from recbole.model.abstract_recommender import AbstractRecommender

from recbole_conrec.data.events import NEGATIVE
from recbole_conrec.dense.untrained import UntrainedRecommender
from recbole_conrec.evaluation.ranking import recommend, takes_prior
from recbole_conrec.runs.present import FLOOR, Present, PresentOptions, chosen, log_recent, wanted

OPTIONS = PresentOptions(days=(2, 9), weights=(0, 1, 5), sample=None)


class Dense(AbstractRecommender):
    """Scores that are noise of each instance."""

    def __init__(self, n_items, scale=1.0):
        super().__init__()
        self.n_items, self.scale = n_items, scale

    def full_sort_predict(self, interaction):
        noise = [torch.rand(self.n_items, generator=torch.Generator().manual_seed(int(t))) for t in interaction["t0"]]
        return torch.stack(noise) * self.scale


class Alone(Dense):
    """A method that only scores candidates: nothing to add to."""

    full_sort_predict = AbstractRecommender.full_sort_predict


@pytest.fixture
def data(make_tiny):
    return make_tiny(as_of="t0", split={"by": "time"})[1]


def test_the_prior_is_the_log_of_recent_dislikes_before_t0(data):
    valid = data.build()[1]
    batch, log = valid[np.arange(5)], data.log
    found = log_recent(valid, batch, 3)
    for row, t0 in enumerate(batch["t0"].tolist()):
        recent = (log.feedback == NEGATIVE) & (log.time < t0) & (log.time >= t0 - 3 * 86_400)
        counts = np.bincount(log.item[recent], minlength=log.n_items)
        np.testing.assert_allclose(found[row], np.log(counts + FLOOR), rtol=1e-5)


def test_lists_are_ordered_by_scores_and_prior(data):
    valid = data.build()[1]
    batch, model = valid[np.arange(8)], Dense(data.log.n_items)
    prior = Present(3, 2.0).of(valid, batch)
    total = model.full_sort_predict(batch) + prior
    lists = recommend(model, batch, 5, valid, prior=prior)
    owner, items = data.exclusion.pairs(batch["history_begin"].numpy(), batch["history_end"].numpy())
    total[owner, items] = total[:, 0] = -torch.inf
    assert torch.equal(total.gather(1, lists), total.topk(5).values)
    assert Present(3, 0.0).of(valid, batch) is None


def test_it_is_for_lists_as_of_t0_and_not_for_references():
    dense, reference = Dense(9), SimpleNamespace(takes_present=UntrainedRecommender.takes_present)
    assert wanted(dense, OPTIONS, "t0") and not wanted(dense, OPTIONS, "cut")
    assert wanted(dense, PresentOptions(use="always"), "cut") and not wanted(dense, PresentOptions(use="never"), "t0")
    assert not wanted(Alone(9), OPTIONS, "t0") and not takes_prior(Alone(9))
    reference.recommend = lambda interaction, k, prior=None: None
    assert takes_prior(reference) and not wanted(reference, OPTIONS, "t0")


def test_validation_chooses_the_best_of_what_is_offered(data):
    valid, model = data.build()[1], Dense(data.log.n_items, 1e-9)
    best = chosen(model, valid, OPTIONS, 10, 7, 0, "cpu")

    def frecall(present):
        batch, truth, values = valid[np.arange(len(valid))], valid.truth(), []
        lists = recommend(model, batch, 10, valid, prior=present.of(valid, batch)).numpy()
        for n, items in enumerate(lists.tolist()):
            future = set(truth.f_items[truth.f_ptr[n] : truth.f_ptr[n + 1]].tolist())
            values.append(len(future & set(items)) / min(10, len(future)))
        return np.mean(values)

    candidates = [Present(days, best.weight * share) for days in OPTIONS.days for share in (0, 1)]
    assert frecall(best) == max(map(frecall, candidates)) > min(map(frecall, candidates))
