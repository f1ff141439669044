"""What a feedback rule may compare a field with beside fixed values: a statistic of the same user's training events.

One user gives 3 stars where another gives 5; ``rating <= user_median - 1`` is about what is low *for them*. A statistic
reads training events alone, so no label depends on another event that is predicted (see ``SplitRule.known_before``).
"""

import math
import re
from dataclasses import dataclass

import numpy as np

from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.names import nearest

KNOWN = ("user_mean", "user_median", "user_q25")
_NAME = re.compile(r"user_(?:(mean)|(median)|q(0?[1-9]|[1-9]\d))")
_WRITTEN = re.compile(r"(user_[^+-]*)(?:([+-])(.*))?")
DECIMALS = 9  # to which values and statistics are compared, so that 0.3 - 0.1 is 0.2


@dataclass(frozen=True, eq=False)
class TrainingEvents:
    """The events, and which of them statistics may read.

    Attributes:
        user: int64 [E], ids below n_users.
        known: bool [E], the events that are for training whatever their labels.
        n_users: number of ids.
    """

    user: np.ndarray
    known: np.ndarray
    n_users: int


@dataclass(frozen=True)
class UserStatistic:
    """A statistic of a field over a user's training events, plus a constant.

    Attributes:
        quantile: the share of the events below it, by linear interpolation (0.5: the median); None: the mean.
        shift: what is added.
    """

    quantile: float | None
    shift: float = 0.0

    @classmethod
    def parse(cls, text: str, *, exact: bool) -> "UserStatistic | None":
        """Read ``user_mean``, ``user_median`` or ``user_q25`` (any whole percent), plus or minus a number or alone.

        Args:
            text: without blanks.
            exact: a name that is no statistic's is text of the user's own (None), and no error.

        Raises UserError for an unknown statistic, or for what is added if it is no number.
        """
        written = _WRITTEN.fullmatch(text)
        if written is None:
            return None
        name, sign, amount = written.groups()
        found = _NAME.fullmatch(name)
        if found is None:
            if exact:
                return None
            raise UserError(
                f"unknown statistic '{name}'{nearest(name, KNOWN)}; there are user_mean, user_median, and quantiles "
                "from user_q1 to user_q99"
            )
        try:
            shift = float(f"{sign}{amount}") if sign else 0.0
        except ValueError:
            shift = math.nan
        if not math.isfinite(shift):
            raise UserError(f"expected a number after '{name} {sign}' but found {amount!r}")
        mean, median, percent = found.groups()
        return cls(None if mean else 0.5 if median else int(percent) / 100, shift)

    def of_users(self, values: np.ndarray, events: TrainingEvents) -> np.ndarray:
        """The statistic of each user, shifted and rounded: float64 [n_users].

        Users without training events have that of all training events together.

        Args:
            values: float64 [E], the field.

        Raises UserError if there are no training events at all.
        """
        known, user = values[events.known], events.user[events.known]
        if len(known) == 0:
            raise UserError(
                "feedback: a rule compares with a statistic of the training events, and there are none before the "
                "first cut; change `split`"
            )
        everybody = self._of_groups(known, np.zeros(len(known), dtype=np.int64), 1)
        own = self._of_groups(known, user, events.n_users)
        return np.round(np.where(np.isnan(own), everybody, own) + self.shift, DECIMALS)

    def _of_groups(self, values: np.ndarray, group: np.ndarray, n_groups: int) -> np.ndarray:
        """The statistic of the values [E] of each group: float64 [n_groups], NaN for an empty one."""
        count = np.bincount(group, minlength=n_groups)
        distinct = np.unique(values)
        keys = group * len(distinct) + np.searchsorted(distinct, values)
        keys.sort()  # by group, then value: whole numbers sort many times faster than pairs
        group, places = np.divmod(keys, len(distinct))
        values = distinct[places]
        some = np.flatnonzero(count)
        first = (np.cumsum(count) - count)[some]
        out = np.full(n_groups, np.nan)
        if self.quantile is None:
            lowest = np.repeat(values[first], count[some])  # equal values have exactly their own mean
            out[some] = values[first] + np.bincount(group, values - lowest, n_groups)[some] / count[some]
            return out
        place = self.quantile * (count[some] - 1)
        below = np.floor(place + 1e-9).astype(np.int64)
        low, high = values[first + below], values[first + np.minimum(below + 1, count[some] - 1)]
        out[some] = low + (place - below) * (high - low)
        return out
