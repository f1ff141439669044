"""What stock RecBole finds by name once this package is imported: models, trainers, the dataset and the metrics.

Nothing of RecBole is patched: a module appears where its get_model looks, attributes where its get_trainer and
create_dataset look, and entries in the register of its metrics.
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
    """The data set under a Config that stock RecBole made: it knows none of our YAML, so defaults are laid under it."""

    def __init__(self, config):
        super().__init__(complete(config))


def register_with_recbole() -> None:
    """Put everything in its place. Calling it again changes nothing.

    A stand-in module resolves its class only when it is asked for, so that importing this package does not import
    transformers and trl.
    """
    register_metrics()
    for name, path in MODELS.items():
        place = f"recbole.model.sequential_recommender.{name.lower()}"
        stand_in = types.ModuleType(place)
        stand_in.__spec__ = importlib.machinery.ModuleSpec(place, loader=None)
        stand_in.__getattr__ = _resolver({name: path})
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
    """RecBole looks a model's trainer up by the model's name."""
    name = attribute.removesuffix("Trainer")
    if name == attribute or name not in MODELS:
        raise AttributeError(attribute)
    return find_trainer(name, load(MODELS[name]))
