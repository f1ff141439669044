"""The prior of recent dislikes: what it adds, when it is used, and that validation chooses it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from recbole.model.abstract_recommender import AbstractRecommender

from recbole_conrec.data.events import NEGATIVE
from recbole_conrec.dense.untrained import UntrainedRecommender
from recbole_conrec.evaluation.ranking import recommend, takes_prior
from recbole_conrec.runs.present import FLOOR, TERMS, Present, PresentOptions, chosen, item_terms, wanted

OPTIONS = PresentOptions(days=(2, 9), pool=200)


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


def test_terms_are_rates_of_late_and_shares_before_t0(data):
    valid = data.build()[1]
    batch, log = valid[np.arange(5)], data.log
    found = item_terms(valid, batch, (3, 30))
    for row, t0 in enumerate(batch["t0"].tolist()):
        for name, kinds in (("dislikes", [NEGATIVE]), ("events", [-1, 0, 1])):
            of_kind = np.isin(log.feedback, kinds) & (log.time < t0)
            rate = np.zeros(log.n_items)
            for days in (3, 30):
                recent = of_kind & (log.time >= t0 - days * 86_400)
                rate += np.bincount(log.item[recent], minlength=log.n_items) / days
            np.testing.assert_allclose(found[name][row], np.log(rate + FLOOR), rtol=1e-4)
        past = log.time < t0
        dislikes = np.bincount(log.item[past & (log.feedback == NEGATIVE)], minlength=log.n_items)
        events = np.bincount(log.item[past], minlength=log.n_items)
        np.testing.assert_allclose(found["share"][row], np.log((dislikes + 1) / (events + 5)), rtol=1e-4)


def test_lists_are_ordered_by_scores_and_prior(data):
    valid = data.build()[1]
    batch, model = valid[np.arange(8)], Dense(data.log.n_items)
    weights = {"dislikes": 2.0, "share": 0.5, "events": 0.0}
    prior, terms = Present((3, 30), weights).of(valid, batch), item_terms(valid, batch, (3, 30))
    torch.testing.assert_close(prior, 2 * terms["dislikes"] + 0.5 * terms["share"])
    total = model.full_sort_predict(batch) + prior
    lists = recommend(model, batch, 5, valid, prior=prior)
    owner, items = data.exclusion.pairs(batch["history_begin"].numpy(), batch["history_end"].numpy())
    total[owner, items] = total[:, 0] = -torch.inf
    assert torch.equal(total.gather(1, lists), total.topk(5).values)
    assert Present((3, 30), dict.fromkeys(weights, 0.0)).of(valid, batch) is None


def test_it_is_for_lists_as_of_t0_and_not_for_references():
    dense, reference = Dense(9), SimpleNamespace(takes_present=UntrainedRecommender.takes_present)
    assert wanted(dense, OPTIONS, "t0") and not wanted(dense, OPTIONS, "cut")
    assert wanted(dense, PresentOptions(use="always"), "cut") and not wanted(dense, PresentOptions(use="never"), "t0")
    assert not wanted(Alone(9), OPTIONS, "t0") and not takes_prior(Alone(9))
    reference.recommend = lambda interaction, k, prior=None: None
    assert takes_prior(reference) and not wanted(reference, OPTIONS, "t0")


def frecall(model, part, present, k=10):
    """By loops, over all instances of a part."""
    batch, truth, values = part[np.arange(len(part))], part.truth(), []
    lists = recommend(model, batch, k, part, prior=present.of(part, batch)).numpy()
    for n, items in enumerate(lists.tolist()):
        future = set(truth.f_items[truth.f_ptr[n] : truth.f_ptr[n + 1]].tolist())
        values.append(len(future & set(items)) / min(k, len(future)))
    return np.mean(values)


def test_validation_chooses_weights_that_help(data):
    valid, model = data.build()[1], Dense(data.log.n_items)
    best = chosen(model, valid, OPTIONS, 10, 7, 0, "cpu")
    nothing = Present(OPTIONS.days, dict.fromkeys(best.weights, 0.0))
    assert any(best.weights.values()) and frecall(model, valid, best) > frecall(model, valid, nothing)
    assert best.valid == {"FRecall@10": pytest.approx(frecall(model, valid, best))}
    for name in best.weights:  # no weight is there for nothing
        fewer = Present(OPTIONS.days, {**best.weights, name: 0.0})
        assert frecall(model, valid, fewer) <= frecall(model, valid, best) + 1e-9


def test_a_method_that_knows_the_answers_is_left_alone(data):
    valid = data.build()[1]

    class Oracle(Dense):
        def full_sort_predict(self, interaction):
            scores = torch.zeros(len(interaction), self.n_items)
            truth = valid.truth()
            for row, n in enumerate(interaction["instance_id"].tolist()):
                scores[row, truth.f_items[truth.f_ptr[n] : truth.f_ptr[n + 1]]] = 1.0
            return scores

    assert chosen(Oracle(data.log.n_items), valid, OPTIONS, 10, 7, 0, "cpu").weights == dict.fromkeys(TERMS, 0.0)
