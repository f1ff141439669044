"""What methods share whose weights come from one computation instead of epochs."""

import torch

from recbole_conrec.dense.untrained import UntrainedRecommender
from recbole_conrec.runs.options import PlaceOptions


class FittedRecommender(UntrainedRecommender):
    """A method that is fitted by the first training step, from training events alone; the others change nothing.

    What is fitted are parameters without gradients: they are saved and loaded with the run, and counted.
    """

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.show_progress = PlaceOptions.of(config).show_progress
        self._fitted = False

    def fit(self) -> None:
        """Compute the parameters, in place."""
        raise NotImplementedError

    def calculate_loss(self, interaction) -> torch.Tensor:
        if not self._fitted:
            self.fit()
            self._fitted = True
        return super().calculate_loss(interaction)

    @staticmethod
    def frozen(*shape: int) -> torch.nn.Parameter:
        """A parameter that no optimiser changes: float32 zeros of this shape."""
        return torch.nn.Parameter(torch.zeros(*shape), requires_grad=False)
