import numpy as np
import pytest
import torch
from counting import make_dataset

from recbole_conrec.data.events import EXPOSURE, NEGATIVE, POSITIVE
from recbole_conrec.dense.targets import Histories, Targets


@pytest.mark.parametrize("kinds", [(NEGATIVE,), (POSITIVE,), (NEGATIVE, POSITIVE)])
def test_targets_and_histories_against_a_loop(kinds):
    dataset = make_dataset()
    log, targets, histories = dataset.log, Targets(dataset, (POSITIVE,)), Histories(dataset.log, kinds, 6)
    torch.manual_seed(0)
    drawn = targets.draw(300)
    items, feedback, lengths = histories.before(drawn.begin, drawn.end, "cpu")
    for n in range(300):
        row = drawn.row[n]
        assert dataset.train_mask[row] and log.feedback[row] == POSITIVE
        past = [
            e
            for e in range(len(log))
            if log.user[e] == log.user[row] and log.time[e] < log.time[row] and log.feedback[e] in kinds
        ][-6:]
        filling = [0] * (6 - len(past))
        assert items[n].tolist() == [*log.item[past], *filling]
        assert feedback[n].tolist() == [*log.feedback[past], *filling]
        assert lengths[n] == max(len(past), 1)
    assert set(np.unique(drawn.row)) <= set(targets.instances.row)
    assert len(set(targets.draw(5000).row)) == len(targets) == (dataset.train_mask & (log.feedback == POSITIVE)).sum()


def test_a_log_without_the_kind_is_refused():
    with pytest.raises(ValueError, match="no feedback of the kind"):
        Targets(make_dataset(), (EXPOSURE,))
