"""Batches of training examples: their tokens are kept here, once, as arrays, not in an Arrow table.

A dataset of TRL or transformers then holds the numbers of the examples alone, in its column `example`.
"""

import numpy as np
import torch
import torch.nn.functional as F

from recbole_conrec.llm.batch import pad

IGNORED = -100  # the label of a token without loss


class CausalCollator:
    """Examples -> a batch padded on the right, with labels on the answer tokens, and their weights where these differ.

    Args:
        examples: `{"input_ids", "completion_mask"}`, see `train_sft`.
        pad_id: token of the padding.
    """

    def __init__(self, examples: list[dict], pad_id: int):
        self.ids = [np.asarray(example["input_ids"], dtype=np.int64) for example in examples]
        self.labels = [
            np.where(np.asarray(example["completion_mask"], dtype=bool), ids, IGNORED)
            for example, ids in zip(examples, self.ids, strict=True)
        ]
        self.pad_id = pad_id
        masks = [np.asarray(example["completion_mask"], dtype=np.float32) for example in examples]
        self.weights = masks if any(((mask != 0) & (mask != 1)).any() for mask in masks) else None

    def __call__(self, batch: list[dict]) -> dict[str, torch.Tensor]:
        """Numbers of B examples -> input_ids, labels, each int64 [B, T], and loss_weights, float32 [B, T]."""
        numbers = [entry["example"] for entry in batch]
        shape = (len(numbers), max(len(self.ids[n]) for n in numbers))
        input_ids, labels = np.full(shape, self.pad_id), np.full(shape, IGNORED)
        for row, n in enumerate(numbers):
            input_ids[row, : len(self.ids[n])] = self.ids[n]
            labels[row, : len(self.ids[n])] = self.labels[n]
        made = {"input_ids": torch.from_numpy(input_ids), "labels": torch.from_numpy(labels)}
        if self.weights is not None:
            weights = np.zeros(shape, dtype=np.float32)
            for row, n in enumerate(numbers):
                weights[row, : len(self.ids[n])] = self.weights[n]
            made["loss_weights"] = torch.from_numpy(weights)
        return made


class PairCollator:
    """Examples -> prompts for the encoder and answers for the decoder, both padded on the right.

    Args:
        examples: `{"input_ids", "labels"}`, see `train_sft`.
        pad_id, start_id: tokens of the padding and of the decoder's start.
    """

    def __init__(self, examples: list[dict], pad_id: int, start_id: int):
        self.prompts = [np.asarray(example["input_ids"], dtype=np.int64) for example in examples]
        self.answers = [np.asarray(example["labels"], dtype=np.int64) for example in examples]
        self.pad_id, self.start_id = pad_id, start_id

    def __call__(self, batch: list[dict]) -> dict[str, torch.Tensor]:
        """Numbers of B examples -> input_ids, attention_mask [B, T], decoder_input_ids, labels [B, A]; all int64."""
        numbers = [entry["example"] for entry in batch]
        input_ids, attention_mask = pad([self.prompts[n] for n in numbers], self.pad_id, side="right")
        labels, real = pad([self.answers[n] for n in numbers], self.pad_id, side="right")
        return {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "decoder_input_ids": F.pad(labels[:, :-1], (1, 0), value=self.start_id),  # causal: needs no padding mask
            "labels": labels.masked_fill(real == 0, IGNORED),
        }
