"""What a stage keeps: the best weights by validation, or of their moving average."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recbole_conrec.generative.best_weights import BestWeights
from recbole_conrec.generative.stage_options import SFTStage


def train(select: str, ema: float, steps: int = 40, every: int = 10) -> tuple[list[float], list[float], float, float]:
    """A weight that moves to its step's number; the score is best near 21.

    Returns the values that were validated, the oracle's averages, the final weight and the weight that trained last.
    """
    lm = torch.nn.Linear(1, 1, bias=False)
    lm.weight.data.fill_(0.0)
    seen = []

    def score():
        seen.append(lm.weight.item())
        return -abs(lm.weight.item() - 21) / 100

    stage = SFTStage(name="s", task="next", select=select, ema=ema, evaluate_every=every)
    keeper, average, averages = BestWeights(lm, score, stage), None, []
    args, control = SimpleNamespace(), SimpleNamespace()
    keeper.on_train_begin(args, SimpleNamespace(global_step=0), control)
    for step in range(1, steps + 1):
        lm.weight.data.fill_(float(step))
        average = float(step) if average is None else average
        keep = min(ema, step / (10 + step))
        average = keep * average + (1 - keep) * step
        averages.append(average if ema else float(step))
        keeper.on_step_end(args, SimpleNamespace(global_step=step, max_steps=steps), control)
    trained = lm.weight.item()
    keeper.restore()
    return seen, [0.0, *averages[every - 1 :: every]], lm.weight.item(), trained


@pytest.mark.parametrize("ema", [0.0, 0.6, 0.99])
def test_what_is_validated_is_the_average_and_training_goes_on_with_its_own(ema):
    seen, averages, _, trained = train("best", ema)
    np.testing.assert_allclose(seen, averages, rtol=1e-5)
    assert trained == 40
    assert (max(seen) < 40) == (ema > 0)


@pytest.mark.parametrize("ema", [0.0, 0.6])
def test_the_stage_ends_with_the_best_or_the_last_of_what_was_validated(ema):
    seen, *_, kept, _ = train("best", ema)
    assert kept == pytest.approx(min(seen, key=lambda value: abs(value - 21)), rel=1e-6)
    seen, *_, kept, _ = train("last", ema)
    assert kept == pytest.approx(seen[-1], rel=1e-6)
