"""From a name to a model, and into stock RecBole by name.

A model is found, in this order, as a name below, as a dotted path ``package.module:Class``, as an entry point of the
group ``recbole_conrec.models`` of any installed package, and as one of RecBole's own models.
"""

import importlib
import importlib.machinery
import importlib.metadata
import inspect
import sys
import types

import recbole.data.dataset
import recbole.trainer
from recbole.utils import get_model

from recbole_conrec.errors import UserError

MODELS = {
    "CoNRec": "recbole_conrec.model.conrec:CoNRec",
    "ItemSwing": "recbole_conrec.model.itemswing:ItemSwing",
    "Pop": "recbole_conrec.model.pop:Pop",
}
# Models whose training is more than RecBole's epoch loop; every other one gets the harness over its stock trainer.
TRAINERS = {
    "CoNRec": "recbole_conrec.model.conrec:CoNRecTrainer",
    "S3Rec": "recbole_conrec.trainer:S3RecTrainer",
}


def load(path: str):
    """The object at ``package.module:name``. Raises UserError if there is none."""
    module, _, name = path.partition(":")
    if not name:
        raise UserError(f"'{path}' is no dotted path: expected 'package.module:Class'")
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise  # the module exists; something that it imports does not
        raise UserError(f"'{path}': there is no module '{error.name}' to import; is its package installed?") from None
    except AttributeError:
        raise UserError(f"'{path}': module '{module}' has no '{name}'") from None


def entry_points() -> dict[str, str]:
    """Models that installed packages offer: name -> dotted path."""
    return {e.name: e.value for e in importlib.metadata.entry_points(group="recbole_conrec.models")}


def find_model(name: str) -> type:
    """The class of a model by name or dotted path. Raises UserError naming the nearest known names."""
    if ":" in name:
        return load(name)
    path = MODELS.get(name) or entry_points().get(name)
    if path:
        return load(path)
    try:
        return get_model(name)
    except (ValueError, AttributeError):
        from recbole_conrec.config import nearest

        known = sorted({*MODELS, *entry_points(), *stock_models()})
        raise UserError(f"unknown model '{name}'{nearest(name, known)}; a class of your own is 'package.module:Class'"
                        ) from None


def stock_models() -> list[str]:
    """Names of RecBole's sequential models, read from its package without importing it all."""
    import pkgutil

    import recbole.model.sequential_recommender as package

    files = {m.name for m in pkgutil.iter_modules(package.__path__)}
    return [n for n, v in vars(package).items() if inspect.isclass(v) and n.lower() in files]


def find_trainer(name: str, model_class: type) -> type:
    """The harness's trainer for a model: its own, or RecBole's epoch loop with our evaluation."""
    own = TRAINERS.get(name) or getattr(model_class, "trainer", None)
    if own:
        return load(own) if isinstance(own, str) else own
    from recbole_conrec.trainer import harnessed

    return harnessed(recbole.utils.get_trainer(model_class.type, name))


def register_with_recbole() -> None:
    """Let RecBole's own get_model, get_trainer, create_dataset and metric look-ups find what is ours.

    A stand-in module in the place where RecBole looks resolves a class only when it is asked for, so that importing
    this package does not import transformers and trl.
    """
    from recbole_conrec.data.dataset import StockDataset
    from recbole_conrec.evaluation.plugin import register_metrics

    register_metrics()
    for name, path in MODELS.items():
        place = f"recbole.model.sequential_recommender.{name.lower()}"
        stand_in = types.ModuleType(place)
        stand_in.__spec__ = importlib.machinery.ModuleSpec(place, loader=None)
        stand_in.__getattr__ = _resolver({name: path})
        sys.modules.setdefault(place, stand_in)
        setattr(recbole.data.dataset, f"{name}Dataset", StockDataset)
    recbole.trainer.__getattr__ = _resolver(
        {f"{name}Trainer": TRAINERS.get(name, "recbole_conrec.trainer:Harness") for name in MODELS})


def _resolver(paths: dict[str, str]):
    def resolve(attribute):
        if attribute in paths:
            return load(paths[attribute])
        raise AttributeError(attribute)

    return resolve
