"""From a name of the option ``metrics`` to a metric.

A metric is, in this order, our own (a file of :mod:`recbole_conrec.evaluation.metrics`), a class of the user by its
dotted path ``package.module:Class``, an entry point of the group ``recbole_conrec.metrics`` of any installed package,
or one of RecBole's own, which RecBole computes.
"""

import importlib
import importlib.metadata
import inspect
import pkgutil
from collections.abc import Sequence
from functools import cache

from recbole_conrec.evaluation import metrics as package
from recbole_conrec.evaluation.metrics.base import Metric
from recbole_conrec.options.layers import overall
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.names import load

GROUP = "recbole_conrec.metrics"


@cache
def own_metrics() -> dict[str, type[Metric]]:
    """Our metrics by name, in the order of ``metrics`` in properties/overall.yaml, any others after them by name."""
    found = {}
    for file in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{file.name}")
        for name, value in vars(module).items():
            if _is_metric(value) and value.__module__ == module.__name__:
                found[name] = value
    order = overall()["metrics"]
    names = sorted(found, key=lambda name: (order.index(name) if name in order else len(order), name))
    return {name: found[name] for name in names}


def entry_points() -> dict[str, str]:
    """Metrics that installed packages offer: name -> dotted path."""
    return {entry.name: entry.value for entry in importlib.metadata.entry_points(group=GROUP)}


def find_metric(name: str) -> type[Metric] | None:
    """The class of a metric; None for a name that is not ours or the user's. Upper and lower case are one to RecBole.

    Raises UserError for a dotted path or an entry point that is no metric.
    """
    own = {known.lower(): metric for known, metric in own_metrics().items()}
    if name.lower() in own:
        return own[name.lower()]
    path = name if ":" in name else entry_points().get(name)
    if path is None:
        return None
    metric = load(path, "metrics")
    if not _is_metric(metric):
        raise UserError(
            f"metrics: '{name}' is no metric; expected a class derived from "
            "recbole_conrec.evaluation.metrics.base.Metric that defines `values`"
        )
    return metric


def measured(names: Sequence[str]) -> list[Metric]:
    """The metrics of a run whose option ``metrics`` is ``names``: all of our own, then the user's in the given order.

    Raises UserError for two metrics of the same name.
    """
    found = {known.lower(): metric for known, metric in own_metrics().items()}
    for name in names:
        metric = find_metric(name)
        if metric is not None and found.setdefault(metric.__name__.lower(), metric) is not metric:
            raise UserError(f"metrics: '{name}' is the second metric called {metric.__name__}; rename its class")
    return [metric() for metric in found.values()]


def smaller(column: str) -> bool:
    """Whether a smaller figure of this column is better: 'LikeHR@20', 'CandAcc.beam', 'GiniIndex@20'."""
    from recbole.evaluator.register import smaller_metrics  # at the top, it would call for plugin.py, and that for this

    name = column.split("@")[0].split(".")[0]
    metric = find_metric(name)
    return metric.smaller if metric else name.lower() in smaller_metrics


def columns(names: Sequence[str], topk: Sequence[int]) -> list[str]:
    """The figures that ``metrics`` and ``topk`` ask for: ['HR@5', 'HR@20', 'CandAcc', 'MyMetric@5', ...].

    Raises UserError as :func:`measured`.
    """
    from recbole.evaluator.register import metrics_dict

    measured(names)
    out = []
    for name in names:
        metric = find_metric(name)
        recboles = metrics_dict[name.lower()].__name__ if name.lower() in metrics_dict else name
        out += metric.columns(topk) if metric else [f"{recboles}@{k}" for k in topk]
    return out


def _is_metric(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, Metric) and not inspect.isabstract(value)
