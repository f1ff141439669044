"""Three ways in which a method that answers with IDs scores given candidates (CandAcc).

    likelihood   log-likelihood of each candidate's ID after one shared prompt, over the whole catalogue
    beam         beam search over a trie of the candidates: the model must answer with one of them
    similarity   the deployed filter: the largest cosine to any item of the model's top K (its Predict Set)

The paper does not say which one it reports. ``likelihood`` is the headline (ours): like the scores of a dense model, it
says how likely each item is in the whole catalogue, which is what the other methods are asked for, too.
"""

from typing import Literal, get_args

import torch

from recbole_conrec.generative.rewards import best_cosine

Scoring = Literal["likelihood", "beam", "similarity"]
SCORINGS: tuple[Scoring, ...] = get_args(Scoring)
DIGITS = 6  # of a cosine, as in the filter: two candidates of the Predict Set are a tie, not a matter of rounding


def within(levels: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Log-likelihood of each candidate among the candidates.

    Beam search over their trie needs no search where the beam is as wide as the list is long: each code's probability
    is divided by that of all codes which candidates with the same prefix have at this level.

    Args:
        levels: float [B, C, depth], log-probabilities of the candidates' codes under any one softmax per prefix; -inf
            for padding.
        codes: int64 [B, C, depth] of the candidates.

    Returns:
        float [B, C]; -inf for padding.
    """
    there = ~torch.isinf(levels[:, :, 0])
    total = torch.zeros(levels.shape[:2], device=levels.device)
    same = there[:, :, None] & there[:, None, :]  # [B, C, C]: equal prefixes
    earlier = torch.ones(same.shape[1:], dtype=torch.bool, device=levels.device).tril(-1)
    for level in range(levels.shape[2]):
        alike = same & (codes[:, :, None, level] == codes[:, None, :, level])
        first = ~(alike & earlier).any(2)  # one candidate represents all that have this code after the same prefix
        rivals = levels[:, None, :, level].masked_fill(~(same & first[:, None, :]), -torch.inf)
        total += levels[:, :, level] - rivals.logsumexp(2)
        same = alike
    return total.masked_fill(~there, -torch.inf)


def similarity(items: torch.Tensor, predicted: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Float [B, C]: the largest cosine of each item [B, C] to the user's predicted ones [B, K] (0: none)."""
    return (best_cosine(items, predicted, vectors, empty=-1.0) * 10**DIGITS).round() / 10**DIGITS
