"""The YAML of each data set: every rule parses, and what a converter writes trains a model."""

from pathlib import Path

import pandas as pd
import pytest
import yaml
from rawfiles import convert, options, write

from recbole_conrec.data.dataset import NegativeFeedbackDataset
from recbole_conrec.data.loading import FileOptions
from recbole_conrec.data.protocol import DataOptions, Protocol
from recbole_conrec.options.layers import dataset_options, overall
from recbole_conrec.runs.config import make_config
from recbole_conrec.utils.errors import UserError

FOLDER = Path(__file__).parents[2] / "properties" / "dataset"
SMALL = Path(__file__).parents[2] / "dataset" / "sim-small"


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_yaml_is_a_protocol(path):
    options = dataset_options(path.stem, "nowhere")
    assert "extends" not in options and {"feedback", "window"} <= set(options)
    assert Protocol.of(options).window.length in (7, 20, 30)
    assert "extends" not in make_config("SASRec", path.stem).final_config_dict


AMAZON = {
    "feedback": {"negative": "rating <= 2", "positive": "rating >= 4"},
    "window": {"unit": "days", "length": 30},
    "exclude": "exposed",
    "item_text": ["title", "brand", "categories"],
    "item_category": "categories",
}


def test_all_amazon_data_sets_have_the_options_of_one_file():
    names = [path.stem for path in FOLDER.glob("amazon-*.yaml")]
    assert len(names) == 24
    without_titles = {"amazon-apps-for-android", "amazon-instant-video"}
    for name in names:
        expected = AMAZON | ({"item_text": ["categories"]} if name in without_titles else {})
        assert dataset_options(name, "nowhere") == expected


def test_a_yaml_beside_the_files_may_extend_one_of_ours(tmp_path):
    (tmp_path / "mine").mkdir()
    beside = tmp_path / "mine" / "mine.yaml"
    beside.write_text("extends: yelp-2018\nwindow.length: 14\nitem_text: [city]\n")
    options = dataset_options("mine", tmp_path)
    assert options["ITEM_ID_FIELD"] == "business_id" and options["item_text"] == ["city"]
    assert options["window"] == {"unit": "days", "length": 14}
    for text, words in (
        ("extends: amazn\n", "extends: 'amazn' is no data set of properties/dataset; did you mean 'amazon'"),
        ("extends: [amazon]\n", "extends: ['amazon'] is no data set"),
    ):
        beside.write_text(text)
        with pytest.raises(UserError) as error:
            dataset_options("mine", tmp_path)
        assert words in str(error.value) and "\n" not in str(error.value)


def test_data_sets_that_extend_each_other_are_an_error(monkeypatch):
    circle = {"yelp": {"extends": "yelp-2018"}, "yelp-2018": {"extends": "yelp"}}
    monkeypatch.setattr("recbole_conrec.options.layers.properties", lambda _, name: circle[name])
    with pytest.raises(UserError, match="extends: yelp -> yelp-2018 -> yelp is a circle"):
        dataset_options("yelp", "nowhere")


def test_extends_is_no_option_of_a_run():
    with pytest.raises(UserError, match="unknown option 'extends'"):
        make_config("SASRec", "ml-100k", options={"extends": "yelp"})


def test_the_defaults_of_the_models_are_those_of_overall():
    """properties/overall.yaml shows the defaults, the typed options use them: they must not differ."""
    shown = overall()
    for model in (Protocol, DataOptions, FileOptions):
        for name in set(model.model_fields) & set(shown):
            default = model.model_fields[name].default
            value = default.model_dump(mode="json") if hasattr(default, "model_dump") else default
            assert value == shown[name], name


def test_a_converted_log_becomes_a_dataset(tmp_path):
    """The simulated log, written as a raw CSV with JSON items, converted, and loaded with the YAML beside it."""
    log, items = (pd.read_csv(SMALL / f"sim-small.{suffix}", sep="\t") for suffix in ("inter", "item"))
    raw = write(
        tmp_path / "raw",
        {
            "log.csv": log.sample(frac=1, random_state=0).to_csv(index=False),
            "items.jsonl": items.to_json(orient="records", lines=True),
        },
    )
    mapping = {
        "events": {
            "files": "log.csv",
            "user": "user_id:token",
            "item": "item_id:token",
            "time": "timestamp:float",
            "fields": {"feedback": {"column": "feedback:float", "type": "float"}},
        },
        "items": {
            "files": "items.jsonl",
            "item": "item_id:token",
            "fields": {
                "title": {"column": "title:token_seq", "type": "token_seq"},
                "category": {"column": "category:token", "type": "token"},
            },
        },
        "feedback": {"negative": "feedback < 0", "positive": "feedback > 0"},
        "split": {"by": "time", "ratio": [0.7, 0.1, 0.2]},
        "window": {"unit": "days", "length": 7},
        "item_text": ["title"],
        "item_category": "category",
    }
    (tmp_path / "mapping.yaml").write_text(yaml.safe_dump(mapping))
    convert("generic", raw, tmp_path / "out", dataset="again", mapping=str(tmp_path / "mapping.yaml"))
    protocol = options(tmp_path / "out", "again")
    path = {"data_path": str(tmp_path / "out"), "checkpoint_dir": str(tmp_path)}
    dataset = NegativeFeedbackDataset(make_config("SASRec", "again", options=path | protocol))
    expected = NegativeFeedbackDataset(make_config("SASRec", "sim-small", options={"data_path": str(SMALL.parent)}))
    assert len(dataset.log) == len(expected.log) == len(log)
    assert {k: len(v) for k, v in dataset.splits.items()} == {k: len(v) for k, v in expected.splits.items()}
    # the simulated .item file also lists the few items that nobody was shown; a converter leaves them out
    shown = set(log["item_id:token"])
    assert dataset.item_num - 1 == len(shown) < expected.item_num
    assert set(dataset.item_text()) <= set(expected.item_text())
