"""LoRA adapters whose SID rows train with them, without a copy of the embedding matrix."""

import contextlib

import torch
from peft.tuners.tuners_utils import BaseTunerLayer


@contextlib.contextmanager
def merged(model: torch.nn.Module):
    """Inside, adapters are part of the weights, which makes generation about twice as fast. For a model without
    adapters this does nothing, and so for a quantised one.

    The weights are put back by pointer, not by subtraction, so that thousands of rollouts do not wear them.
    """
    layers = [m for m in model.modules() if isinstance(m, BaseTunerLayer) and not m.merged]
    weights = [layer.get_base_layer().weight for layer in layers]
    if not layers or any(not weight.is_floating_point() for weight in weights):
        yield
        return
    before = [weight.data for weight in weights]
    with torch.no_grad():
        for layer in layers:
            layer.merge(safe_merge=True)  # safe: into new tensors
    try:
        yield
    finally:
        for layer, weight, data in zip(layers, weights, before, strict=True):
            weight.data = data
            layer.merged_adapters.clear()
