"""What stock RecBole finds by name once this package is imported: models, trainers, the dataset and the metrics.

RecBole is not patched: a module is added where its get_model looks, attributes where its get_trainer and create_dataset
look, and entries in its register of metrics.
"""

import importlib.machinery
import sys
import types

import recbole.data.dataset
import recbole.trainer

from recbole_conrec.data.dataset import NegativeFeedbackDataset
from recbole_conrec.evaluation.plugin import register_metrics
from recbole_conrec.registry import MODELS, load
from recbole_conrec.runs.config import complete
from recbole_conrec.runs.trainer import find_trainer


class StockDataset(NegativeFeedbackDataset):
    """The data set for a Config that stock RecBole made, without our YAML: our defaults are filled in."""

    def __init__(self, config):
        super().__init__(complete(config))


def register_with_recbole() -> None:
    """Register everything. Calling it again changes nothing.

    A placeholder module resolves its class only on access, so that importing this package does not import transformers
    and trl.
    """
    register_metrics()
    for name, path in MODELS.items():
        place = f"recbole.model.sequential_recommender.{name.lower()}"
        stand_in = types.ModuleType(place)
        stand_in.__spec__ = importlib.machinery.ModuleSpec(place, loader=None)
        stand_in.__getattr__ = _resolver({name: path})  # type: ignore[method-assign]  # PEP 562
        sys.modules.setdefault(place, stand_in)
        setattr(recbole.data.dataset, f"{name}Dataset", StockDataset)
    recbole.trainer.__getattr__ = _trainer


def _resolver(paths: dict[str, str]):
    def resolve(attribute):
        if attribute in paths:
            return load(paths[attribute])
        raise AttributeError(attribute)

    return resolve


def _trainer(attribute):
    """RecBole looks up a model's trainer by the model's name."""
    name = attribute.removesuffix("Trainer")
    if name == attribute or name not in MODELS:
        raise AttributeError(attribute)
    return find_trainer(name, load(MODELS[name]))
