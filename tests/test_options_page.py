"""docs/options.md is what the typed options say, and every option has a sentence."""

import re
from collections import Counter
from pathlib import Path

import pytest

from recbole_conrec import reference, tokenizer
from recbole_conrec.generative.method_options import StagedOptions
from recbole_conrec.options.layers import overall
from recbole_conrec.runs.checks import FLAT

PAGE = Path(__file__).parent.parent / "docs" / "options.md"


def test_the_page_is_up_to_date():
    made = reference.page()
    assert PAGE.read_text(encoding="utf-8") == made, "run: python -m recbole_conrec.reference > docs/options.md"


def test_every_option_has_a_sentence():
    rows = [line for line in reference.page().splitlines() if line.startswith("| `")]
    assert len(rows) > 300
    assert not [row for row in rows if not row.rstrip(" |").endswith((".", ")", "..."))]


def test_shared_options_are_listed_once_and_linked():
    page = reference.page()
    rows = Counter(
        line for line in page.splitlines() if line.startswith(("| `llm`", "| `tokenizer.rqvae.steps`", "| `G`"))
    )
    assert len(rows) == 3 and set(rows.values()) == {1}
    headings = {reference._anchor(line.lstrip("#").strip()) for line in page.splitlines() if line.startswith("#")}
    links = re.findall(r"\]\(#([^)]*)\)", page)
    assert len(links) > 50 and set(links) <= headings
    assert len(page.splitlines()) < 1300


def test_a_method_has_its_own_defaults():
    section = reference.page().split("### `TALLRec`")[1].split("\n### ")[0]
    assert "context: " in section and "\nstages:\n  - {name: " in section  # its YAML sets them
    assert "valid_metric: CandAcc" in section and "beam" not in section


@pytest.mark.parametrize("model", [*FLAT, StagedOptions], ids=lambda model: model.__name__)
def test_defaults_of_the_code_are_those_of_overall(model):
    """A program that gives no YAML, and a run that lays overall.yaml below everything, have the same defaults."""
    given = {name: value for name, value in overall().items() if name in model.model_fields and name != "tokenizer"}
    values = model.read({**given, "stages": []} if model is StagedOptions else given)
    for name in given:
        assert getattr(values, name) == model.model_fields[name].get_default(call_default_factory=True), name


def test_default_of_the_tokenizer_is_that_of_overall():
    assert tokenizer.parse(overall()["tokenizer"]) == tokenizer.parse(None)
