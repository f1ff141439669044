"""What may go wrong with a data set: each warning gives the figure that raised it and the fix."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from recbole_conrec.data.exclusion import CONTRADICTED, recommended
from recbole_conrec.data.inspection.measure import Inspection, K


@dataclass(frozen=True)
class Finding:
    """One warning: ``what`` gives the figure that raised it, ``fix`` what to change."""

    name: str
    what: str
    fix: str


Check = Callable[[Inspection], str | None]
Fix = Callable[[Inspection], str]
_CHECKS: list[tuple[str, Fix, Check]] = []


def findings(seen: Inspection) -> list[Finding]:
    """All warnings of an inspection, the most serious first; an empty list if there are none."""
    return [Finding(name, what, fix(seen)) for name, fix, check in _CHECKS if (what := check(seen))]


def _warning(name: str, fix: str | Fix) -> Callable[[Check], Check]:
    """Register a check: a function that gives the sentence with the figure, or None if all is well.

    Args:
        fix: what to change; a function where that depends on what is so already.
    """

    def register(check: Check) -> Check:
        _CHECKS.append((name, fix if callable(fix) else lambda _: fix, check))
        return check

    return register


def _either(*advice: str | None) -> str:
    """What of the advice applies, joined by 'or'."""
    return ", or ".join(filter(None, advice))


def _split_by_user(seen: Inspection) -> str | None:
    """The split per user, where it is another one and leaves no part empty."""
    if seen.split_by == "user" or seen.user_ratio is None:
        return None
    return f"split: {{by: user, ratio: {list(seen.user_ratio)}}}"


def _count_events(seen: Inspection) -> str | None:
    return None if seen.window[0] == "events" else "window: {unit: events, length: 20}"


def _more_test_instances(seen: Inspection) -> str:
    larger = "move the second of `split.cuts` back" if seen.cuts else "give the test a larger share in `split.ratio`"
    return f"{larger}, widen `feedback.negative`, or take more data"


def _for_bursts(seen: Inspection) -> str:
    return " and ".join(filter(None, (_split_by_user(seen), _count_events(seen)))) or "take data over a longer time"


def _longer_window(seen: Inspection) -> str:
    count = _count_events(seen)
    longer = "lengthen `window.length`" if seen.window[1] is not None else None
    return _either(longer, f"count events: {count}" if count else None) if longer else "widen `feedback.negative`"


def _for_new_items(seen: Inspection) -> str:
    content = "compare methods with content (semantic IDs, text) with each other"
    return f"{_either(content, _split_by_user(seen))}; LIF shows the long tail"


def _for_thin_histories(seen: Inspection) -> str:
    both = "context: both" if seen.context != "both" and seen.counts["positives"] else None
    return _either(both, "a wider `feedback.negative`", "a data set with more dislikes per user")


def _for_text(seen: Inspection) -> str:
    fields = "name the right fields in `item_text`" if seen.without_text is not None else "add a .item file with text"
    return f"{fields}, or use the encoder `file` or `collaborative` IDs"


@_warning("few test instances", _more_test_instances)
def _few_instances(seen: Inspection) -> str | None:
    count = seen.parts["test"].instances
    error = 1.96 * math.sqrt(0.05 * 0.95 / count)
    what = f"{count} test instances: a hit rate of 0.05 is known to +-{error:.3f} only"
    return what if count < 500 else None


@_warning("bursty", _for_bursts)
def _bursty(seen: Inspection) -> str | None:
    if seen.split_by == "user" and seen.window[0] == "events":
        return None
    one_day = float((seen.active_days[seen.per_user["events"] > 1] <= 1).mean())
    spoilt = []
    if seen.split_by != "user":
        spoilt.append("a cut in time separates users instead of splitting histories")
    if seen.window[0] != "events":
        spoilt.append("a window of days holds all or nothing")
    what = f"{one_day:.0%} of the users with several events are active on a single day: {', and '.join(spoilt)}"
    return what if one_day > 0.5 else None


@_warning("window covers nothing", _longer_window)
def _empty_window(seen: Inspection) -> str | None:
    followed = seen.parts["test"].followed
    what = (
        f"in {followed:.1%} of the test instances another dislike follows within the window of {seen.window[1]} "
        f"{seen.window[0]}: FHR is HR"
    )
    return what if followed < 0.1 else None


@_warning(
    "window covers everything",
    lambda seen: "set `window.length`" if seen.window[1] is None else "shorten `window.length`",
)
def _endless_window(seen: Inspection) -> str | None:
    what = (
        f"the window holds {seen.covered:.0%} of a user's remaining dislikes: FHR counts any future dislike, however "
        "late"
    )
    several = float(np.median(seen.parts["test"].future_size)) > 3
    return what if seen.covered > 0.95 and several else None


@_warning("items never seen", _for_new_items)
def _unseen(seen: Inspection) -> str | None:
    test = seen.parts["test"]
    what = (
        f"{test.unseen:.0%} of the test instances are on items without any event in training ({test.undisliked:.0%} "
        "without a dislike): methods that know only ids cannot hit them, and where the other candidates are known "
        "their CandAcc is below chance"
    )
    return what if test.unseen > 0.1 else None


@_warning(
    "items decide",
    "compare with the method Pop; use a rule relative to the item's or the user's mean, in a field of its own",
)
def _item_decides(seen: Inspection) -> str | None:
    what = (
        f"an item's share of negatives in training separates negatives from positives with an AUC of "
        f"{seen.item_auc:.2f}: what is predicted is bad items, not tastes"
    )
    return what if seen.item_auc > 0.8 else None


@_warning("popularity decides", "report Pop beside all others, and LIF; or use a rule that depends more on the user")
def _popular(seen: Inspection) -> str | None:
    hits, chance = f"{seen.popularity_hit:.1%}", f"{seen.chance_hit:.1%}"
    what = f"the {K} most disliked items hit {hits} of the test instances (chance: {chance})"
    return what if seen.popularity_hit > max(0.25, 5 * seen.chance_hit) else None


@_warning("negatives are not sparse", "a stricter `feedback.negative`, for instance one star less")
def _dense(seen: Inspection) -> str | None:
    judged = seen.counts["negatives"] + seen.counts["positives"]
    share = seen.counts["negatives"] / max(judged, 1)
    what = (
        f"{share:.0%} of the events with feedback are negative; in the paper there are three to five times as many "
        "positives"
    )
    return what if seen.counts["positives"] and share > 0.4 else None


@_warning("ties", "use times in seconds if there are any; events at t0 itself are never in a history")
def _ties(seen: Inspection) -> str | None:
    what = f"{seen.tied:.0%} of the events have the time of another event of their user, so their order is not known"
    return what if seen.tied > 0.3 else None


@_warning("what lists leave out", lambda seen: f"exclude: {recommended(seen.contradicted)}")
def _exclusion(seen: Inspection) -> str | None:
    best, share = recommended(seen.contradicted), seen.contradicted[seen.exclude]
    if best == seen.exclude:
        return None
    if share > CONTRADICTED:
        return f"`exclude: {seen.exclude}` rules out {share:.1%} of the dislikes, which no list can then hit"
    return (
        f"`exclude: {seen.exclude}` lets lists hold items that the user was shown before, and at most "
        f"{seen.contradicted[best]:.2%} of the dislikes are on such items: a sure miss in nearly every list"
    )


@_warning("no positives", "set `feedback.positive`")
def _no_positives(seen: Inspection) -> str | None:
    what = "no event is positive: `context: both` adds nothing, and FPS and the reward's second term are empty"
    return what if seen.counts["positives"] == 0 else None


@_warning("few exposures", "log what was shown, or leave a neutral band between the two feedback rules")
def _no_exposures(seen: Inspection) -> str | None:
    share = seen.parts["test"].exposed
    what = (
        f"for {1 - share:.0%} of the test instances the log holds too few exposures before t0 to fill a list of "
        "candidates: CandAcc fills it with popular items, which is easier"
    )
    return what if share < 0.5 else None


@_warning("thin histories", _for_thin_histories)
def _low_activity(seen: Inspection) -> str | None:
    share = seen.parts["test"].low_activity
    what = f"{share:.0%} of the test instances have too few negatives before them for LUF to separate users"
    return what if share > 0.8 else None


@_warning("items without text", _for_text)
def _no_text(seen: Inspection) -> str | None:
    if seen.without_text is None:
        return "all the items have no text: their semantic IDs carry no content"
    what = f"{seen.without_text:.0%} of the items have no text: their semantic IDs carry no content"
    return what if seen.without_text > 0.05 else None
