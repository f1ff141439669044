"""Which times can be times: seconds since 1970 in a plausible year, and the unit that a number seems to have."""

from datetime import datetime, timedelta, timezone

import numpy as np

FIRST, LAST = -2_208_988_800, 2**33
"""Seconds since 1970 of the years 1900 and 2242; what lies outside is not in seconds."""
UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""Unit of a time -> how many of it make a second."""
_RECENT = 631_152_000, 4_102_444_800  # the years 1990 and 2100


def implausible(seconds: np.ndarray) -> np.ndarray:
    """Which times are no seconds since 1970 of a year from 1900 to 2242: bool [N]."""
    return ~((seconds >= FIRST) & (seconds <= LAST))


def in_1970(seconds: np.ndarray) -> np.ndarray:
    """Which times are in 1970, as those are that were divided by too much: bool [N]."""
    return (seconds >= 0) & (seconds < 365 * 86_400)


def likely_unit(number: float) -> str | None:
    """The unit in which a number is a time from 1990 to 2100; None if there is none."""
    low, high = _RECENT
    return next((unit for unit, size in UNITS.items() if low <= number / size < high), None)


def year(seconds: float) -> int:
    """The year of a time in seconds since 1970, of any size."""
    if abs(seconds) < 50_000_000_000:
        return (datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=float(seconds))).year
    return int(1970 + seconds / 31_556_952)
