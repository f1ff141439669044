"""A decoding function, some users at a time."""

import contextlib
from collections.abc import Callable, Iterator

import torch

from recbole_conrec.llm.batch import trim
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.memory import out_of_memory


def in_chunks(
    function: Callable[..., tuple[torch.Tensor, ...]],
    backbone,
    chunk: int | None,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    *per_user: torch.Tensor | None,
):
    """`function(ids, mask, *per_user)` on at most `chunk` users at a time, users of like length together.

    The model evaluates. Raises UserError for a token that the model does not have, and where memory runs out.
    """
    vocabulary = backbone.model.get_input_embeddings().weight.shape[0]
    if int(input_ids.max()) >= vocabulary or int(input_ids.min()) < 0:
        raise UserError(
            f"prompt: it holds a token that is not in the vocabulary of {vocabulary}; "
            "build the prompts with this backbone's tokenizer"
        )
    with _evaluating(backbone.model), out_of_memory("decoding", "lower the batch or give a smaller chunk"):
        if chunk is None or chunk >= len(input_ids):
            return function(*trim(input_ids, attention_mask), *per_user)
        order = attention_mask.sum(1).argsort(stable=True)
        parts = [
            function(
                *trim(input_ids[part], attention_mask[part]),
                *(None if tensor is None else tensor[part] for tensor in per_user),
            )
            for part in order.split(chunk)
        ]
        back = order.argsort()
        return tuple(torch.cat(column)[back] for column in zip(*parts, strict=True))


@contextlib.contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Dropout off inside, and as it was before afterwards."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
