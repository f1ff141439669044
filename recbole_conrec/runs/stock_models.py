"""What some of RecBole's models need of a data set: item fields and knowledge graphs."""

from pathlib import Path

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
    path = Path(config["data_path"]) / f"{config['dataset']}.ent"
    if config["model"] in KNOWLEDGE and not path.is_file():
        raise UserError(
            f"{config['method']}: it needs vectors of the items' entities in {path}, and there is no such file; see "
            "RecBole's documentation of `additional_feat_suffix`, or take another model"
        )


def check_fields(config, dataset) -> None:
    """Raise UserError where an item field that the model reads is not in the data set."""
    option = "selected_features" if config["model"] in FEATURES else "item_attribute"
    if config["model"] not in FEATURES | ATTRIBUTE:
        return
    given = config[option]
    has = [] if dataset.item_feat is None else sorted(set(dataset.item_feat.columns) - {dataset.iid_field})
    for field in given if isinstance(given, list) else [given]:
        if field not in has:
            raise UserError(
                f"{config['method']}: {option} names the item field '{field}', and {dataset.dataset_name}.item has "
                f"{', '.join(has) or 'none'}; name one of its fields by --item_category=FIELD"
            )
