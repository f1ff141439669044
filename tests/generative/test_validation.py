"""What selects the weights of methods trained in stages: the figures of the evaluation, on validation."""

import numpy as np
import pytest
import torch

from recbole_conrec.evaluation.collector import outcomes
from recbole_conrec.generative.validation import selecting, validation_score
from recbole_conrec.model.tallrec import TALLRec
from recbole_conrec.model.tiger import TIGER
from recbole_conrec.runs.options import EvaluationOptions
from recbole_conrec.utils.errors import UserError


class Guess(torch.nn.Module):
    """Recommends and scores by fixed random numbers."""

    device = torch.device("cpu")

    def __init__(self, n_items: int):
        super().__init__()
        self.scores = torch.rand(n_items, generator=torch.Generator().manual_seed(1))

    def recommend(self, interaction, k: int) -> torch.Tensor:
        order = self.scores[1:].argsort(descending=True)[:k] + 1
        return order.expand(len(interaction), k)

    def score_candidates(self, interaction, items: torch.Tensor) -> torch.Tensor:
        return self.scores[items]


@pytest.fixture
def valid(make_tiny):
    return make_tiny("Pop")[1].build()[1]


def options(metric: str, batch: int = 7) -> EvaluationOptions:
    return EvaluationOptions(topk=(3, 10), valid_metric=metric, eval_batch_size=batch)


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["HR@3", "FHR@3", "FRecall@10", "LIF@10", "CandAcc", "frecall@3"])
def test_the_score_is_the_figure_of_the_evaluation(metric, valid):
    model = Guess(valid.log.n_items)
    truth, everything = valid.truth(), valid[np.arange(len(valid))]
    lists = model.recommend(everything, 10).numpy()
    scores = model.scores[torch.from_numpy(truth.candidates[:])].numpy()
    wanted = {name.lower(): value for name, value in outcomes(truth, lists, scores, (3, 10)).items()}[metric.lower()]
    found = validation_score(model, valid, options(metric), seed=1, sample=None)()
    assert found == pytest.approx(np.nanmean(wanted)) and found > 0


def test_a_sample_is_fixed_and_of_its_size(valid):
    model, seen = Guess(valid.log.n_items), []
    recommend = model.recommend
    model.recommend = lambda interaction, k: seen.append(interaction["item_id"]) or recommend(interaction, k)
    score = validation_score(model, valid, options("HR@10"), seed=1, sample=20)
    assert score() == score()
    first, second = torch.cat(seen).chunk(2)
    assert len(first) == 20 and torch.equal(first, second)


def test_what_may_select_depends_on_what_a_method_answers():
    assert {"HR@3", "HR@10", "FHR@10", "FRecall@3", "CandAcc"} <= set(selecting(TIGER, options("HR@3")))
    assert set(selecting(TALLRec, options("HR@3"))) == {"CandAcc"}
    assert "LikeHR@3" not in selecting(TIGER, options("HR@3"))  # the smaller, the better


def test_a_metric_that_counts_no_instance_is_one_line(valid):
    assert not valid.truth().low_activity.any()
    with pytest.raises(UserError, match="valid_metric: LUF@3 counts none of .* validation instances"):
        validation_score(Guess(valid.log.n_items), valid, options("LUF@3"), seed=1, sample=None)()
