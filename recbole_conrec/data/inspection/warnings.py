"""What may go wrong with a data set: each warning names its number and the mend."""

import math
from dataclasses import dataclass

import numpy as np

from recbole_conrec.data.inspection.measure import Inspection, K


@dataclass(frozen=True)
class Finding:
    """One warning: ``what`` names the number, ``mend`` the way out."""

    name: str
    what: str
    mend: str


def findings(seen: Inspection) -> list[Finding]:
    """All findings of an inspection, the gravest first; an empty list if there are none."""
    return [Finding(*found) for check in _CHECKS if (found := check(seen))]


def _not_seconds(seen: Inspection):
    last = seen.span[1]
    if last > 2**33:  # the year 2242
        return (
            "times are not seconds",
            f"the last event is at {last:,}, after the year 2200: cuts, days and windows are not what they say",
            "write seconds into the .inter file (milliseconds / 1000), or convert anew with the right `unit`",
        )


def _few_instances(seen: Inspection):
    count = seen.parts["test"].instances
    if count < 500:
        error = 1.96 * math.sqrt(0.05 * 0.95 / count)
        return (
            "few test instances",
            f"{count} test instances: a hit rate of 0.05 is known to +-{error:.3f} only",
            "give the test a larger share in `split.ratio`, widen `feedback.negative`, or take more data",
        )


def _bursty(seen: Inspection):
    one_day = float((seen.active_days[seen.per_user["events"] > 0] <= 1).mean())
    if one_day > 0.5 and (seen.split_by == "time" or seen.window[0] != "events"):
        return (
            "bursty",
            f"{one_day:.0%} of the users are active on a single day: a cut in time parts users instead "
            f"of histories, and a window of days holds all or nothing",
            "split: {by: user, ratio: [0.7, 0.1, 0.2]} and window: {unit: events, length: 20}",
        )


def _ties(seen: Inspection):
    if seen.tied > 0.3:
        return (
            "ties",
            f"{seen.tied:.0%} of the events share their time with another event of their user, so which "
            f"came first is not known",
            "use times in seconds if there are any: no event at t0 itself enters a history",
        )


def _empty_window(seen: Inspection):
    followed = seen.parts["test"].followed
    if followed < 0.1:
        return (
            "window covers nothing",
            f"in {followed:.1%} of the test instances another dislike follows within the "
            f"window of {seen.window[1]} {seen.window[0]}: FHR is HR",
            "lengthen `window.length`, or count events: window: {unit: events, length: 20}",
        )


def _endless_window(seen: Inspection):
    if seen.covered > 0.95 and float(np.median(seen.parts["test"].future_size)) > 3:
        return (
            "window covers everything",
            f"the window holds {seen.covered:.0%} of what a user still dislikes: FHR "
            f"asks for any future dislike, however late",
            "shorten `window.length`",
        )


def _unseen(seen: Inspection):
    test = seen.parts["test"]
    if test.unseen > 0.1:
        return (
            "items never seen",
            f"{test.unseen:.0%} of the test instances are on items without any event in "
            f"training ({test.undisliked:.0%} without a dislike): rows that know ids alone "
            f"cannot hit them, and their CandAcc is below chance where the other candidates "
            f"are known",
            "judge rows with content (semantic IDs, text) against each other, or split: {by: user}; LIF shows the "
            "long tail",
        )


def _popular(seen: Inspection):
    if seen.popularity_hit > 0.25 and seen.popularity_hit > 5 * seen.chance_hit:
        return (
            "popularity decides",
            f"the {K} most disliked items hit {seen.popularity_hit:.1%} of the test "
            f"instances (chance: {seen.chance_hit:.1%})",
            "report the row Pop beside every other, and LIF; a rule that says more of the user than of the item",
        )


def _item_decides(seen: Inspection):
    if seen.item_auc > 0.8:
        return (
            "items decide",
            f"an item's share of negatives in training tells negatives from positives with an AUC "
            f"of {seen.item_auc:.2f}: bad items, not tastes, are predicted",
            "compare with the row Pop; a rule relative to the item's or the user's mean, in a field of its own",
        )


def _low_activity(seen: Inspection):
    share = seen.parts["test"].low_activity
    if share > 0.8:
        return (
            "thin histories",
            f"{share:.0%} of the test instances have too few negatives before them for LUF to tell users apart",
            "context: both, a wider `feedback.negative`, or a data set with more dislikes per user",
        )


def _dense(seen: Inspection):
    judged = seen.counts["negatives"] + seen.counts["positives"]
    share = seen.counts["negatives"] / max(judged, 1)
    if seen.counts["positives"] and share > 0.4:
        return (
            "negatives are not sparse",
            f"{share:.0%} of the events with feedback are negative; in the paper "
            f"positives are three to five times as many",
            "a stricter `feedback.negative`, for instance one star less",
        )


def _no_exposures(seen: Inspection):
    share = seen.parts["test"].exposed
    if share < 0.5:
        return (
            "few exposures",
            f"for {1 - share:.0%} of the test instances the log holds too few exposures before "
            f"t0 to fill a list of candidates: CandAcc takes popular items for the rest, which "
            f"is easier",
            "log what was shown, or leave a neutral band between the two feedback rules",
        )


def _no_text(seen: Inspection):
    if seen.without_text is None or seen.without_text > 0.05:
        share = "all" if seen.without_text is None else f"{seen.without_text:.0%} of"
        return (
            "items without text",
            f"{share} the items have no text: their semantic IDs say nothing",
            "name the right fields in `item_text`, or use the encoder `file` or `collaborative` IDs",
        )


def _no_positives(seen: Inspection):
    if seen.counts["positives"] == 0:
        return (
            "no positives",
            "no event is positive: `context: both`, FPS and the reward's second term are empty",
            "set `feedback.positive`",
        )


_CHECKS = (
    _not_seconds,
    _few_instances,
    _bursty,
    _empty_window,
    _endless_window,
    _unseen,
    _item_decides,
    _popular,
    _dense,
    _ties,
    _no_positives,
    _no_exposures,
    _low_activity,
    _no_text,
)
