"""The YAML of each data set: every rule parses, and what a converter writes trains a model."""

from pathlib import Path

import pandas as pd
import pytest
import yaml
from rawfiles import options, write

from recbole_conrec.data.convert import convert
from recbole_conrec.data.dataset import NegativeFeedbackDataset
from recbole_conrec.data.events import Window
from recbole_conrec.data.feedback import FeedbackRules
from recbole_conrec.data.splits import SplitRule
from recbole_conrec.runs.config import make_config, read_yaml

FOLDER = Path(__file__).parents[2] / "properties" / "dataset"
SMALL = Path(__file__).parents[2] / "dataset" / "sim-small"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_yaml_is_a_protocol(path):
    content = read_yaml(path)
    FeedbackRules.parse(**content["feedback"])
    Window(**content["window"])
    if "split" in content:
        SplitRule(**content["split"])
    make_config("SASRec", path.stem)


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
