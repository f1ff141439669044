"""Metrics in RecBole's register, so that its Config and its Evaluator find them by name."""

from collections.abc import Sequence

from recbole.evaluator import register
from recbole.evaluator.base_metric import AbstractMetric
from recbole.utils import EvaluatorType

from recbole_conrec.evaluation.registry import entry_points, own_metrics
from recbole_conrec.evaluation.summary import mean
from recbole_conrec.utils.errors import UserError


class NegativeFeedbackMetric(AbstractMetric):
    """The mean over the instances of one metric, the one of the class's name; NaN where no instance counts."""

    metric_type = EvaluatorType.RANKING
    metric_need = ("nf.outcomes",)
    smaller = False

    def calculate_metric(self, dataobject) -> dict[str, float]:
        """{'hr@20': 0.1} from the ``nf.outcomes`` of a NegativeFeedbackCollector."""
        name = type(self).__name__
        if "nf.outcomes" not in dataobject:
            raise UserError(
                f"metric {name} needs a NegativeFeedbackDataset and its evaluation: train with a trainer "
                "of recbole_conrec, or remove it from `metrics`"
            )
        means = {
            key: mean(values)["value"]
            for key, values in dataobject.get("nf.outcomes").items()
            if key.split("@")[0] == name
        }
        return {
            key.lower(): float("nan") if value is None else round(value, self.decimal_place)
            for key, value in means.items()
        }


def register_metrics(names: Sequence[str] = ()) -> None:
    """Enter our metrics, those of installed packages, and the dotted paths among ``names``.

    RecBole looks a name up in lower case: a metric is entered under the name of its class, and under its entry point's
    name or its dotted path where it has one. Nothing of the user is imported. Calling it again changes nothing.

    Raises UserError for a metric among ``names`` whose class has the name of one of RecBole's metrics.
    """
    paths = {**entry_points(), **{name: name for name in names if ":" in name}}
    for name in own_metrics():
        _enter(name, name)
    for name, path in paths.items():
        class_name = path.partition(":")[2]
        free = [_enter(class_name, class_name), _enter(name, class_name)]
        if not all(free) and name in names:
            raise UserError(f"metrics: '{name}' has the name of one of RecBole's metrics; rename the class")


def _enter(name: str, class_name: str) -> bool:
    """Enter a metric under a name. Returns whether the name is not that of one of RecBole's metrics."""
    key = name.lower()
    if key not in register.metrics_dict:
        register.metrics_dict[key] = type(class_name, (NegativeFeedbackMetric,), {})
        register.metric_information[key] = NegativeFeedbackMetric.metric_need
        register.metric_types[key] = NegativeFeedbackMetric.metric_type
        # smaller_metrics, the fourth, lists what is better when smaller: no metric here
    return issubclass(register.metrics_dict[key], NegativeFeedbackMetric)
