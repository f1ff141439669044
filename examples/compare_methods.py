"""Two methods, one of them your own, on the same instances: their figures, and whether the difference holds.

python examples/compare_methods.py [FOLDER]     # from a checkout; FOLDER: of the runs (saved)
"""

import sys
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from recbole_conrec.data.counts import training_dislikes
from recbole_conrec.dense.untrained import UntrainedRecommender
from recbole_conrec.leaderboard import compare
from recbole_conrec.runs.runner import run

DATA = Path(__file__).parent.parent / "dataset"


class ShareOfDislikes(UntrainedRecommender):
    """score(u, j) = (1 + dislikes of j) / (2 + events of j), both in training."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        events = np.bincount(dataset.log.item[dataset.train_mask], minlength=dataset.log.n_items)
        self.register_buffer("share", torch.from_numpy((1 + training_dislikes(dataset)) / (2 + events)).float())

    def full_sort_predict(self, interaction):
        """The score of every item, [B, n_items]: all that a method needs to have."""
        return self.share.repeat(len(interaction), 1)

    def predict(self, interaction):
        """The score of one item of each instance, [B]; RecBole asks for it."""
        return self.share[interaction[self.ITEM_ID]]


def main(saved: str = "saved") -> None:
    """Run both, print their figures, and compare them instance by instance."""
    sys.path.insert(0, str(Path(__file__).parent))  # where `model_class` is found
    options = {"data_path": str(DATA), "checkpoint_dir": saved, "gpu_id": "", "show_progress": False}
    own = run("ShareOfDislikes", "sim-small", options={**options, "model_class": "compare_methods:ShareOfDislikes"})
    swing = run("ItemSwing", "sim-small", options=options)
    for result in (own, swing):
        metrics = result.record["metrics"]
        print(
            result.record["model"], {name: round(metrics[name]["value"], 4) for name in ("HR@20", "FHR@20", "CandAcc")}
        )
    both = compare.from_folders((str(own.run_dir), str(swing.run_dir)), "HR@20")
    Console(width=120).print(compare.table(both))


if __name__ == "__main__":
    main(*sys.argv[1:])
