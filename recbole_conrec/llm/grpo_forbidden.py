"""The optional column `forbidden` of GRPO's examples: the leaves that a prompt's completions must not be."""

from collections.abc import Sequence

import numpy as np
import torch

from recbole_conrec.llm.batch import pad
from recbole_conrec.utils.errors import UserError

FORBIDDEN = "forbidden"


class ForbiddenLeaves:
    """The lists of all examples, checked once.

    Args:
        examples: see `grpo.train_grpo`; all with the key `forbidden`, a sequence of leaves in any order.
        n_leaves: of the trie.
        least: leaves that must remain for every example.

    Raises UserError for a leaf that does not exist, and where too few remain.
    """

    def __init__(self, examples: Sequence[dict], n_leaves: int, least: int):
        self.lists = [example[FORBIDDEN] for example in examples]
        owner = np.repeat(np.arange(len(examples)), [len(leaves) for leaves in self.lists])
        leaves = np.concatenate([np.asarray(leaves, dtype=np.int64) for leaves in self.lists])
        strange = np.flatnonzero((leaves < 0) | (leaves >= n_leaves))
        if len(strange):
            raise UserError(
                f"training example {owner[strange[0]]}: forbidden leaf {leaves[strange[0]]}; expected leaves of the "
                f"trie, 0 to {n_leaves - 1}"
            )
        left = n_leaves - np.bincount(np.unique(owner * n_leaves + leaves) // n_leaves, minlength=len(examples))
        few = np.flatnonzero(left < least)
        if len(few):
            raise UserError(
                f"training example {few[0]}: {n_leaves - left[few[0]]} of {n_leaves} IDs are forbidden and "
                f"{least} must remain; forbid fewer, lower G, or leave the example out"
            )

    def of(self, numbers: torch.Tensor) -> torch.Tensor:
        """Those of the examples with these numbers [P], int64 [P, M] on their device; -1 is padding."""
        return pad([self.lists[n] for n in numbers.tolist()], -1, side="right", device=numbers.device)[0]
