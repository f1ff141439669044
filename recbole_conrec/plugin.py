"""What stock RecBole finds by name once this package is imported: models, trainers and the dataset.

RecBole is not patched: a module is added where its get_model looks, and attributes where its get_trainer and
create_dataset look. Each is resolved when it is asked for, so that importing RecBole imports neither transformers nor
trl. The metrics are entered in RecBole's register by :mod:`recbole_conrec.evaluation.plugin`.
"""

import functools
import importlib.machinery
import sys
import types

from recbole_conrec.registry import MODELS, stock_files
from recbole_conrec.utils.names import load


def add_models() -> None:
    """A module for each of our models at `recbole.model.sequential_recommender.<name>`, where RecBole has none."""
    stock = stock_files()
    for name, path in MODELS.items():
        if name.lower() in stock:
            continue
        place = f"recbole.model.sequential_recommender.{name.lower()}"
        stand_in = types.ModuleType(place)
        stand_in.__spec__ = importlib.machinery.ModuleSpec(place, loader=None)
        stand_in.__getattr__ = _resolver({name: path})  # type: ignore[method-assign]  # PEP 562
        sys.modules.setdefault(place, stand_in)


def add_datasets() -> None:
    """A dataset for each of our models, under the name by which create_dataset looks it up."""
    datasets = sys.modules["recbole.data.dataset"]
    datasets.__getattr__ = _named("Dataset", lambda name: stock_dataset())  # type: ignore[method-assign]


def add_trainers() -> None:
    """A trainer for each of our models, under the name by which get_trainer looks it up."""
    trainers = sys.modules["recbole.trainer"]
    trainers.__getattr__ = _named("Trainer", _trainer)  # type: ignore[method-assign]


@functools.cache
def stock_dataset() -> type:
    """The class of data sets for a Config that stock RecBole made, without our YAML: our defaults are filled in."""
    from recbole_conrec.data.dataset import NegativeFeedbackDataset
    from recbole_conrec.runs.config import complete

    class StockDataset(NegativeFeedbackDataset):
        def __init__(self, config):
            super().__init__(complete(config))

    return StockDataset


def _trainer(name: str):
    from recbole_conrec.runs.trainer import find_trainer

    return find_trainer(name, load(MODELS[name]))


def _resolver(paths: dict[str, str]):
    def resolve(attribute):
        if attribute in paths:
            return load(paths[attribute])
        raise AttributeError(attribute)

    return resolve


def _named(suffix: str, find):
    """A module's `__getattr__` that finds NAME + suffix for the names of our models."""

    def resolve(attribute):
        name = attribute.removesuffix(suffix)
        if name == attribute or name not in MODELS:
            raise AttributeError(attribute)
        return find(name)

    return resolve
