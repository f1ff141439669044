"""The examples of docs/llm.md run as they are, one after the other."""

import re
from pathlib import Path

import pytest
from llmtools import TEXT, random_ids

PAGE = Path(__file__).parents[2] / "docs" / "llm.md"


@pytest.mark.slow
def test_the_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
    names = {"semantic_ids": random_ids(60, (5, 6, 7)), "texts": TEXT}
    exec(compile(code, str(PAGE), "exec"), names)
    assert names["items"].shape == (16, 20) and len(set(names["items"][0].tolist())) == 20
    assert "rewards/next_one/mean" in names["log"][0]
