"""What some of RecBole's models need of a data set: item fields and knowledge graphs."""

from pathlib import Path

from recbole_conrec.runs.options import ChoiceOptions, PlaceOptions
from recbole_conrec.utils.errors import UserError

FEATURES = {"FDSA", "SASRecF", "GRU4RecF"}  # read `selected_features`
ATTRIBUTE = {"S3Rec"}  # read `item_attribute`
KNOWLEDGE = {"GRU4RecKG", "KSR"}  # read NAME.ent


def fill_item_fields(options: dict, model: str) -> None:
    """The item field of these models: `item_category` of the data set, where RecBole's YAML has 'class'."""
    category = options.get("item_category")
    if category and model in FEATURES:
        options.setdefault("selected_features", [category])
    if category and model in ATTRIBUTE:
        options.setdefault("item_attribute", category)


def check_files(config) -> None:
    """Raise UserError where the model reads a file that the data set does not have."""
    chosen = ChoiceOptions.of(config)
    path = Path(PlaceOptions.of(config).data_path) / f"{chosen.dataset}.ent"
    if chosen.network.__name__ in KNOWLEDGE and not path.is_file():
        raise UserError(
            f"{chosen.method}: it needs vectors of the items' entities in {path}, and there is no such file; see "
            "RecBole's documentation of `additional_feat_suffix`, or take another model"
        )


def check_fields(config, dataset) -> None:
    """Raise UserError where an item field that the model reads is not in the data set."""
    chosen = ChoiceOptions.of(config)
    network = chosen.network.__name__
    if network not in FEATURES | ATTRIBUTE:
        return
    option = "selected_features" if network in FEATURES else "item_attribute"
    given = config[option]  # an option of the model's own, which RecBole does not type
    has = [] if dataset.item_feat is None else sorted(set(dataset.item_feat.columns) - {dataset.iid_field})
    for field in given if isinstance(given, list) else [given]:
        if field not in has:
            raise UserError(
                f"{chosen.method}: {option} names the item field '{field}', and {dataset.dataset_name}.item has "
                f"{', '.join(has) or 'none'}; name one of its fields by --item_category=FIELD"
            )
