"""Data without an .item file: methods of semantic IDs train on what there is, and say what they left out."""

import json

import pytest
import tinylog

from recbole_conrec.registry import find_model
from recbole_conrec.runs.runner import run
from recbole_conrec.utils.errors import UserError

SMALL = {
    "llm_options": {"tiny": {"layers": 1, "hidden": 32, "heads": 2, "kv_heads": 2, "intermediate": 64}},
    "history": 6,
    "valid_sample": 10,
}
SHORT = {
    "CoNRec": {
        **SMALL,
        "tokenizer": {"encoder": "behaviour"},
        "stages.translation.skip": False,
        "stages.alignment.skip": False,
        "stages.alignment.samples": 20,
        "stages.warm-up.max_steps": 2,
        "stages.grpo-*.steps": 1,
        "stages.grpo-*.samples": 32,
        "stages.grpo-*.prompts_per_step": 4,
    },
    "LCRec": {**SMALL, "tokenizer": {"name": "collaborative"}, "stages.mixture.max_steps": 2},
    "P5CID": {"stages.next.max_steps": 2},
}


@pytest.fixture
def bare(tmp_path):
    """Options for `tiny`, of fewer users, without its .item file."""
    tinylog.write_tiny(tmp_path, users=20)
    (tmp_path / "tiny" / "tiny.item").unlink()
    given = {name: value for name, value in tinylog.OPTIONS.items() if not name.startswith("item_")}
    return {**given, "data_path": str(tmp_path), "checkpoint_dir": str(tmp_path / "saved"), "use_gpu": False}


@pytest.mark.slow
@pytest.mark.parametrize("model", SHORT)
def test_methods_of_semantic_ids_run(bare, model, tmp_path, recwarn):
    run(model, "tiny", options={**bare, **SHORT[model]})
    [record] = tmp_path.glob("saved/tiny/*/result.json")
    names = [stage["name"] for stage in json.loads(record.read_text())["stages"]]
    assert names and "translation" not in names
    said = " ".join(str(warning.message) for warning in recwarn)
    assert ("left out, as the data set has no texts of items" in said) == (model != "P5CID")


@pytest.mark.parametrize(("model", "options", "names"), [("TALLRec", {}, "TALLRec"), ("TIGER", {}, "behaviour")])
def test_what_reads_texts_says_so(bare, model, options, names):
    assert find_model(model)
    with pytest.raises(UserError, match=f"tiny.item: there is no such file.*{names}"):
        run(model, "tiny", options={**bare, **options})
