"""What is added to the scores of a trained model, with weights that validation chooses: the prior of its lists
(present.py), and the terms that free the scores of its candidates of popularity (contrast.py).
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from recbole_conrec.evaluation.answers import Answers
from recbole_conrec.evaluation.ranking import answer
from recbole_conrec.runs import contrast
from recbole_conrec.runs.options import EvaluationOptions
from recbole_conrec.runs.present import Present, chosen, wanted
from recbole_conrec.utils.distributed import my_batches


@dataclass(frozen=True)
class Calibration:
    """The chosen weights.

    Attributes:
        contrast: weights of the scoring `contrast` of candidates; {}: there is no such scoring.
        present: the prior of the lists; None: there is none.
    """

    contrast: dict[str, float] = field(default_factory=dict)
    present: Present | None = None

    def other_scorings(self, model: Any) -> tuple[str, ...]:
        """Names of a model's scorings of candidates besides the one that fills CandAcc."""
        own = tuple(getattr(model, "scorings", ()))[1:]
        return (*own, contrast.CONTRAST) if self.contrast else own

    def answer(self, model: Any, data: Any, batch: range, truth: Any, k: int, paired: bool) -> Answers:
        """The model's answers to a range of instances, on the CPU. ``paired``: whether pairs are scored, too."""
        interaction = data[np.arange(batch.start, batch.stop)].to(model.device)
        candidates = torch.from_numpy(truth.candidates[batch.start : batch.stop]).to(model.device)
        pairs: torch.Tensor | None = None
        if paired:
            pairs = torch.from_numpy(truth.paired[batch.start : batch.stop]).to(model.device)
        prior = None if self.present is None else self.present.of(data, interaction)
        found = answer(model, interaction, candidates, k, data, pairs, prior)
        others = {name: scores.float().cpu() for name, scores in found.others.items()}
        if self.contrast and found.scores is not None:
            terms = contrast.terms(model, data, interaction, candidates)
            freed = contrast.combine(found.scores.cpu().numpy(), terms, self.contrast)
            others[contrast.CONTRAST] = torch.from_numpy(freed).float()
        return Answers(
            None if found.items is None else found.items.cpu(),
            None if found.scores is None else found.scores.float().cpu(),
            others,
            found.shortened,
            None if found.pairs is None else found.pairs.float().cpu(),
        )


@torch.no_grad()
def calibrated(
    model: Any, data: Any, evaluation: EvaluationOptions, seed: int, name: str, show_progress: bool
) -> Calibration:
    """The weights with the best figures on a part of the data.

    Args:
        model: in eval mode. name: of the method, for the progress bar.
        data: a NegativeFeedbackDataset that serves the part.
        seed: of the sample of instances by which the prior is chosen.
    """
    size, device = evaluation.eval_batch_size, model.device
    weights: dict[str, float] = {}
    if evaluation.contrast_scoring:
        batches = tqdm(my_batches(len(data), size), desc=f"contrast {name}", unit="batch", disable=not show_progress)
        weights = contrast.calibrated(model, data, batches, device)
    if not wanted(model, evaluation.present, data.protocol.as_of):
        return Calibration(weights)
    present = chosen(model, data, evaluation.present, max(evaluation.topk), size, seed, device)
    return Calibration(weights, present)
