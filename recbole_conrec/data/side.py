"""What a method may know of other users at t0: the option ``as_of`` (docs/protocol.md).

    cut     training events alone, as in RecBole: a model that was fitted once and never updated
    t0      all events strictly before t0, as a live system has them

Nothing at or after t0 is ever read, and nothing is trained on what only ``t0`` allows. Where times are days, events of
the day of t0 are not before it.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from recbole_conrec.data.events import EXPOSURE, NEGATIVE, POSITIVE, SECONDS_A_DAY, EventLog
from recbole_conrec.data.rolling import RollingCounts
from recbole_conrec.data.swing import Neighbours, SwingOptions, swing_of

AsOf = Literal["cut", "t0"]
ALL = (NEGATIVE, EXPOSURE, POSITIVE)


class SideInformation:
    """Counts and neighbourhoods as of the training cut or as of t0.

    Args:
        log: all events.
        train_mask: bool [E], the training events.
        start: when the first evaluation begins, in seconds.
        as_of: 'cut' or 't0'.
        options: of Swing.
    """

    def __init__(self, log: EventLog, train_mask: np.ndarray, start: int, as_of: AsOf, options: SwingOptions):
        self.log, self.start, self.as_of, self.options = log, start, as_of, options
        self._readable = train_mask if as_of == "cut" else np.ones(len(log), dtype=bool)
        self._end = int(log.time[train_mask].max(initial=-1)) + 1  # no training event is at or after it
        self._counts: dict[tuple[int, ...], RollingCounts] = {}
        self._swing: dict[int, Neighbours] = {}

    def _rolling(self, kinds: tuple[int, ...]) -> RollingCounts:
        if kinds not in self._counts:
            rows = np.flatnonzero(self._readable & np.isin(self.log.feedback, kinds))
            self._counts[kinds] = RollingCounts(self.log.item[rows], self.log.time[rows], self.log.n_items)
        return self._counts[kinds]

    def counts(self, kinds: tuple[int, ...], t0: np.ndarray) -> np.ndarray:
        """The events of some kinds of feedback per item that a prediction at t0 may count.

        Args:
            t0: int64 [N].

        Returns:
            int32 [N, n_items]: of all training events (cut), or of all events before t0. Not to be written to.
        """
        rolling = self._rolling(kinds)
        if self.as_of == "cut":
            return np.broadcast_to(rolling.kept[-1], (len(t0), self.log.n_items))
        return rolling.at(t0)

    def counts_before(self, kinds: tuple[int, ...], t0: np.ndarray) -> np.ndarray:
        """As :meth:`counts`, always strictly before t0: features of training pairs must not count the pairs."""
        return self._rolling(kinds).at(t0)

    def recent(
        self, kinds: tuple[int, ...], t0: np.ndarray, *, days: float | None = None, events: int | None = None
    ) -> np.ndarray:
        """The events per item in the last ``days``, or among the last ``events``, before t0: int32 [N, n_items].

        Under ``cut`` a window that would open after the training is the last one of the training.
        """
        moments = np.asarray(t0) if self.as_of == "t0" else np.minimum(t0, self._end)
        rolling = self._rolling(kinds)
        if events is not None:
            return rolling.latest(moments, events)
        return rolling.at(moments) if days is None else rolling.within(moments, int(days * SECONDS_A_DAY))

    def swing(self, t0: np.ndarray) -> Iterator[tuple[np.ndarray, Neighbours]]:
        """Swing neighbours for evaluated instances: pairs of some of them (indices into t0 [N]) and their neighbours.

        Under ``t0`` the neighbours are those of the last refresh at or before t0: one at the start of the evaluation
        and one every ``swing.refresh`` days from then on, each from the events strictly before it.
        """
        number = np.zeros(len(t0), dtype=np.int64)
        if self.as_of == "t0":
            number = np.maximum(np.asarray(t0) - self.start, 0) // int(self.options.refresh * SECONDS_A_DAY)
        for one in np.unique(number):
            yield np.flatnonzero(number == one), self._swing_of(int(one))

    def _swing_of(self, number: int) -> Neighbours:
        if number not in self._swing:
            log, moment = self.log, self.start + number * int(self.options.refresh * SECONDS_A_DAY)
            readable = self._readable if self.as_of == "cut" else log.time < moment
            self._swing[number] = swing_of(log, readable & (log.feedback == NEGATIVE), self.options)
        return self._swing[number]
