"""docs/options.md is what the typed options say, and every option has a sentence."""

from pathlib import Path

from recbole_conrec import reference

PAGE = Path(__file__).parent.parent / "docs" / "options.md"


def test_the_page_is_up_to_date():
    made = reference.page()
    assert PAGE.read_text(encoding="utf-8") == made, "run: python -m recbole_conrec.reference > docs/options.md"


def test_every_option_has_a_sentence():
    rows = [line for line in reference.page().splitlines() if line.startswith("| `")]
    assert len(rows) > 300
    assert not [row for row in rows if not row.rstrip(" |").endswith((".", ")", "..."))]
