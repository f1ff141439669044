"""What a model predicts that users will dislike, as of a moment."""

import copy
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from recbole_conrec.data.events import EXPOSURE, NEVER, Instances, RowStream
from recbole_conrec.data.splits import parse_time
from recbole_conrec.evaluation import ranking
from recbole_conrec.utils.errors import UserError

MOMENTS = ("end", "test", "valid")


@dataclass(frozen=True)
class Sets:
    """Predict Sets of B users.

    Attributes:
        users: int64 [B], internal ids.
        t0: int64 [B], seconds: nothing at or after it was seen.
        activity: int64 [B], likes and dislikes before t0.
        items: int64 [B, K], best first, 0 = missing.
        scores: float32 [B, K], the model's (a log-likelihood, of a generative one); -inf where missing.
    """

    users: np.ndarray
    t0: np.ndarray
    activity: np.ndarray
    items: np.ndarray
    scores: np.ndarray


def moments(data, at) -> np.ndarray:
    """When each user's set is made: int64 [n_users] seconds; events at or after it are not seen.

    ``at``: 'end', after the last event of the log; 'valid' or 'test', the user's own cut; or one time for everybody
    (seconds or an ISO date). A user without a cut, who is never evaluated, is seen as a whole.
    """
    log = data.log
    end = np.int64(log.time.max() + 1)
    if at == "end":
        return np.full(log.n_users, end)
    if at in ("valid", "test"):
        cut = data.cuts.valid_start if at == "valid" else data.cuts.test_start
        return np.where(cut == NEVER, end, cut)
    try:
        return np.full(log.n_users, parse_time(at))
    except UserError:
        raise UserError(f"at: '{at}' is none of {', '.join(MOMENTS)}, nor a time (seconds or ISO date)") from None


@torch.no_grad()
def predict_sets(run, users: np.ndarray, t0: np.ndarray, size: int) -> Sets:
    """The ``size`` items that each user will most likely dislike, as of ``t0`` [n_users].

    Items that he disliked before are not among them. A user without a like or dislike before gets none: what a model
    says of nobody is no reason to hide something from somebody (ours).

    Args:
        run: :class:`recbole_conrec.runs.restore.TrainedRun`.
        users: int64 [B], internal ids; one batch.
    """
    data, log = run.data, run.data.log
    begin, end = log.start[users], log.first_at_or_after(users, t0[users])
    activity = reactions(log).count(begin, end)
    items = np.zeros((len(users), size), dtype=np.int64)
    scores = np.full((len(users), size), -np.inf, dtype=np.float32)
    known = np.flatnonzero(activity > 0)
    if len(known):
        serving = copy.copy(data)
        nothing = np.zeros(len(known), dtype=np.int64)
        serving.instances = Instances(
            row=nothing, user=users[known], item=nothing, time=t0[users][known], begin=begin[known], end=end[known]
        )
        interaction = serving[np.arange(len(known))].to(run.config["device"])
        found, likely = _answers(run.model, interaction, data, size)
        items[known] = found
        scores[known] = np.where(found > 0, likely, -np.inf)
    return Sets(users, t0[users], activity, items, scores)


def _answers(model, interaction, data, size: int):
    name = type(model).__name__
    own = hasattr(model, "recommend") and hasattr(model, "score_candidates")
    dense = None if own else ranking.dense_scores(model, interaction, data)
    items = ranking.recommend(model, interaction, size, data, dense=dense)
    if items is None:
        raise UserError(f"{name} only judges given candidates: it has no Predict Sets")
    scores = ranking.score_candidates(model, interaction, items, data, dense=dense)
    return items.cpu().numpy(), scores.float().cpu().numpy()


@lru_cache(maxsize=2)
def reactions(log) -> RowStream:
    """The likes and dislikes of a log."""
    return RowStream(log.feedback != EXPOSURE)
