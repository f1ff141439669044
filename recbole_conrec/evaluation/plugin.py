"""Our metrics under the names HR, FHR, FRecall, LUF, LIF and CandAcc in RecBole's register."""

from recbole.evaluator import register
from recbole.evaluator.base_metric import AbstractMetric
from recbole.utils import EvaluatorType

from recbole_conrec.evaluation.metrics import mean
from recbole_conrec.utils.errors import UserError


class NegativeFeedbackMetric(AbstractMetric):
    """The mean of one metric's per-instance values, for every K of the config. NaN where no instance counts."""

    metric_type = EvaluatorType.RANKING
    metric_need = ["nf.outcomes"]
    smaller = False

    def calculate_metric(self, dataobject) -> dict[str, float]:
        """{'hr@20': 0.1} out of the ``nf.outcomes`` of a NegativeFeedbackCollector."""
        name = type(self).__name__
        if "nf.outcomes" not in dataobject:
            raise UserError(
                f"metric {name} needs a NegativeFeedbackDataset and its evaluation: train with a trainer "
                "of recbole_conrec, or take it out of `metrics`"
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


class HR(NegativeFeedbackMetric):
    """`next` is in the top K."""


class FHR(NegativeFeedbackMetric):
    """Any item of F, the dislikes of the window that starts at t0, is in the top K."""


class FRecall(NegativeFeedbackMetric):
    """The share of F in the top K, out of min(K, |F|)."""


class LUF(NegativeFeedbackMetric):
    """FHR over users with few negatives before t0."""


class LIF(NegativeFeedbackMetric):
    """FHR over the long-tail items of F."""


class CandAcc(NegativeFeedbackMetric):
    """The true item scores above all other candidates."""


def register_metrics() -> None:
    """Let RecBole find the metrics by name. Calling it again changes nothing."""
    for metric in (HR, FHR, FRecall, LUF, LIF, CandAcc):
        name = metric.__name__.lower()
        register.metrics_dict[name] = metric
        register.metric_information[name] = metric.metric_need
        register.metric_types[name] = metric.metric_type
        # smaller_metrics, the fourth, lists what is better when smaller: none of ours
