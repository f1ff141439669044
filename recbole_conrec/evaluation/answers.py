"""What a model answers to a batch of instances."""

from dataclasses import dataclass, field

import torch

from recbole_conrec.utils.distributed import gather_by_id

PAIRS = 3  # items that are scored beside the candidates: a dislike, a like, an exposure


@dataclass(frozen=True)
class Answers:
    """One model's answers to B instances.

    Attributes:
        items: int64 [B, K], the top K, best first, 0 = a missing place; None for a model that only ranks candidates.
        scores: float [B, C] of the candidates; None for a model that only recommends.
        pairs: float [B, P] of items that are scored beside the candidates, each judged by itself; None where none were
            asked for, or for a model that only recommends.
        others: further scores of the candidates, [B, C] each, by the name of the scoring.
        shortened: prompts that lost events because they were too long.
    """

    items: torch.Tensor | None
    scores: torch.Tensor | None
    others: dict[str, torch.Tensor] = field(default_factory=dict)
    shortened: int = 0
    pairs: torch.Tensor | None = None


def gather_answers(
    ids: torch.Tensor, answers: list[Answers], others: tuple[str, ...], k: int, candidates: int
) -> tuple[torch.Tensor, Answers]:
    """The answers of all processes, ordered by instance. A process without a batch takes part with nothing.

    Args:
        ids: int64 [n], the instances of this process's answers.
        others: names of the further scorings. k: length of the lists. candidates: length of the candidate lists.
    """
    nothing = {
        "items": torch.zeros(0, k, dtype=torch.int64),
        "scores": torch.zeros(0, candidates),
        "pairs": torch.zeros(0, PAIRS),
    }
    columns = {name: [getattr(answer, name) for answer in answers] or [empty] for name, empty in nothing.items()}
    columns |= {name: [answer.others[name] for answer in answers] or [nothing["scores"]] for name in others}
    given = {name: torch.cat(parts) for name, parts in columns.items() if parts[0] is not None}
    ids, *gathered = gather_by_id(ids, *given.values())
    whole = dict(zip(given, gathered, strict=True))
    further = {name: whole[name] for name in others}
    return ids, Answers(whole.get("items"), whole.get("scores"), further, pairs=whole.get("pairs"))
