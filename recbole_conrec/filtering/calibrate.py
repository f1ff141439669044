"""The threshold: chosen on validation for a target, for all users alike or by groups of users."""

from pathlib import Path

import numpy as np

from recbole_conrec.data.events import NEGATIVE, POSITIVE
from recbole_conrec.filtering import folder as layout
from recbole_conrec.filtering.future import future_pairs, top_lists
from recbole_conrec.filtering.online import DIGITS, NegativeFilter
from recbole_conrec.utils.errors import UserError

FEW = 50  # pairs on which a group must rest to get a threshold of its own
LIST = 100  # candidates of the lists that the filter rate is taken over
STEP = 10.0**-DIGITS  # so much above a score a threshold stands, that no rounding drops what should stay


def threshold(scores: np.ndarray, share: float) -> float:
    """The lowest theta at which at most ``share`` of ``scores`` [N] lie above it; NaN (unscored) never does.

    -1 where everything may be dropped. Raises UserError if there is no score.
    """
    if not len(scores):
        raise UserError("calibration: there is nothing in validation to choose theta by")
    ordered = -np.sort(-np.where(np.isnan(scores), -np.inf, scores.astype(np.float64)))
    may_go = int(np.floor(share * len(ordered) + 1e-9))
    stays = ordered[may_go] if may_go < len(ordered) else -np.inf
    return float(np.clip(round(stays + STEP, DIGITS), -1, 1)) if np.isfinite(stays) else -1.0


def thresholds(scores: np.ndarray, activity: np.ndarray, share: float, groups: int = 1) -> dict:
    """One theta, or one per group of users of like activity, with what they rest on.

    Args:
        scores: float [N], of pairs of a user and an item.
        activity: int64 [N], likes and dislikes of the pair's user before.
        share: how many of the scores may lie above.
        groups: cut at the quantiles of activity. A group with fewer than 50 pairs takes the theta of all (ours).

    Returns plain JSON: values (thetas), bounds (activities at which a group begins), n, above (the share that lies
    above) and own (false: the theta of all), by group.
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


def choose(run, sets: NegativeFilter, target: str, share: float, groups: int = 1) -> dict:
    """Threshold and size of the sets for a target, from Predict Sets as of the validation cut.

    A set's own items have cosine 1, so that large sets drop many likes at any threshold. So sets cut to a half, a
    quarter and an eighth are tried as well, and the size that removes most dislikes of validation at the target is
    taken (ours).

    Args:
        sets: as of 'valid'.
        target: 'lost', a share of the likes of the validation part; 'rate', a share of the candidates in the lists of
            :func:`recbole_conrec.filtering.future.top_lists` at its beginning.

    Returns what :func:`thresholds` does, ``size``, ``removed`` (share of the dislikes of validation) and, for each size
    that was tried, ``tried``.
    """
    if target == "lost":
        judged = _rows(run, sets, *future_pairs(run.data, "valid", POSITIVE))
    else:
        users = np.arange(1, run.data.user_num)
        lists = top_lists(run.data, users, "valid", LIST)
        judged = _rows(run, sets, np.repeat(users, LIST)[lists.reshape(-1) > 0], lists[lists > 0])
    dislikes = _rows(run, sets, *future_pairs(run.data, "valid", NEGATIVE))
    best, tried = None, []
    for size in sizes(sets.manifest["size"]):
        cut = sets.sets.cut(size)
        chosen = {"size": size, **thresholds(cut.pair_scores(*judged), sets.activity[judged[0]], share, groups)}
        limit = by_group(chosen, sets.activity[dislikes[0]])
        chosen["removed"] = float((cut.pair_scores(*dislikes) > limit).mean()) if len(limit) else 0.0
        tried.append({key: chosen[key] for key in ("size", "values", "removed")})
        best = chosen if best is None or chosen["removed"] > best["removed"] else best
    return {**best, "tried": tried}


def sizes(size: int) -> list[int]:
    """The sizes that are tried: an eighth, a quarter, a half and the whole."""
    return sorted({max(size // part, 1) for part in (8, 4, 2, 1)})


def by_group(chosen: dict, activity: np.ndarray) -> np.ndarray:
    """float32 of the activities' shape: the threshold of the group that each belongs to."""
    values = np.array(chosen["values"], dtype=np.float32)
    return values[np.searchsorted(np.array(chosen["bounds"], dtype=np.int64), activity, side="right")]


def _rows(run, sets: NegativeFilter, users, items) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of internal ids as rows of the sets, without the users whose sets were not predicted."""
    rows = sets.users.rows(run.data.id2token(run.data.uid_field, users))
    return rows[rows >= 0], items[rows >= 0] - 1


def calibrate(run, out, *, lost: float | None = None, rate: float | None = None, groups: int = 1) -> dict:
    """Choose theta for a target and keep it in the manifest of ``out``.

    Args:
        run: TrainedRun.
        out: a folder of Predict Sets, made as of validation or with such a folder inside (``valid/``).
        lost: at most this share of the likes of the validation part may be dropped.
        rate: or: at most this share of recommended candidates.
        groups: thresholds by activity.

    Returns what the manifest keeps under ``theta``. Raises UserError for a target outside [0, 1), or sets of another
    run.
    """
    target, share = check_target(lost, rate, groups)
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
        "groups": groups,
        "sets": sets.manifest["plan"],
        **choose(run, sets, target, share, groups),
    }
    layout.write_manifest(out, {**manifest, "theta": theta})
    return theta


def check_target(lost, rate, groups) -> tuple[str, float]:
    """('lost' or 'rate', its value). UserError unless it is one share between 0 and 1."""
    if (lost is None) == (rate is None):
        raise UserError(
            "calibration: give one target, --lost=0.05 (share of future likes) or --rate=0.1 (share of candidates)"
        )
    name, value = ("rate", rate) if lost is None else ("lost", lost)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
        raise UserError(f"--{name}: {value!r} must be a share of at least 0 and below 1")
    if not isinstance(groups, int) or isinstance(groups, bool) or groups < 1:
        raise UserError(f"--groups: {groups!r} must be a whole number of at least 1")
    return name, float(value)
