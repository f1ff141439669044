"""What a model answers to a batch of instances."""

from dataclasses import dataclass, field

import torch


@dataclass(frozen=True)
class Answers:
    """One model's answers to B instances.

    Attributes:
        items: int64 [B, K], the top K, best first, 0 = a missing place; None for a model that only ranks candidates.
        scores: float [B, C] of the candidates; None for a model that only recommends.
        pairs: float [B, P] of items that are scored beside the candidates, each judged by itself; None where none were
            asked for, or for a model that only recommends.
        others: further scores of the candidates, [B, C] each, by the name of the scoring.
        shortened: prompts that lost events because they were too long.
    """

    items: torch.Tensor | None
    scores: torch.Tensor | None
    others: dict[str, torch.Tensor] = field(default_factory=dict)
    shortened: int = 0
    pairs: torch.Tensor | None = None
