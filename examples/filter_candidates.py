"""From a trained run to a filter that needs no model: Predict Sets, a threshold, and candidates to drop.

python examples/filter_candidates.py [FOLDER]     # from a checkout; FOLDER: of the run and the sets (filter)
"""

import sys
from pathlib import Path

import numpy as np

from recbole_conrec.filtering import NegativeFilter
from recbole_conrec.filtering.predict import SetOptions, predict
from recbole_conrec.runs.restore import load_run
from recbole_conrec.runs.runner import run

DATA = Path(__file__).parent.parent / "dataset"


def main(folder: str = "filter") -> None:
    """Train, predict once, and ask the filter; the last step is all that a service does."""
    place = {"data_path": str(DATA), "gpu_id": "", "show_progress": False}
    trained = run("ItemSwing", "sim-small", options={**place, "checkpoint_dir": f"{folder}/saved"})
    loaded = load_run(trained.run_dir, place)
    sets = Path(folder) / "sets"
    print("users with a set:", predict(loaded, sets, SetOptions(size=20, overwrite=True))["users"])

    negative = NegativeFilter.load(sets, theta=0.8)
    items = loaded.data.id2token("item_id", np.arange(1, 51))
    user = str(loaded.data.id2token("user_id", 1))
    keep, scores = negative.filter(user, items)
    print(
        f"user {user}: {keep.sum()} of {len(items)} candidates are kept; the highest cosine is {np.nanmax(scores):.3f}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
