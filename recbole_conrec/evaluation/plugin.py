"""Metrics in RecBole's register, so that its Config and its Evaluator find them by name; importing this enters ours."""

from collections.abc import Sequence

from recbole.evaluator import Evaluator as StockEvaluator
from recbole.evaluator import register
from recbole.evaluator.base_metric import AbstractMetric
from recbole.utils import EvaluatorType

from recbole_conrec.evaluation.beyond import BEYOND
from recbole_conrec.evaluation.registry import entry_points, find_metric, own_metrics
from recbole_conrec.evaluation.summary import mean, single
from recbole_conrec.options.schema import Count, Options, Several
from recbole_conrec.utils.errors import UserError

_BEYOND = {name.lower() for name in BEYOND}


class NegativeFeedbackMetric(AbstractMetric):
    """The mean over the instances of one metric, the one of the class's name; NaN where no instance counts."""

    metric_type = EvaluatorType.RANKING
    metric_need = ("nf.outcomes",)

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


class EvaluatorOptions(Options):
    """What the evaluator reads of a Config."""

    topk: Several[Count]
    """The values of K."""


class Evaluator(StockEvaluator):
    """RecBole's Evaluator, which computes the figures of :mod:`.beyond` once, without loops over places.

    A metric of lists is NaN for a model that gives none.
    """

    def __init__(self, config):
        super().__init__(config)
        self.topk = EvaluatorOptions.of(config).topk

    def evaluate(self, dataobject) -> dict[str, float]:
        """{'hr@20': 0.1, 'itemcoverage@20': 0.5} from what a NegativeFeedbackCollector gives."""
        out: dict[str, float] = {}
        for name, metric in self.metric_class.items():
            if isinstance(metric, NegativeFeedbackMetric):
                out.update(metric.calculate_metric(dataobject))
            elif name in _BEYOND:
                figures = {key.lower(): value for key, value in dataobject.get("nf.beyond").items()}
                places = [f"{name}@{k}" for k in self.topk]
                out.update({key: round(figures.get(key, float("nan")), metric.decimal_place) for key in places})
            elif "rec.topk" in dataobject:
                out.update(metric.calculate_metric(dataobject))
            else:
                out.update({f"{name}@{k}": float("nan") for k in self.topk})
        return out

    def figures(self, result: dict[str, float], n: int) -> dict[str, dict]:
        """Those of a result that RecBole computes, as a record holds figures of all N instances together: by RecBole's
        names, without an interval.
        """
        recboles = {
            type(one).__name__ for one in self.metric_class.values() if not isinstance(one, NegativeFeedbackMetric)
        }
        names = {name.lower(): name for name in recboles - set(BEYOND)}
        parts = {key: key.partition("@") for key in result}
        return {f"{names[name]}@{k}": single(result[key], n) for key, (name, _, k) in parts.items() if name in names}


def register_metrics(names: Sequence[str] = ()) -> None:
    """Enter our metrics, those of installed packages, and the dotted paths among ``names``.

    RecBole looks a name up in lower case: a metric is entered under the name of its class, and under its entry point's
    name or its dotted path where it has one. Of the user's only what ``names`` names is imported. Calling it again
    changes nothing.

    Raises UserError for a metric among ``names`` whose class has the name of one of RecBole's metrics.
    """
    paths = {**entry_points(), **{name: name for name in names if ":" in name}}
    for name, metric in own_metrics().items():
        _enter(name, name, metric.smaller)
    for name, path in paths.items():
        class_name = path.partition(":")[2]
        found = find_metric(name) if name in names else None
        smaller = found is not None and found.smaller
        free = [_enter(class_name, class_name, smaller), _enter(name, class_name, smaller)]
        if not all(free) and name in names:
            raise UserError(f"metrics: '{name}' has the name of one of RecBole's metrics; rename the class")


def _enter(name: str, class_name: str, smaller: bool) -> bool:
    """Enter a metric under a name. Returns whether the name is not that of one of RecBole's metrics."""
    key = name.lower()
    if key not in register.metrics_dict:
        register.metrics_dict[key] = type(class_name, (NegativeFeedbackMetric,), {})
        register.metric_information[key] = NegativeFeedbackMetric.metric_need
        register.metric_types[key] = NegativeFeedbackMetric.metric_type
    ours = issubclass(register.metrics_dict[key], NegativeFeedbackMetric)
    if ours and smaller and key not in register.smaller_metrics:
        register.smaller_metrics.append(key)
    return ours


register_metrics()
