"""The threshold theta: chosen on validation for a target, one for all users or one per group of users."""

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator
from typing_extensions import Self

from recbole_conrec.data.events import NEGATIVE, POSITIVE
from recbole_conrec.filtering import folder as layout
from recbole_conrec.filtering.future import future_pairs, top_lists
from recbole_conrec.filtering.online import DIGITS, NegativeFilter
from recbole_conrec.options.schema import Count, Number, Options
from recbole_conrec.runs.restore import TrainedRun
from recbole_conrec.utils.errors import UserError

FEW = 50  # pairs that a group needs for a threshold of its own
LIST = 100  # items of the lists over which the filter rate is taken
STEP = 10.0**-DIGITS  # how far a threshold lies above the highest score that stays, so that rounding drops none

Part = Annotated[Number, Field(ge=0, lt=1)]


class CalibrationOptions(Options):
    """What theta is chosen for; without `lost` and `rate` it is not chosen."""

    lost: Part | None = None
    """Target: the largest share of the likes of the validation part that may be dropped."""
    rate: Part | None = None
    """Target: the largest share of recommended candidates that may be dropped."""
    groups: Count = 1
    """Number of groups of users, by activity, that get a theta each."""

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if self.lost is not None and self.rate is not None:
            raise ValueError("lost and rate are both given; give one target")
        if self.groups != 1 and self.target is None:
            raise ValueError("groups is for calibration; give a target, too: lost (such as 0.05) or rate (such as 0.1)")
        return self

    @property
    def target(self) -> tuple[str, float] | None:
        """('lost' or 'rate', its value); None if neither is given."""
        given = [(name, value) for name, value in (("lost", self.lost), ("rate", self.rate)) if value is not None]
        return (given[0][0], float(given[0][1])) if given else None


def threshold(scores: np.ndarray, share: float) -> float:
    """The lowest theta such that at most ``share`` of the scores are above it.

    Args:
        scores: float [N]; NaN (no score) is never above.

    Returns theta, -1 where everything may be dropped. Raises UserError if there are no scores.
    """
    if not len(scores):
        raise UserError("calibration: the validation part has no pairs from which to choose theta")
    ordered = -np.sort(-np.where(np.isnan(scores), -np.inf, scores.astype(np.float64)))
    may_go = int(np.floor(share * len(ordered) + 1e-9))
    stays = ordered[may_go] if may_go < len(ordered) else -np.inf
    return float(np.clip(round(stays + STEP, DIGITS), -1, 1)) if np.isfinite(stays) else -1.0


def thresholds(scores: np.ndarray, activity: np.ndarray, share: float, groups: int = 1) -> dict:
    """One theta, or one per group of users of similar activity, and the evidence for each.

    Args:
        scores: float [N], of pairs of a user and an item.
        activity: int64 [N], likes and dislikes of the pair's user before.
        share: the largest share of the scores that may be above theta.
        groups: groups are cut at the quantiles of activity. A group with fewer than 50 pairs takes the theta of all
            pairs (ours).

    Returns plain JSON, a list entry per group: values (the thetas), bounds (the activities at which the second, third
    ... group begins), n (pairs), above (the share of them above theta; null without pairs) and own (whether theta is
    the group's own).
    """
    cuts = np.quantile(activity, np.arange(1, groups) / groups) if groups > 1 else []
    bounds = np.unique(np.ceil(cuts).astype(np.int64))
    group = np.searchsorted(bounds, activity, side="right")
    whole = threshold(scores, share)
    members = [scores[group == number] for number in range(len(bounds) + 1)]
    own = [len(those) >= FEW or len(members) == 1 for those in members]
    values = [threshold(those, share) if mine else whole for those, mine in zip(members, own, strict=True)]
    above = [
        float((those > np.float32(value)).mean()) if len(those) else None
        for those, value in zip(members, values, strict=True)
    ]
    return {
        "values": values,
        "bounds": bounds.tolist(),
        "n": [len(those) for those in members],
        "above": above,
        "own": own,
    }


def choose(run: TrainedRun, sets: NegativeFilter, target: str, share: float, groups: int = 1) -> dict:
    """Threshold and size of the sets for a target, from Predict Sets as of the validation cut.

    A set's own items have cosine 1, so that a large set drops many likes at any threshold. Therefore sets cut to an
    eighth, a quarter and a half of their size are tried as well, and the size that removes most dislikes of validation
    at the target is taken (ours).

    Args:
        sets: as of 'valid'.
        target: 'lost', a share of the likes of the validation part; 'rate', a share of the candidates in the lists of
            :func:`recbole_conrec.filtering.future.top_lists` at its beginning.

    Returns what :func:`thresholds` returns, ``size``, ``removed`` (share of the dislikes of validation) and ``tried``
    (size, values and removed of each size).
    """
    if target == "lost":
        judged = _rows(run, sets, *future_pairs(run.data, "valid", POSITIVE))
    else:
        users = np.arange(1, run.data.user_num)
        lists = top_lists(run.data, users, "valid", LIST)
        judged = _rows(run, sets, np.repeat(users, LIST)[lists.reshape(-1) > 0], lists[lists > 0])
    dislikes = _rows(run, sets, *future_pairs(run.data, "valid", NEGATIVE))
    tried = []
    for size in sizes(sets.manifest["size"]):
        cut = sets.sets.cut(size)
        chosen = {"size": size, **thresholds(cut.pair_scores(*judged), sets.activity[judged[0]], share, groups)}
        limit = by_group(chosen, sets.activity[dislikes[0]])
        chosen["removed"] = float((cut.pair_scores(*dislikes) > limit).mean()) if len(limit) else 0.0
        tried.append(chosen)
    best = max(tried, key=lambda chosen: chosen["removed"])  # the smallest of equals
    return {**best, "tried": [{key: chosen[key] for key in ("size", "values", "removed")} for chosen in tried]}


def sizes(size: int) -> list[int]:
    """The sizes that are tried: an eighth, a quarter, a half and the whole, ascending."""
    return sorted({max(size // part, 1) for part in (8, 4, 2, 1)})


def by_group(chosen: dict, activity: np.ndarray) -> np.ndarray:
    """The threshold of the group to which each activity belongs: float32 of the activities' shape."""
    values = np.array(chosen["values"], dtype=np.float32)
    return values[np.searchsorted(np.array(chosen["bounds"], dtype=np.int64), activity, side="right")]


def _rows(run: TrainedRun, sets: NegativeFilter, users, items) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of internal ids as rows of the sets, without the users for whom no set was predicted."""
    rows = sets.users.rows(run.data.id2token(run.data.uid_field, users))
    return rows[rows >= 0], items[rows >= 0] - 1


def calibrate(run: TrainedRun, out, options: CalibrationOptions) -> dict:
    """Choose theta for a target and write it to the manifest of ``out``.

    Args:
        out: a folder of Predict Sets as of validation, or with such a folder inside (``valid/``).

    Returns what the manifest keeps under ``theta``. Raises UserError without a target, or if the sets are of another
    run.
    """
    if options.target is None:
        raise UserError("calibration: no target; give lost=0.05 (share of future likes) or rate=0.1 (of candidates)")
    target, share = options.target
    out = Path(out)
    manifest = layout.read_manifest(out)
    place = out if manifest["data"]["at"] == "valid" else out / layout.VALID
    sets = NegativeFilter.load(place)
    for name, theirs in (
        ("weights", sets.manifest["model"]["weights"]),
        ("data", sets.manifest["data"]["fingerprint"]),
        ("semantic_ids", sets.manifest["tokenizer"]["fingerprint"]),
    ):
        if theirs != run.fingerprints[name]:
            raise UserError(
                f"{place}: these sets are of another run (the fingerprints of {name} differ); calibrate "
                "with the run that made them"
            )
    theta = {
        "target": {target: share},
        "groups": options.groups,
        "sets": sets.manifest["plan"],
        **choose(run, sets, target, share, options.groups),
    }
    layout.write_manifest(out, {**manifest, "theta": theta})
    return theta
