"""Semantic-ID codes as tokens: added whole, with rows of the embedding matrix to start from."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerBase

from recbole_conrec.llm.head import unwrap
from recbole_conrec.llm.words import Words
from recbole_conrec.utils.errors import UserError

if TYPE_CHECKING:
    from recbole_conrec.tokenizer.semantic_ids import SemanticIds

Start = Literal["mean", "text"]


def add_sid_tokens(tokenizer: PreTrainedTokenizerBase, semantic_ids: "SemanticIds") -> torch.Tensor:
    """Make every code a whole token (not special: TRL drops special tokens on decoding) -> their ids [sum(sizes)]."""
    names = semantic_ids.tokens()
    tokenizer.add_tokens([AddedToken(name, special=False, normalized=False) for name in names])
    vocabulary = tokenizer.get_vocab()
    return torch.tensor([vocabulary[name] for name in names])


def init_sid_rows(
    model,
    tokenizer: PreTrainedTokenizerBase,
    sid_tokens: torch.Tensor,
    semantic_ids: "SemanticIds",
    how: Start,
    item_texts: Sequence[str] | None = None,
    seed: int = 0,
) -> None:
    """Make room for the SID tokens in the embedding matrices and give their rows values to start from.

    Args:
        model: a transformers model; its embedding and head are changed in place.
        tokenizer: the model's, with the SID tokens.
        sid_tokens: their vocabulary ids [sum(sizes)].
        semantic_ids: the IDs of the catalogue.
        how: 'mean', the vocabulary's mean plus a little noise, so that a code is at first neither likely nor unlikely;
            or 'text', the direction in which the texts of a code's items differ from all texts: the mean token
            embedding of its items' texts, centred over the codes of its level and scaled to the spread of the
            vocabulary. Codes whose items have similar texts thus start as neighbours.
        item_texts: [n_items], index = item id; for 'text'.
        seed: of the noise.

    Raises UserError for 'text' without texts.
    """
    if how == "text" and item_texts is None:
        raise UserError("sid_init: text needs the items' texts; the data set has none, so use sid_init: mean")
    model = unwrap(model)
    rows = model.get_input_embeddings().weight.shape[0]
    if int(sid_tokens.max()) >= rows:  # some models come with spare rows
        model.resize_token_embeddings(int(sid_tokens.max()) + 1, mean_resizing=False)
    generator = torch.Generator().manual_seed(seed)
    matrices = [model.get_input_embeddings().weight]
    if model.get_output_embeddings().weight is not matrices[0]:
        matrices.append(model.get_output_embeddings().weight)
    with torch.no_grad():
        for matrix in matrices:
            known = matrix[: min(rows, int(sid_tokens.min()))].float().cpu()
            mean, spread = known.mean(0), known.std(0)
            matrix[rows:] = mean.to(matrix)  # a tokenizer may have had more tokens than its model
            if how == "mean":
                new = 0.1 * spread * torch.randn(len(sid_tokens), matrix.shape[1], generator=generator)
            else:
                text = _text_means(matrix.float().cpu(), tokenizer, item_texts)
                new = torch.cat([_code_means(text, codes, size, generator) for codes, size in _levels(semantic_ids)])
                new = new * spread.norm() / new.norm(dim=1, keepdim=True).clamp(min=1e-6)
            matrix[sid_tokens.to(matrix.device)] = (mean + new).to(matrix)


def _levels(semantic_ids):
    return zip(torch.tensor(semantic_ids.codes[1:]).T, semantic_ids.sizes, strict=True)


def _text_means(embedding, tokenizer, item_texts) -> torch.Tensor:
    """Mean token embedding [n_items - 1, H] of each item's text (0 for an empty one), without item 0."""
    ids = Words(tokenizer)(item_texts[1:])
    lengths = torch.tensor([len(row) for row in ids])
    flat = torch.tensor([token for row in ids for token in row], dtype=torch.int64)
    total = torch.zeros(len(ids), embedding.shape[1])
    total.index_add_(0, torch.arange(len(ids)).repeat_interleave(lengths), embedding[flat])
    return total / lengths.clamp(min=1)[:, None]


def _code_means(text, codes, size: int, generator) -> torch.Tensor:
    """Mean [size, H] of the texts of each code's items, centred; small noise for a code without items."""
    counts = codes.bincount(minlength=size)
    means = torch.zeros(size, text.shape[1]).index_add_(0, codes, text) / counts.clamp(min=1)[:, None]
    used = counts > 0
    means[used] -= means[used].mean(0)
    noise = torch.randn(means.shape, generator=generator) * means[used].std()
    return torch.where(used[:, None], means + 0.1 * noise, noise)
