"""The items that a model predicts users to dislike, as of a moment."""

import copy
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from recbole_conrec.data.dataset import NegativeFeedbackDataset
from recbole_conrec.data.events import EXPOSURE, NEVER, EventLog, Instances, RowStream
from recbole_conrec.data.splits import parse_time
from recbole_conrec.evaluation import ranking
from recbole_conrec.runs.restore import TrainedRun
from recbole_conrec.utils.errors import UserError

MOMENTS = ("end", "test", "valid")


@dataclass(frozen=True)
class Sets:
    """Predict Sets of B users.

    Attributes:
        users: int64 [B], internal ids.
        t0: int64 [B], seconds; the model saw no event at or after it.
        activity: int64 [B], likes and dislikes before t0.
        items: int64 [B, K], best first, 0 = missing.
        scores: float32 [B, K], the model's scores (log-likelihoods for a generative model); -inf where missing.
    """

    users: np.ndarray
    t0: np.ndarray
    activity: np.ndarray
    items: np.ndarray
    scores: np.ndarray


def moments(data: NegativeFeedbackDataset, at) -> np.ndarray:
    """The moment of each user's set: int64 [n_users], seconds; events at or after it are not seen.

    Args:
        at: 'end', after the last event of the log; 'valid' or 'test', the user's own cut, and 'end' for a user without
            one, who is never evaluated; or one time for all users (seconds, an ISO date or date-time).

    Raises UserError if ``at`` is none of these.
    """
    log, at = data.log, moment_or_seconds(at)
    end = np.int64(log.time.max() + 1)
    if at == "end":
        return np.full(log.n_users, end)
    if at in ("valid", "test"):
        cut = data.cuts.valid_start if at == "valid" else data.cuts.test_start
        return np.where(cut == NEVER, end, cut)
    return np.full(log.n_users, at)


def moment_or_seconds(at) -> str | int:
    """``at`` as one of MOMENTS or as seconds since 1970. UserError if it is neither, nor an ISO date or date-time."""
    try:
        return at if at in MOMENTS else parse_time(at)
    except UserError:
        raise UserError(f"'{at}' is none of {', '.join(MOMENTS)}, nor a time (seconds or ISO date)") from None


@torch.no_grad()
def predict_sets(run: TrainedRun, users: np.ndarray, t0: np.ndarray, size: int) -> Sets:
    """The ``size`` items that each user will most likely dislike, as of ``t0``.

    Items that the user disliked before are left out. A user without a like or dislike before ``t0`` gets an empty set
    (ours): what a model predicts without any feedback is no reason to hide items.

    Args:
        users: int64 [B], internal ids; one batch.
        t0: int64 [n_users], seconds, see :func:`moments`.

    Raises UserError for a model that only scores given candidates.
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
        interaction = serving[np.arange(len(known))].to(run.model.device)
        found, likely = _answers(run.model, interaction, data, size)
        items[known] = found
        scores[known] = np.where(found > 0, likely, -np.inf)
    return Sets(users, t0[users], activity, items, scores)


def _answers(model, interaction, data: NegativeFeedbackDataset, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The model's top items, int64 [B, size], and its scores of them, float32 [B, size]."""
    own = hasattr(model, "recommend") and hasattr(model, "score_candidates")
    dense = None if own else ranking.dense_scores(model, interaction, data)
    items = ranking.recommend(model, interaction, size, data, dense=dense)
    scores = None if items is None else ranking.score_candidates(model, interaction, items, data, dense=dense)
    if items is None or scores is None:
        lacking = "only scores given candidates" if items is None else "does not score its items"
        raise UserError(f"{type(model).__name__} {lacking}: it has no Predict Sets")
    return items.cpu().numpy(), scores.float().cpu().numpy()


@lru_cache(maxsize=2)
def reactions(log: EventLog) -> RowStream:
    """The likes and dislikes of a log."""
    return RowStream(log.feedback != EXPOSURE)
