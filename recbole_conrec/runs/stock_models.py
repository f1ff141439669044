"""What some of RecBole's models need of a data set: item fields, and vectors of entities and relations."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.compute
from pydantic import BeforeValidator

from recbole_conrec.data import atomic
from recbole_conrec.data.loading import FileOptions
from recbole_conrec.options.schema import Count, Several
from recbole_conrec.runs.options import ChoiceOptions, PlaceOptions
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.id_files import some

FEATURES = {"FDSA", "SASRecF", "GRU4RecF"}  # read `selected_features`
ATTRIBUTE = {"S3Rec"}  # read `item_attribute`
KNOWLEDGE = {"GRU4RecKG": ("ent",), "KSR": ("ent", "rel")}  # files of vectors that they read


def _as_list(given: Any) -> Any:
    return list(given) if isinstance(given, list | tuple) else [given]


class StockOptions(ChoiceOptions, PlaceOptions, FileOptions):
    """What the checks below read: the run's place and files, and options of RecBole's own models."""

    ITEM_ID_FIELD: str = "item_id"
    """Field of item ids."""
    embedding_size: Count | None = None
    """Numbers of an item's vector."""
    kg_embedding_size: Count | None = None
    """Numbers of the vectors of a file."""
    selected_features: Annotated[Several[str], BeforeValidator(_as_list)] = ()
    """Item fields that FEATURES read."""
    item_attribute: str | None = None
    """Item field that ATTRIBUTE read."""


def fill_item_fields(options: dict, model: str) -> None:
    """The item field of these models: `item_category` of the data set, where RecBole's YAML has 'class'."""
    category = options.get("item_category")
    if category and model in FEATURES:
        options.setdefault("selected_features", [category])
    if category and model in ATTRIBUTE:
        options.setdefault("item_attribute", category)
    if suffixes := KNOWLEDGE.get(model):
        options["additional_feat_suffix"] = options.get("additional_feat_suffix") or list(suffixes)
        options["preload_weight"] = options.get("preload_weight") or {f"{kind}_id": f"{kind}_emb" for kind in suffixes}
        options["alias_of_item_id"] = options.get("alias_of_item_id") or ["ent_id"]
        if "rel" in suffixes:
            options |= {"ENTITY_ID_FIELD": "ent_id", "RELATION_ID_FIELD": "rel_id"}


def check_files(config) -> None:
    """Raise UserError where a file of vectors that the model reads is missing, or does not fit it or the data set."""
    options = StockOptions.of(config)
    network = options.network.__name__
    for suffix in KNOWLEDGE.get(network, ()):
        base = Path(options.data_path) / options.dataset
        path = base.with_name(f"{base.name}.{suffix}")
        what = "of items (each with an id of the .inter file)" if suffix == "ent" else "of relations"
        if not path.is_file():
            raise UserError(
                f"{options.method}: it needs vectors {what} in {path}, with the fields {suffix}_id:token and "
                f"{suffix}_emb:float_seq, and there is no such file; write it, or take another model"
            )
        read = partial(atomic.read_columns, separator=options.field_separator, encoding=options.encoding or "utf-8")
        columns = read(path, {f"{suffix}_id", f"{suffix}_emb"})
        lengths = {len(vector) for vector in columns[f"{suffix}_emb"].sequences(options.seq_separator, floats=True)}
        option = "embedding_size" if network == "GRU4RecKG" else "kg_embedding_size"
        expected = getattr(options, option)
        if lengths != {expected}:
            found = ", ".join(map(str, sorted(lengths)))
            raise UserError(f"{path}: its vectors have {found} numbers, expected {expected}, the option {option}")
        if suffix == "ent":
            field = options.ITEM_ID_FIELD
            files = [file for file in (base.with_name(f"{base.name}.{s}") for s in ("inter", "item")) if file.is_file()]
            items = pa.chunked_array([chunk for file in files for chunk in read(file, {field})[field].text.chunks])
            ids = columns["ent_id"].text
            others = ids.filter(pa.compute.invert(pa.compute.is_in(ids, items.combine_chunks()))).to_pylist()
            if others:  # RecBole would make them items, which could be recommended
                raise UserError(f"{path}: no items of the data set are {some(others)}; remove these rows")


def check_fields(config, dataset) -> None:
    """Raise UserError where an item field that the model reads is not in the data set."""
    options = StockOptions.of(config)
    network = options.network.__name__
    if network not in FEATURES | ATTRIBUTE:
        return
    option = "selected_features" if network in FEATURES else "item_attribute"
    given = options.selected_features if network in FEATURES else (options.item_attribute,)
    has = [] if dataset.item_feat is None else sorted(set(dataset.item_feat.columns) - {dataset.iid_field})
    for field in given:
        if field not in has:
            raise UserError(
                f"{options.method}: {option} names the item field '{field}', and {dataset.dataset_name}.item has "
                f"{', '.join(has) or 'none'}; name one of its fields by --item_category=FIELD"
            )
