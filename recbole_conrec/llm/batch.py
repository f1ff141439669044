"""Rows of token ids of different lengths as padded tensors."""

from collections.abc import Sequence
from typing import Literal

import torch


def pad(
    rows: Sequence[Sequence[int]], value: int, *, side: Literal["left", "right"], device=None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids of different lengths -> (`input_ids` [B, T], `attention_mask` [B, T]), both int64, T the longest row.

    Args:
        rows: B lists of token ids.
        value: token id of the padding.
        side: where the padding goes: 'left' for prompts that are continued, 'right' for training examples.
        device: of the tensors.
    """
    lengths = torch.tensor([len(row) for row in rows])
    width = max(int(lengths.max()), 1)
    column = torch.arange(width)
    mask = column >= (width - lengths)[:, None] if side == "left" else column < lengths[:, None]
    ids = torch.full((len(rows), width), value)
    ids[mask] = torch.tensor([token for row in rows for token in row], dtype=torch.int64)
    return ids.to(device), mask.to(device, torch.int64)


def left_pad(rows: Sequence[Sequence[int]], value: int, device=None) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts of different lengths as the decoding functions take them. See `pad`."""
    return pad(rows, value, side="left", device=device)


def trim(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same left-padded prompts [B, T] without the columns that are padding in every row."""
    start = int(attention_mask.any(0).int().argmax())
    return input_ids[:, start:], attention_mask[:, start:]
