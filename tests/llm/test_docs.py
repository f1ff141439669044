"""The example of docs/llm.md runs as it stands."""

import re
from pathlib import Path

from llmtools import TEXT, random_ids

PAGE = Path(__file__).parents[2] / "docs" / "llm.md"


def test_the_example_runs():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names = {"semantic_ids": random_ids(60, (5, 6, 7)), "texts": TEXT}
    exec(compile(code, str(PAGE), "exec"), names)
    assert names["leaves"].shape == (1, 20) and len(set(names["leaves"][0].tolist())) == 20
