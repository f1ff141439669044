"""What a metric is: one value for each evaluation instance."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from recbole_conrec.data.truth import Truth


@dataclass(frozen=True)
class Predictions:
    """What a model answered on N instances.

    Attributes:
        items: int64 [N, K] recommended items, best first. 0 or a negative number is a missing place, which is a miss;
            an item that is listed twice counts once. [N, 0] from a model that only scores candidates.
        scores: float [N, C] of ``truth.candidates``, higher = more likely disliked, any number in the place of a
            padding candidate (item 0). [N, 0] from a model that only recommends.
        pairs: float [N, 3] of the item of the instance and of ``truth.further.pairs``, likewise. [N, 0] from a model
            that only recommends.
    """

    items: np.ndarray
    scores: np.ndarray
    pairs: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))


class Metric(ABC):
    """A metric of instances, averaged over those that count.

    An instance is (user, t0, item) for one negative event. The docstring of a subclass says what it measures, and over
    which window. The class's name is the metric's, in tables, records and the option ``valid_metric``: 'HR@20'.

    Attributes:
        per_k: its shape. True: one value for each K of the option ``topk``, from the first K places of each list.
            False: one value, from the whole list or from the candidates.
        needs: what it reads of the predictions and of the further truth. Without one of these its values are NaN: a
            model may only score candidates, or only recommend.
        smaller: whether a smaller value is better.
    """

    per_k: ClassVar[bool] = True
    needs: ClassVar[tuple[Literal["items", "scores", "pairs", "further"], ...]] = ("items",)
    smaller: ClassVar[bool] = False

    @abstractmethod
    def values(self, predictions: Predictions, truth: Truth, k: int) -> np.ndarray:
        """The value of each instance.

        Args:
            predictions: what the model answered; ``items`` is cut to [N, k].
            truth: of the same N instances. F, the set of items that the user dislikes in the window from t0 on, is
                ``truth.f_items[truth.f_ptr[n] : truth.f_ptr[n + 1]]``; ``truth.next`` is the item of the instance.
            k: the number of places, missing ones included.

        Returns:
            float64 [N], finite; NaN where an instance does not count.
        """

    @classmethod
    def columns(cls, topk: Sequence[int]) -> list[str]:
        """The names of its values: ['HR@5', 'HR@20'], or ['CandAcc']."""
        return [f"{cls.__name__}@{k}" for k in topk] if cls.per_k else [cls.__name__]
