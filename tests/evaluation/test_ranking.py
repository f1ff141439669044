"""The model contract: own answers are checked, every other model is asked once through full_sort_predict."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import AbstractRecommender

from recbole_conrec.data.events import NEGATIVE, POSITIVE, EventLog
from recbole_conrec.data.exclusion import Exclusion
from recbole_conrec.evaluation.answers import Answers
from recbole_conrec.evaluation.ranking import answer as answer_of
from recbole_conrec.evaluation.ranking import check, excluded_pairs, rank, recommend, score_candidates

N_USERS, N_ITEMS = 7, 12


@pytest.fixture(scope="module")
def dataset():
    rng = np.random.default_rng(1)
    user, item, time = (rng.integers(low, high, 80) for low, high in ((1, N_USERS), (1, N_ITEMS), (0, 30)))
    log = EventLog.from_arrays(user, item, time, rng.choice([NEGATIVE, POSITIVE], 80), N_USERS, N_ITEMS)
    return SimpleNamespace(log=log, exclusion=Exclusion(log))


@pytest.fixture(scope="module")
def batch(dataset):
    """One instance per user; the last one has no history."""
    users = np.arange(1, N_USERS)
    begin = dataset.log.start[users]
    end = dataset.log.first_at_or_after(users, np.full(len(users), 20))
    end[-1] = begin[-1]
    return Interaction(
        {
            "user_id": torch.from_numpy(users),
            "history_begin": torch.from_numpy(begin),
            "history_end": torch.from_numpy(end),
        }
    )


@pytest.fixture(scope="module")
def candidates():
    rng = np.random.default_rng(2)
    return torch.from_numpy(np.stack([rng.permutation(N_ITEMS)[:5] for _ in range(N_USERS - 1)]))


class Dense(AbstractRecommender):
    def __init__(self, flat=False):
        super().__init__()
        self.flat, self.calls = flat, 0

    def full_sort_predict(self, interaction):
        self.calls += 1
        scores = torch.arange(N_ITEMS).float() * interaction["user_id"][:, None]
        return scores.view(-1) if self.flat else scores


def past_dislikes(dataset, batch):
    """Per instance, by looping over its events."""
    log = dataset.log
    return [
        {int(log.item[r]) for r in range(b, e) if log.feedback[r] == NEGATIVE}
        for b, e in zip(batch["history_begin"].tolist(), batch["history_end"].tolist(), strict=True)
    ]


def test_excluded_pairs_are_what_a_loop_finds(dataset, batch):
    rows, items = excluded_pairs(batch, dataset.exclusion)
    found = [set(items[rows == b].tolist()) for b in range(len(batch))]
    assert found == past_dislikes(dataset, batch)
    assert any(found) and not found[-1]


@pytest.mark.parametrize("flat", [False, True])
def test_one_dense_prediction_serves_both(dataset, batch, candidates, flat):
    model = Dense(flat)
    items, scores = rank(model, batch, candidates, 4, dataset)
    assert model.calls == 1
    for row, past in zip(items.tolist(), past_dislikes(dataset, batch), strict=True):
        assert row == [i for i in range(N_ITEMS - 1, 0, -1) if i not in past][:4]
    assert torch.equal(scores, candidates * batch["user_id"][:, None].float())
    assert torch.equal(recommend(model, batch, 4, dataset), items)
    assert torch.equal(score_candidates(model, batch, candidates, dataset), scores)


def test_too_few_items_left_is_a_missing_place(dataset, batch, candidates):
    items, _ = rank(Dense(), batch, candidates, N_ITEMS + 3, dataset)
    past = past_dislikes(dataset, batch)
    assert [(row > 0).sum().item() for row in items] == [N_ITEMS - 1 - len(p) for p in past]


def test_own_answers_win_and_the_others_come_from_dense_scores(dataset, batch, candidates):
    class Own(Dense):
        def recommend(self, interaction, k):
            return torch.zeros(len(interaction), k, dtype=torch.int64)

    model = Own()
    items, scores = rank(model, batch, candidates, 3, dataset)
    assert items.sum() == 0 and model.calls == 1
    assert torch.equal(scores, candidates * batch["user_id"][:, None].float())

    class Both(Own):
        def score_candidates(self, interaction, items):
            return -items.float()

    model = Both()
    _, scores = rank(model, batch, candidates, 3, dataset)
    assert model.calls == 0 and torch.equal(scores, -candidates.float())


def test_a_model_may_answer_only_one_question(dataset, batch, candidates):
    class Scorer(AbstractRecommender):
        def score_candidates(self, interaction, items):
            return items.float()

    class Recommender(AbstractRecommender):
        def recommend(self, interaction, k):
            return torch.zeros(len(interaction), k, dtype=torch.int64)

    items, scores = rank(Scorer(), batch, candidates, 3, dataset)
    assert items is None and scores is not None
    items, scores = rank(Recommender(), batch, candidates, 3, dataset)
    assert items is not None and scores is None


def bad_lists(dataset, batch):
    past = next((b, p) for b, p in enumerate(past_dislikes(dataset, batch)) if p)
    good = torch.zeros(len(batch), 3, dtype=torch.int64)
    for place, value, message in (
        ((0, 0), N_ITEMS, "outside"),
        ((0, 0), -1, "outside"),
        ((past[0], 0), min(past[1]), "must leave out"),
    ):
        bad = good.clone()
        bad[place] = value
        yield bad, message
    twice = good.clone()
    twice[-1] = torch.tensor([4, 2, 4])
    yield twice, "twice"
    yield good[:, :2], "shape"


def test_malformed_lists_name_the_model(dataset, batch, candidates):
    class Careless(AbstractRecommender):
        def recommend(self, interaction, k):
            return answer

    for answer, message in bad_lists(dataset, batch):  # noqa: B007  (the model's closure reads it)
        with pytest.raises(ValueError, match=f"Careless.*{message}"):
            recommend(Careless(), batch, 3, dataset)


def test_answers_given_together_are_checked_as_those_given_apart(dataset, batch, candidates):
    model, scores = SimpleNamedWide(), torch.zeros(candidates.shape)
    check(model, batch, candidates, 3, Answers(torch.zeros(len(batch), 3, dtype=torch.int64), scores), dataset)
    for answer, message in bad_lists(dataset, batch):
        with pytest.raises(ValueError, match=f"Wide.*{message}"):
            check(model, batch, candidates, 3, Answers(answer, scores), dataset)
    good = torch.zeros(len(batch), 3, dtype=torch.int64)
    for wrong, message in ((scores[:, 1:], "shape"), (torch.full(candidates.shape, torch.nan), "NaN")):
        with pytest.raises(ValueError, match=f"Wide.*{message}"):
            check(model, batch, candidates, 3, Answers(good, wrong), dataset)


def test_malformed_scores_name_the_model(dataset, batch, candidates):
    class Wide(AbstractRecommender):
        def full_sort_predict(self, interaction):
            return torch.zeros(len(interaction), N_ITEMS + 1)

        def score_candidates(self, interaction, items):
            return torch.full(items.shape, torch.nan)

    with pytest.raises(ValueError, match=r"Wide\.full_sort_predict gave shape"):
        recommend(Wide(), batch, 3, dataset)
    with pytest.raises(ValueError, match="Wide gave NaN"):
        score_candidates(Wide(), batch, candidates, dataset)
    with pytest.raises(ValueError, match=r"Wide\.score_candidates gave shape"):
        score_candidates(SimpleNamedWide(), batch, candidates, dataset)


class SimpleNamedWide(AbstractRecommender):
    def score_candidates(self, interaction, items):
        return torch.zeros(len(items))


SimpleNamedWide.__name__ = "Wide"


def test_pairs_of_a_dense_model_come_from_the_same_forward_pass(dataset, batch, candidates):
    pairs = torch.tensor([[3, 0, 7]] * len(batch))
    model = Dense()
    answers = answer_of(model, batch, candidates, 4, dataset, pairs)
    assert model.calls == 1
    items, scores = rank(Dense(), batch, candidates, 4, dataset)
    assert torch.equal(answers.items, items) and torch.equal(answers.scores, scores)
    assert answers.pairs.tolist() == [[3.0 * user, 0.0, 7.0 * user] for user in batch["user_id"].tolist()]
    assert answer_of(model, batch, candidates, 4, dataset).pairs is None


class ByList(Dense):
    """Its score of an item depends on the list that the item is in."""

    def score_candidates(self, interaction, items):
        return items / items.sum(dim=1, keepdim=True)


def test_candidates_never_share_a_list_with_pairs(dataset, batch, candidates):
    pairs = torch.tensor([[3, 0, 7]] * len(batch))
    answers = answer_of(ByList(), batch, candidates, 4, dataset, pairs)
    assert torch.equal(answers.scores, candidates / candidates.sum(dim=1, keepdim=True))
    assert answers.pairs.tolist() == pytest.approx(pairs / 10)


def test_scores_of_pairs_are_checked(dataset, batch, candidates):
    class Own(Dense):
        def answer(self, interaction, candidates, k, pairs=None):
            items, scores = rank(Dense(), interaction, candidates, k, dataset)
            return Answers(items, scores, pairs=torch.full(pairs.shape, torch.nan))

    with pytest.raises(ValueError, match="Own gave NaN scores"):
        answer_of(Own(), batch, candidates, 4, dataset, torch.tensor([[3, 0, 7]] * len(batch)))
