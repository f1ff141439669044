"""Probabilities of the codes that the trie allows next: the one place where logits meet valid IDs."""

from itertools import pairwise

import torch

from recbole_conrec.llm.head import Head
from recbole_conrec.utils.errors import UserError

NORMALISATIONS = ("vocabulary", "allowed")


class Constraint:
    """Log-probabilities of allowed codes, with gradient where the hidden states carry one.

    Args:
        backbone: its `model` and `level_tokens` are read.
        trie: on the model's device.
        normalise: 'vocabulary' or 'allowed', see `decoding`.
        temperature: the logits are divided by it.
    """

    def __init__(self, backbone, trie, normalise: str = "vocabulary", temperature: float = 1.0):
        if normalise not in NORMALISATIONS:
            raise UserError(f"normalise: {normalise!r} is none of {', '.join(NORMALISATIONS)}")
        self.head, self.trie = Head(backbone.model), trie
        self.normalise, self.temperature = normalise, temperature
        self.tokens = [tokens.to(backbone.device) for tokens in backbone.level_tokens]
        # which of the rows that `weights` gives are those of a level's codes
        self.rows = [consecutive(tokens) for tokens in self.tokens]
        if normalise == "allowed":
            self.sids = consecutive(torch.cat(self.tokens))
            ends = torch.tensor([0, *map(len, self.tokens)]).cumsum(0).tolist()
            self.rows = [slice(*pair) for pair in pairwise(ends)]

    def weights(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The head's (weight, bias) as they are now, with gradient: of the vocabulary, or of the SID tokens alone.

        Read once per pass: each reading of an adapter's head, and the gradient of each, is a whole matrix.
        """
        weight, bias = self.head.parameters()
        if self.normalise == "vocabulary":
            return weight, bias
        return weight[self.sids], None if bias is None else bias[self.sids]

    def step(self, weights, hidden, level: int, states):
        """`weights`: see there; hidden [B, W, H], states [B, W] of `level` (-1: dead) -> codes, child states and
        log-probabilities of the children, each [B, W, children]; -inf where a state has fewer."""
        codes, children, valid = self.trie.children(level, states)
        if self.normalise == "vocabulary":
            everything = self.head.logits(hidden, weights).to(states.device) / self.temperature
            normaliser = everything.logsumexp(-1, keepdim=True)
            logits = everything[:, :, self.rows[level]].gather(2, codes)
        else:
            weight, bias = weights
            weights = weight[self.rows[level]], None if bias is None else bias[self.rows[level]]
            logits = (self.head.logits(hidden, weights).to(states.device) / self.temperature).gather(2, codes)
            normaliser = logits.masked_fill(~valid, -torch.inf).logsumexp(-1, keepdim=True)
        return codes, children, (logits - normaliser).masked_fill(~valid, -torch.inf)

    def follow(self, weights, hidden, level: int, states, wanted):
        """As `step`, for given codes: wanted [B, C]; hidden, states as there with W = C, or W = 1 shared by all.

        Returns (log-probability of each wanted code, -inf if it is not allowed; next states; entropy [B, W] over the
        allowed codes' probabilities), the last without gradient.
        """
        codes, children, logps = self.step(weights, hidden, level, states)
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

    Codes are token ids here; the state of a prefix that no ID begins with is -1, and so is the leaf of what is no ID.
    """

    def __init__(self, backbone, trie, temperature: float = 1.0):
        super().__init__(backbone, trie, "vocabulary", temperature)
        self.tokens_of_codes = self.tokens
        every = torch.arange(backbone.model.get_input_embeddings().weight.shape[0], device=backbone.device)
        self.tokens = [every] * trie.depth

    def step(self, weights, hidden, level: int, states):
        """As `Constraint.step`, with all tokens as children."""
        logps = self._logps(weights, hidden, states)
        codes, children, valid = self.trie.children(level, states)
        following = torch.full_like(logps, -1, dtype=torch.int64)
        following.scatter_reduce_(2, self.tokens_of_codes[level][codes], children.masked_fill(~valid, -1), "amax")
        return self.tokens[level].to(states.device).expand_as(following), following, logps

    def follow(self, weights, hidden, level: int, states, wanted):
        """As `Constraint.follow`, for given tokens; the states are not followed."""
        logps = self._logps(weights, hidden, states)
        entropy = torch.special.entr(logps.detach().exp()).sum(2)
        chosen = logps.expand(-1, wanted.shape[1], -1).gather(2, wanted[:, :, None])[:, :, 0]
        return chosen, torch.full_like(wanted, -1), entropy

    def _logps(self, weights, hidden, states):
        return (self.head.logits(hidden, weights).to(states.device) / self.temperature).log_softmax(-1)


def consecutive(tokens: torch.Tensor) -> slice | torch.Tensor:
    """Ids [n] as a slice if they follow each other, which added tokens do: rows of a slice are read without a copy."""
    if bool((tokens.diff() == 1).all()):
        return slice(int(tokens[0]), int(tokens[-1]) + 1)
    return tokens
