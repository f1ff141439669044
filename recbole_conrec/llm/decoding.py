"""Constrained beam search, sampling and scoring, with one pass over the prompt for all its continuations.

All functions take a `Backbone`, a `Trie` on the model's device, and *left-padded* prompts `input_ids`,
`attention_mask`, int64 [B, T]. Nothing is tokenised here; only IDs of the trie can come out. IDs are given and returned
as leaves, indices into `trie.leaf_codes`; -1 means none. Log-probabilities are float32, in nats.

Two normalisations of a code's probability (`normalise`):
- 'vocabulary': softmax over the whole vocabulary, then the codes that the trie does not allow are dropped. The scores
  are those of transformers' `generate` with `prefix_allowed_tokens_fn` and `length_penalty=0`.
- 'allowed': softmax over the codes that the trie allows after the prefix, so the probabilities of all IDs sum to 1.
Sampling is always from the allowed codes.

Two restrictions, each with a row per user:
- `forbidden` int64 [B, M]: leaves that must not come out (-1 is padding). A prefix all of whose leaves are forbidden is
  forbidden, too.
- `prior` float [B, n_leaves], weight included: it is added to the log-probability, so that a leaf has the score
  log p(leaf | prompt) + prior[leaf]. A prefix is searched with the log of the mean of exp(prior) over the leaves below
  it that are not forbidden (`prior.py`). `exact.py` searches without a beam's limit.

`chunk` is the largest number of users that are computed at a time (None: all), to save memory. All functions raise
UserError for a prompt with an unknown token, and where memory runs out.
"""

import torch
import torch.nn.functional as F

from recbole_conrec.llm.chunks import in_chunks
from recbole_conrec.llm.constraint import Constraint, Free, Normalisation
from recbole_conrec.llm.exact import best_of_all
from recbole_conrec.llm.head import Head, unwrap
from recbole_conrec.llm.prior import leaf_prior
from recbole_conrec.llm.shared_prompt import CausalPrompt, open_prompt
from recbole_conrec.llm.walks import beams, samples, scores_of
from recbole_conrec.utils.errors import UserError


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
    prior: torch.Tensor | None = None,
    as_sampled: bool = False,
    exact: bool = False,
    chunk: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The `width` best IDs that a beam of that width finds -> (leaves [B, width], scores [B, width]).

    Best first; -1 and -inf where fewer exist. What is forbidden takes no place in the beam; the probabilities of the
    others remain as they are. With `as_sampled` they are those of the distribution that `sample` draws from instead.
    With `exact` (and not `as_sampled`) the IDs are the best of all, see exact.py.
    """
    if exact:
        given = (input_ids, attention_mask, input_ids.new_zeros((len(input_ids), 0)), forbidden, prior)
        return best_of_all(backbone, trie, given, width, normalise, chunk)[:2]

    def search(ids, mask, forbidden, prior):
        constraint = Constraint(backbone, trie, "allowed" if as_sampled else normalise)
        prompt, known = open_prompt(backbone.model, ids, mask), leaf_prior(trie, prior, forbidden)
        return beams(trie, prompt, width, constraint, known, as_sampled)[:2]

    return in_chunks(search, backbone, chunk, input_ids, attention_mask, forbidden, prior)


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
    forbidden: torch.Tensor | None = None,
    prior: torch.Tensor | None = None,
    chunk: int | None = None,
    constrained: bool = True,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """`n` independent IDs per prompt -> (leaves [B, n], codes [B, n, depth], log-probabilities [B, n, depth]).

    The log-probabilities are those of the distribution that was sampled: after a prefix, the softmax of logits /
    temperature over the allowed codes that lead to a leaf that is not forbidden, each logit raised by what the prior
    gives the prefix that it makes. With a prior this is p(leaf) exp(prior[leaf]) divided at each level by the sum of
    the codes there, not the product normalised over all leaves; it is that, too, where the model is uniform over the
    leaves below a prefix. A constant prior changes nothing.

    Without `constrained`, depth tokens of the whole vocabulary: codes are then token ids, the leaf of what is no ID is
    -1, and `forbidden` and `prior` are not used.

    Raises UserError where every ID is forbidden.
    """

    def draw(ids, mask, forbidden, prior):
        constraint = (
            Constraint(backbone, trie, "allowed", temperature) if constrained else Free(backbone, trie, temperature)
        )
        known = leaf_prior(trie, prior, forbidden) if constrained else None
        if known is not None and (known.bonus(0, torch.zeros_like(ids[:, :1])) == -torch.inf).any():
            raise UserError("sample: every ID is forbidden after one of the prompts; forbid fewer, or leave it out")
        return samples(trie, open_prompt(backbone.model, ids, mask), n, constraint, generator, known)

    return in_chunks(draw, backbone, chunk, input_ids, attention_mask, forbidden, prior)


@torch.no_grad()
def score(
    backbone,
    trie,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    leaves: torch.Tensor,
    *,
    normalise: Normalisation = "vocabulary",
    prior: torch.Tensor | None = None,
    chunk: int | None = None,
    by_level: bool = False,
) -> torch.Tensor:
    """Log-likelihood of candidate leaves [B, C] (-1: none) after the prompt, and their prior -> [B, C], -inf for -1.

    `by_level`: what each of their codes adds -> [B, C, depth]; of the prior, by how much the code raises that of the
    prefix.
    """

    def follow(ids, mask, leaves, prior):
        prompt, known = open_prompt(backbone.model, ids, mask), leaf_prior(trie, prior, None)
        return (scores_of(trie, prompt, leaves, Constraint(backbone, trie, normalise), known),)

    levels = in_chunks(follow, backbone, chunk, input_ids, attention_mask, leaves, prior)[0]
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
    prior: torch.Tensor | None = None,
    exact: bool = False,
    chunk: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One pass over the prompts for a beam search and the scores of given leaves [B, C].

    Returns the leaves [B, width] that `beam_search` finds, and `score(by_level=True)` [B, C, depth], of forbidden
    leaves, too.
    """
    if exact:
        given = (input_ids, attention_mask, leaves, forbidden, prior)
        found, _, levels = best_of_all(backbone, trie, given, width, normalise, chunk)
        return found, levels

    def both(ids, mask, leaves, forbidden, prior):
        prompt, constraint = open_prompt(backbone.model, ids, mask), Constraint(backbone, trie, normalise)
        found, *_ = beams(trie, prompt, width, constraint, leaf_prior(trie, prior, forbidden))
        return found, scores_of(trie, prompt.rewind(), leaves, constraint, leaf_prior(trie, prior, None))

    return in_chunks(both, backbone, chunk, input_ids, attention_mask, leaves, forbidden, prior)


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

    return in_chunks(follow, backbone, chunk, input_ids, attention_mask, texts)[0]


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

    return in_chunks(follow, backbone, chunk, input_ids, attention_mask, texts)[0]


def _text_hidden(backbone, input_ids, attention_mask, texts) -> torch.Tensor:
    """Hidden states [B, C, L + 1, H] at the prompt's end and at every token of its texts [B, C, L] (-1: none)."""
    model = unwrap(backbone.model)
    if model.config.is_encoder_decoder:
        raise UserError("llm: texts that share a prompt need a causal model; this one is an encoder-decoder")
    return CausalPrompt(model, input_ids, attention_mask).follow(texts.clamp(min=0))
