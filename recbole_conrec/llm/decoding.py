"""Constrained beam search, sampling and scoring, with one pass over the prompt for all its continuations.

All functions take a `Backbone`, a `Trie` on the model's device, and *left-padded* prompts `input_ids`,
`attention_mask`, int64 [B, T]. Nothing is tokenised here; only IDs of the trie can come out. IDs are given and returned
as leaves, indices into `trie.leaf_codes`; -1 means none. Log-probabilities are float32, in nats.

Two normalisations of a code's probability (`normalise`):
- 'vocabulary': softmax over the whole vocabulary, then the codes that the trie does not allow are dropped. The scores
  are those of transformers' `generate` with `prefix_allowed_tokens_fn` and `length_penalty=0`.
- 'allowed': softmax over the codes that the trie allows after the prefix, so the probabilities of all IDs sum to 1.
Sampling is always from the allowed codes.

`chunk` is the largest number of users that are computed at a time (None: all), to save memory. All functions raise
UserError for a prompt with an unknown token, and where memory runs out.
"""

import contextlib
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F

from recbole_conrec.llm.batch import trim
from recbole_conrec.llm.constraint import Constraint, Free, Normalisation
from recbole_conrec.llm.forbidden import Forbidden
from recbole_conrec.llm.head import Head, unwrap
from recbole_conrec.llm.shared_prompt import CausalPrompt, SharedPrompt, open_prompt
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.memory import out_of_memory


@torch.no_grad()
def beam_search(
    backbone,
    trie,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    *,
    width: int,
    normalise: Normalisation = "vocabulary",
    forbidden: torch.Tensor | None = None,
    chunk: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The `width` most likely IDs that a beam of that width finds -> (leaves [B, width], scores [B, width]).

    Best first; -1 and -inf where fewer exist. `forbidden` [B, M]: leaves that must not come out (-1 is padding); a
    prefix all of whose leaves are forbidden takes no place in the beam.
    """

    def search(ids, mask, *forbidden):
        return _beam_search(backbone, trie, open_prompt(backbone.model, ids, mask), width, normalise, *forbidden)

    return _in_chunks(search, backbone, chunk, input_ids, attention_mask, *_given(forbidden))


@torch.no_grad()
def sample(
    backbone,
    trie,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    *,
    n: int,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    chunk: int | None = None,
    constrained: bool = True,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """`n` independent IDs per prompt -> (leaves [B, n], codes [B, n, depth], log-probabilities [B, n, depth]).

    The log-probabilities are those of the distribution that was sampled: allowed codes, logits / temperature. Without
    `constrained`, depth tokens of the whole vocabulary: codes are then token ids, and the leaf of what is no ID is -1.
    """

    def draw(ids, mask):
        constraint = (
            Constraint(backbone, trie, "allowed", temperature) if constrained else Free(backbone, trie, temperature)
        )
        return _sample(trie, open_prompt(backbone.model, ids, mask), n, constraint, generator)

    return _in_chunks(draw, backbone, chunk, input_ids, attention_mask)


@torch.no_grad()
def score(
    backbone,
    trie,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    leaves: torch.Tensor,
    *,
    normalise: Normalisation = "vocabulary",
    chunk: int | None = None,
    by_level: bool = False,
) -> torch.Tensor:
    """Log-likelihood of candidate leaves [B, C] (-1: none) after the prompt -> [B, C], -inf for -1.

    `by_level`: the log-likelihood of each of their codes -> [B, C, depth].
    """

    def follow(ids, mask, leaves):
        return (_score(backbone, trie, open_prompt(backbone.model, ids, mask), leaves, normalise),)

    levels = _in_chunks(follow, backbone, chunk, input_ids, attention_mask, leaves)[0]
    return levels if by_level else levels.sum(2)


@torch.no_grad()
def search_and_score(
    backbone,
    trie,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    leaves: torch.Tensor,
    *,
    width: int,
    normalise: Normalisation = "vocabulary",
    forbidden: torch.Tensor | None = None,
    chunk: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One pass over the prompts for a beam search and the scores of given leaves [B, C].

    Returns the leaves [B, width] that `beam_search` finds, and `score(by_level=True)` [B, C, depth].
    """

    def both(ids, mask, leaves, *forbidden):
        prompt = open_prompt(backbone.model, ids, mask)
        found, _ = _beam_search(backbone, trie, prompt, width, normalise, *forbidden)
        return found, _score(backbone, trie, prompt.rewind(), leaves, normalise)

    return _in_chunks(both, backbone, chunk, input_ids, attention_mask, leaves, *_given(forbidden))


@torch.no_grad()
def text_logps(
    backbone,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    texts: torch.Tensor,
    *,
    chunk: int | None = None,
) -> torch.Tensor:
    """Log-likelihood (whole vocabulary) of texts right after the prompts.

    `texts`: int64 [B, C, L] token ids, -1 after the end -> [B, C], -inf for a text without tokens.
    """

    def follow(ids, mask, texts):
        texts = texts[:, :, : max(int((texts >= 0).sum(2).max()), 1)]
        hidden = _text_hidden(backbone, ids, mask, texts)
        there = texts >= 0
        logits = Head(backbone.model).logits(hidden[:, :, :-1][there])
        total = torch.zeros(texts.shape, device=texts.device)
        total[there] = -F.cross_entropy(logits, texts[there].to(logits.device), reduction="none").to(total.device)
        return (total.sum(2).masked_fill(~there[:, :, 0], -torch.inf),)

    return _in_chunks(follow, backbone, chunk, input_ids, attention_mask, texts)[0]


@torch.no_grad()
def answer_logps(
    backbone,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    texts: torch.Tensor,
    tokens: torch.Tensor | list[int],
    *,
    chunk: int | None = None,
) -> torch.Tensor:
    """Log-probability (whole vocabulary) of single tokens [n] after each text that follows the prompts -> [B, C, n].

    `texts`: int64 [B, C, L] token ids, -1 after the end. For Yes/No answers to several questions about one history.
    """

    def follow(ids, mask, texts):
        length = (texts >= 0).sum(2)
        hidden = _text_hidden(backbone, ids, mask, texts[:, :, : max(int(length.max()), 1)])
        last = hidden.gather(2, length[:, :, None, None].expand(-1, -1, 1, hidden.shape[3]))[:, :, 0]
        return (Head(backbone.model).logits(last).log_softmax(-1)[:, :, tokens],)

    return _in_chunks(follow, backbone, chunk, input_ids, attention_mask, texts)[0]


def _text_hidden(backbone, input_ids, attention_mask, texts) -> torch.Tensor:
    """Hidden states [B, C, L + 1, H] at the prompt's end and at every token of its texts [B, C, L] (-1: none)."""
    model = unwrap(backbone.model)
    if model.config.is_encoder_decoder:
        raise UserError("llm: texts that share a prompt need a causal model; this one is an encoder-decoder")
    return CausalPrompt(model, input_ids, attention_mask).follow(texts.clamp(min=0))


def _beam_search(
    backbone, trie, prompt: SharedPrompt, width: int, normalise: Normalisation, forbidden: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    hidden = prompt.hidden
    constraint = Constraint(backbone, trie, normalise)
    weights = constraint.weights()
    banned = None if forbidden is None else Forbidden(trie, forbidden)
    states = torch.zeros((len(hidden), 1), dtype=torch.int64, device=trie.item_leaf.device)
    scores = torch.zeros(states.shape, device=states.device)
    for level in range(trie.depth):
        codes, children, logps = constraint.step(weights, hidden, level, states)
        totals = (scores[:, :, None] + logps).flatten(1)
        children = children.flatten(1)
        if banned is not None:
            totals = totals.masked_fill(banned.covers(level + 1, children), -torch.inf)
        scores, pick = totals.topk(min(width, totals.shape[1]), dim=1)
        states = children.gather(1, pick).masked_fill(scores == -torch.inf, -1)
        if level + 1 < trie.depth:
            tokens = constraint.tokens[level][codes.flatten(1).gather(1, pick)]
            hidden = prompt.extend(tokens, pick // codes.shape[2])
    missing = (0, width - states.shape[1])
    return F.pad(states, missing, value=-1), F.pad(scores, missing, value=-torch.inf)


def _sample(
    trie, prompt: SharedPrompt, n: int, constraint: Constraint, generator: torch.Generator | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    hidden = prompt.hidden
    weights = constraint.weights()
    states = torch.zeros((len(hidden), 1), dtype=torch.int64, device=trie.item_leaf.device)
    all_codes, all_logps = [], []
    for level in range(trie.depth):
        codes, children, logps = constraint.step(weights, hidden, level, states)
        draws = 1 if level else n  # the first level has one distribution per prompt, later ones one per sample
        pick = torch.multinomial(logps.exp().flatten(0, 1), draws, replacement=True, generator=generator)
        pick = pick.view(len(states), -1)
        source = pick[:, None] if level == 0 else pick[:, :, None]
        codes, states, logps = (x.gather(2, source).flatten(1) for x in (codes, children, logps))
        all_codes.append(codes)
        all_logps.append(logps)
        if level + 1 < trie.depth:
            hidden = prompt.extend(constraint.tokens[level][codes], _parents(level, codes))
    return states, torch.stack(all_codes, 2), torch.stack(all_logps, 2)


def _score(backbone, trie, prompt: SharedPrompt, leaves: torch.Tensor, normalise: Normalisation) -> torch.Tensor:
    hidden = prompt.hidden
    constraint = Constraint(backbone, trie, normalise)
    weights = constraint.weights()
    wanted = trie.leaf_codes[leaves.clamp(min=0)]  # [B, C, depth]
    states = leaves.new_zeros((len(leaves), 1))
    levels = []
    for level in range(trie.depth):  # at level 0 all candidates share the one distribution after the prompt
        logps, states, _ = constraint.follow(weights, hidden, level, states, wanted[:, :, level])
        levels.append(logps)
        if level + 1 < trie.depth:
            hidden = prompt.extend(constraint.tokens[level][wanted[:, :, level]], _parents(level, leaves))
    return torch.stack(levels, 2).masked_fill((leaves < 0)[:, :, None], -torch.inf)


def _parents(level: int, like: torch.Tensor) -> torch.Tensor:
    """[B, W] parents of continuations that never cross: the prompt's end at first, then each its own."""
    return torch.zeros_like(like) if level == 0 else torch.arange(like.shape[1], device=like.device).expand_as(like)


def _given(tensor: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
    return () if tensor is None else (tensor,)


@contextlib.contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Dropout off inside, and as it was before afterwards."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _in_chunks(
    function: Callable[..., tuple[torch.Tensor, ...]],
    backbone,
    chunk: int | None,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    *per_user: torch.Tensor,
):
    """`function(ids, mask, *per_user)` on at most `chunk` users at a time, users of like length together."""
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
            function(*trim(input_ids[part], attention_mask[part]), *(tensor[part] for tensor in per_user))
            for part in order.split(chunk)
        ]
        back = order.argsort()
        return tuple(torch.cat(column)[back] for column in zip(*parts, strict=True))
