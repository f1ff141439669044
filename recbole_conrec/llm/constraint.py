"""Probabilities of the codes that the trie allows next: the one place where logits meet valid IDs."""

from functools import cached_property
from itertools import pairwise
from typing import Literal, get_args

import torch

from recbole_conrec.llm.head import Head
from recbole_conrec.llm.prior import LeafPrior
from recbole_conrec.utils.errors import UserError

Normalisation = Literal["vocabulary", "allowed"]
Weights = tuple[torch.Tensor, torch.Tensor | None]


class Constraint:
    """Log-probabilities of allowed codes, with gradient where the hidden states carry one.

    Args:
        backbone: `Backbone`.
        trie: on the model's device.
        normalise: 'vocabulary' or 'allowed', see `decoding`.
        temperature: the logits are divided by it.
    """

    def __init__(self, backbone, trie, normalise: Normalisation = "vocabulary", temperature: float = 1.0):
        if normalise not in get_args(Normalisation):
            raise UserError(f"normalise: {normalise!r} is none of {', '.join(get_args(Normalisation))}")
        self.head, self.trie = Head(backbone.model), trie
        self.normalise, self.temperature = normalise, temperature
        self.tokens = [tokens.to(backbone.device) for tokens in backbone.level_tokens]
        # which rows of `weights()` belong to the codes of each level
        self.rows = [consecutive(tokens) for tokens in self.tokens]
        if normalise == "allowed":
            self.sids = consecutive(torch.cat(self.tokens))
            ends = torch.tensor([0, *map(len, self.tokens)]).cumsum(0).tolist()
            self.rows = [slice(*pair) for pair in pairwise(ends)]

    @cached_property
    def _code_of(self) -> torch.Tensor:
        """int64 [depth, V]: the code of each level that a vocabulary id is, or -1."""
        vocabulary = self.head.model.get_input_embeddings().weight.shape[0]
        table = torch.full((len(self.tokens), vocabulary), -1, device=self.tokens[0].device)
        for level, tokens in enumerate(self.tokens):
            table[level, tokens] = torch.arange(len(tokens), device=tokens.device)
        return table

    def codes_of(self, tokens: torch.Tensor) -> torch.Tensor:
        """Vocabulary ids [N, depth] -> the codes that they are, [N, depth]."""
        return self._code_of.gather(1, tokens.T).T

    def weights(self) -> Weights:
        """The head's (weight, bias) as they are now, with gradient: of the vocabulary, or of the SID tokens alone.

        Call it once per pass: every call reads a whole matrix of an adapter's head, and its gradient is another one.
        """
        weight, bias = self.head.parameters()
        if self.normalise == "vocabulary":
            return weight, bias
        return weight[self.sids], None if bias is None else bias[self.sids]

    def step(
        self,
        weights: Weights,
        hidden: torch.Tensor,
        level: int,
        states: torch.Tensor,
        prior: LeafPrior | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What can follow the prefixes of `level` codes.

        Args:
            weights: what `weights()` returned.
            hidden: [B, W, H], the hidden states that predict the next code.
            level: the length of the prefixes.
            states: int64 [B, W], the prefixes as states of the trie; -1 has no children.
            prior: forbidden leaves, and what is added to the codes' logits before the softmax over the allowed ones; a
                code that leads to forbidden leaves alone is none of them. (Of 'vocabulary', added after the softmax.)

        Returns:
            codes, child states and log-probabilities of the children, each [B, W, children]; the log-probability is
            -inf where a state has fewer children.
        """
        codes, children, valid = self.trie.children(level, states)
        bonus = None
        if prior is not None:
            bonus = prior.bonus(level + 1, children.flatten(1)).view_as(children)
            valid = valid & (bonus > -torch.inf)
        if self.normalise == "vocabulary":
            everything = self.head.logits(hidden, weights).to(states.device) / self.temperature
            normaliser = everything.logsumexp(-1, keepdim=True)
            logits = everything[:, :, self.rows[level]].gather(2, codes)
            if bonus is not None:
                logits = logits + bonus
        else:
            weight, bias = weights
            mine = weight[self.rows[level]], None if bias is None else bias[self.rows[level]]
            logits = (self.head.logits(hidden, mine).to(states.device) / self.temperature).gather(2, codes)
            if bonus is not None:
                logits = logits + bonus
            normaliser = logits.masked_fill(~valid, -torch.inf).logsumexp(-1, keepdim=True)
        return codes, children, (logits - normaliser).masked_fill(~valid, -torch.inf)

    def all_children(self, weights: Weights, hidden: torch.Tensor, level: int, first: int, end: int) -> torch.Tensor:
        """Log-probabilities [B, n] of the n children of the states first to end - 1 of `level`, in their order.

        `hidden` [B, end - first, H] are those states' own.
        """
        ptr = self.trie.ptr[level][first : end + 1]
        low, high = ptr[[0, -1]].tolist()
        codes, parent = self.trie.code[level][low:high], torch.repeat_interleave(ptr.diff(), output_size=high - low)
        if self.normalise == "vocabulary":
            logits = self.head.logits(hidden, weights).to(codes.device) / self.temperature
            normaliser, logits = logits.logsumexp(-1), logits[:, :, self.rows[level]]
        else:
            weight, bias = weights
            mine = weight[self.rows[level]], None if bias is None else bias[self.rows[level]]
            logits = self.head.logits(hidden, mine).to(codes.device) / self.temperature
            closed = torch.ones(logits.shape[1:], dtype=torch.bool, device=codes.device)
            closed[parent, codes] = False
            normaliser = logits.masked_fill(closed, -torch.inf).logsumexp(-1)
        return logits[:, parent, codes] - normaliser[:, parent]

    def follow(
        self,
        weights: Weights,
        hidden: torch.Tensor,
        level: int,
        states: torch.Tensor,
        wanted: torch.Tensor,
        prior: LeafPrior | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """As `step`, for given codes: wanted [B, C]; hidden and states with W = C, or W = 1 shared by all.

        Returns:
            the log-probability of each wanted code [B, C], -inf if it is not allowed; the next states [B, C]; the
            entropy [B, W] of the allowed codes, without gradient.
        """
        codes, children, logps = self.step(weights, hidden, level, states, prior)
        hit = codes == wanted[:, :, None]
        hit &= logps > -torch.inf
        at = hit.int().argmax(2, keepdim=True)
        found = hit.any(2)
        chosen = logps.expand_as(hit).gather(2, at)[:, :, 0].masked_fill(~found, -torch.inf)
        states = children.expand_as(hit).gather(2, at)[:, :, 0].masked_fill(~found, -1)
        entropy = torch.special.entr(logps.detach().exp()).sum(2)
        return chosen, states, entropy


class Free(Constraint):
    """No constraint: every token may follow, by a softmax over the whole vocabulary.

    Codes are vocabulary ids here. The state of a prefix with which no ID begins is -1, and so is the leaf of what is no
    ID.
    """

    def __init__(self, backbone, trie, temperature: float = 1.0):
        super().__init__(backbone, trie, "vocabulary", temperature)
        self.tokens_of_codes = self.tokens
        every = torch.arange(backbone.model.get_input_embeddings().weight.shape[0], device=backbone.device)
        self.tokens = [every] * trie.depth

    def codes_of(self, tokens: torch.Tensor) -> torch.Tensor:
        """The same: codes are vocabulary ids here."""
        return tokens

    def step(self, weights, hidden, level: int, states, prior=None):
        """As `Constraint.step`, with all tokens as children; a prior over IDs has no meaning here and is not used."""
        logps = self._logps(weights, hidden, states)
        codes, children, valid = self.trie.children(level, states)
        following = torch.full_like(logps, -1, dtype=torch.int64)
        following.scatter_reduce_(2, self.tokens_of_codes[level][codes], children.masked_fill(~valid, -1), "amax")
        return self.tokens[level].to(states.device).expand_as(following), following, logps

    def follow(self, weights, hidden, level: int, states, wanted, prior=None):
        """As `Constraint.follow`, for given tokens; the states are not followed."""
        logps = self._logps(weights, hidden, states)
        entropy = torch.special.entr(logps.detach().exp()).sum(2)
        chosen = logps.expand(-1, wanted.shape[1], -1).gather(2, wanted[:, :, None])[:, :, 0]
        return chosen, torch.full_like(wanted, -1), entropy

    def _logps(self, weights: Weights, hidden: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        return (self.head.logits(hidden, weights).to(states.device) / self.temperature).log_softmax(-1)


def consecutive(tokens: torch.Tensor) -> slice | torch.Tensor:
    """Ids [n] as a slice if they are consecutive, as added tokens are: rows of a slice are read without a copy."""
    if bool((tokens.diff() == 1).all()):
        return slice(int(tokens[0]), int(tokens[-1]) + 1)
    return tokens
