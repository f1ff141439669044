"""The prior alone: its lists are those of the best recent rates, and it knows no user."""

import numpy as np
import pytest

from recbole_conrec.runs.runner import run

WINDOW = {"split": {"by": "time"}, "as_of": "t0"}


@pytest.mark.slow
def test_it_is_above_popularity_where_what_is_met_changes(tiny_path, tmp_path):
    options = {"data_path": str(tiny_path), "checkpoint_dir": str(tmp_path), "show_progress": False, **WINDOW}
    found = run("RecentMix", "tiny", options=options).record
    assert found["present"]["weights"].keys() == {"dislikes", "share", "events"}
    assert any(found["present"]["weights"].values())
    assert np.isfinite(found["metrics"]["FRecall@20"]["value"])
    assert found["metrics"]["CandAcc"]["value"] > 0  # candidates are scored by the prior, not all alike
