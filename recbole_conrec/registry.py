"""From a name to a model and its trainer.

A model is found, in this order, as a name below, as a dotted path ``package.module:Class``, as an entry point of the
group ``recbole_conrec.models`` of any installed package, and as one of RecBole's own models. RecBole is imported when a
name is looked up.
"""

import importlib.metadata
import inspect
from pathlib import Path

from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.names import load, nearest

MODELS = {
    "BiasedMF": "recbole_conrec.model.biasedmf:BiasedMF",
    "CoNRec": "recbole_conrec.model.conrec:CoNRec",
    "CoNRec-paper": "recbole_conrec.model.conrec:CoNRec",  # the same class under the options of that YAML
    "CountGBDT": "recbole_conrec.model.countgbdt:CountGBDT",
    "DIEN": "recbole_conrec.model.dien:DIEN",
    "DIN": "recbole_conrec.model.din:DIN",
    "DislikeDIN": "recbole_conrec.model.dislikedin:DislikeDIN",
    "DislikeShare": "recbole_conrec.model.dislikeshare:DislikeShare",
    "FEARec": "recbole_conrec.model.fearec:FEARec",
    "HSTU": "recbole_conrec.model.hstu:HSTU",
    "InstructRec": "recbole_conrec.model.instructrec:InstructRec",
    "ItemEASE": "recbole_conrec.model.itemease:ItemEASE",
    "ItemSwing": "recbole_conrec.model.itemswing:ItemSwing",
    "LCRec": "recbole_conrec.model.lcrec:LCRec",
    "LlamaRec": "recbole_conrec.model.llamarec:LlamaRec",
    "MiniOneRec": "recbole_conrec.model.minionerec:MiniOneRec",
    "NotToRecommend": "recbole_conrec.model.nottorecommend:NotToRecommend",
    "P5CID": "recbole_conrec.model.p5cid:P5CID",
    "PNFRec": "recbole_conrec.model.pnfrec:PNFRec",
    "Pop": "recbole_conrec.model.pop:Pop",
    "RecentMix": "recbole_conrec.model.recentmix:RecentMix",
    "RecentPop": "recbole_conrec.model.recentpop:RecentPop",
    "ReversedSASRec": "recbole_conrec.model.reversedsasrec:ReversedSASRec",
    "RidgeRec": "recbole_conrec.model.ridgerec:RidgeRec",
    "TALLRec": "recbole_conrec.model.tallrec:TALLRec",
    "TIGER": "recbole_conrec.model.tiger:TIGER",
}
# Models whose training is more than RecBole's epoch loop; every other one gets the harness over its stock trainer.
TRAINERS = {
    "S3Rec": "recbole_conrec.runs.s3rec:S3RecTrainer",
}


def entry_points() -> dict[str, str]:
    """Models that installed packages offer: name -> dotted path."""
    return {e.name: e.value for e in importlib.metadata.entry_points(group="recbole_conrec.models")}


def spelling(name: str) -> str:
    """A known model's name as it is written: sasrec and SAS-Rec are SASRec. Any other text as it is."""
    if ":" in name or name in MODELS:
        return name
    known = [*MODELS, *entry_points(), *stock_models()]
    return name if name in known else next((one for one in known if _bare(one) == _bare(name)), name)


def _bare(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def find_model(name: str) -> type:
    """The class of a model by name or dotted path. Raises UserError naming the nearest known names, or for a class
    that does not predict from sequences.
    """
    from recbole.model.abstract_recommender import SequentialRecommender

    name = spelling(name)
    path = name if ":" in name else MODELS.get(name) or entry_points().get(name)
    model_class = load(path) if path else _stock_model(name)
    if model_class is not None:
        if not (inspect.isclass(model_class) and issubclass(model_class, SequentialRecommender)):
            raise UserError(
                f"model '{name}' is no SequentialRecommender of RecBole; general and context-aware models "
                "see no histories and are not supported"
            )
        return model_class
    known = sorted({*MODELS, *entry_points(), *stock_models()})
    raise UserError(f"unknown model '{name}'{nearest(name, known)}; a class of your own is 'package.module:Class'")


def _stock_model(name: str) -> type | None:
    from recbole.utils import get_model

    if name.lower() not in stock_files():
        return None
    try:
        return get_model(name)
    except AttributeError:  # the file is there, its class is spelt otherwise
        return None


def stock_files() -> set[str]:
    """Module names of RecBole's models. (Its own look-up of an unknown name ends in an import of lightgbm.)"""
    import recbole

    root = Path(recbole.__file__).parent / "model"
    return {
        file.stem
        for kind in ("general", "sequential", "context_aware", "knowledge_aware")
        for file in (root / f"{kind}_recommender").glob("[!_]*.py")
    }


def stock_models() -> list[str]:
    """Names of RecBole's sequential models."""
    from recbole.model import sequential_recommender

    classes = [name for name, value in vars(sequential_recommender).items() if inspect.isclass(value)]
    return [name for name in classes if name.lower() in stock_files()]
