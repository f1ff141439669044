"""The reference policy of GRPO: the trainable weights as they were at the start, swapped in by pointer."""

import contextlib
from collections.abc import Iterator

import torch


class Reference:
    """The policy from which the KL divergence is measured, for a full model and for adapters alike.

    TRL makes its reference from a path (full models) or as a second adapter, whose copy misses trained token rows. Here
    it is a copy of just the parameters that train, whatever they are.
    """

    def __init__(self, model: torch.nn.Module):
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.weights = [p.detach().clone() for p in self.parameters]

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the model computes with the reference's weights. No gradients there."""
        self._swap()
        try:
            with torch.no_grad():
                yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for n, parameter in enumerate(self.parameters):
            parameter.data, self.weights[n] = self.weights[n], parameter.data
