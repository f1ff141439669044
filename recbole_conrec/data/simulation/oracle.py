"""What the simulator knows and a method has to find out: each user's true dislike of each item at each time."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recbole_conrec.utils.errors import UserError

STEEPNESS, MIDDLE = 5.0, 1.0  # probability of a dislike (or like) from the summed strengths of an item's attributes


def affinity(strength: np.ndarray, attributes: np.ndarray) -> np.ndarray:
    """Summed strength of items' attributes: strength [B, A], attributes int64 [B, L, 5] -> [B, L].

    The attributes are added one after the other, so that the sum does not depend on the machine's vector unit.
    """
    row = np.arange(len(strength))[:, None]
    total = np.zeros(attributes.shape[:2])
    for column in range(attributes.shape[2]):
        total += strength[row, attributes[:, :, column]]
    return total


def at_time(start: np.ndarray, end: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Tastes at a share of the log's length: linear drift from start to end; [B, A]."""
    return start + (end - start) * share[:, None]


def probability(strength: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-5 (strength - 1))), rounded to 1e-6 so that it is the same on every machine."""
    return np.round(1.0 / (1.0 + np.exp(-STEEPNESS * (strength - MIDDLE))), 6)


@dataclass(frozen=True)
class Oracle:
    """The truth beside a simulated log, ``NAME/NAME.truth.npz``.

    Attributes:
        user_id, item_id: str [U], [I]; the ids of the atomic files, in the order of the rows of the arrays below.
        attribute: str [A]; e.g. 'material:plastic'.
        item_attributes: int16 [I, 5]; positions in ``attribute``.
        like_start, like_end, dislike_start, dislike_end: float16 [U, A]; see ``Tastes``.
        span: int64 [2]; first and last second of the log.
        event_dislike: float32 [E]; true probability of a dislike when the session begins, by row of .inter.
        event_noise: bool [E]; whether the event is a negative that interest does not explain.
    """

    user_id: np.ndarray
    item_id: np.ndarray
    attribute: np.ndarray
    item_attributes: np.ndarray
    like_start: np.ndarray
    like_end: np.ndarray
    dislike_start: np.ndarray
    dislike_end: np.ndarray
    span: np.ndarray
    event_dislike: np.ndarray
    event_noise: np.ndarray

    def save(self, path: Path) -> None:
        np.savez(path, **{field: getattr(self, field) for field in self.__annotations__})

    @classmethod
    def load(cls, folder) -> "Oracle":
        """Read the truth of the data set in ``folder``. Raises UserError if that is not a simulated one."""
        folder = Path(folder)
        path = folder / f"{folder.name}.truth.npz"
        if not path.is_file():
            raise UserError(
                f"{path}: no such file; only simulated data sets have a known truth, made by `recbole-conrec simulate`"
            )
        with np.load(path, allow_pickle=False) as file:
            return cls(**{field: file[field] for field in cls.__annotations__})

    def rows(self, kind: str, ids) -> np.ndarray:
        """Rows of external ids (``kind``: 'user' or 'item'); int64 [n]. Raises UserError for an unknown one."""
        known = {name: row for row, name in enumerate(getattr(self, f"{kind}_id").tolist())}
        missing = [name for name in ids if name not in known]
        if missing:
            raise UserError(
                f"{kind} '{missing[0]}' is not in the truth of the simulation; it was written with another log: "
                "simulate the data set again"
            )
        return np.array([known[name] for name in ids], dtype=np.int64)

    def dislike_probability(self, users: np.ndarray, items: np.ndarray, times: np.ndarray) -> np.ndarray:
        """True probability that each user dislikes each of their items at the given time.

        Args:
            users: int64 [B]; rows (see :meth:`rows`).
            items: int64 [B, L]; rows.
            times: [B]; seconds (UTC), as in the log.

        Returns:
            float64 [B, L].
        """
        share = (np.asarray(times) - self.span[0]) / (self.span[1] - self.span[0])
        taste = at_time(self.dislike_start[users].astype(float), self.dislike_end[users].astype(float), share)
        return probability(affinity(taste, self.item_attributes[items]))
