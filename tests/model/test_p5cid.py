"""P5-CID on the small log: prompts against an oracle written token by token, learning, and nothing from t0 on."""

import pytest
from llmrows import check_learns, check_no_leak
from t5rows import check_prompts, item_tokens, make_row

from recbole_conrec.llm.t5 import EOS, FIRST_EXTRA
from recbole_conrec.model import p5cid

CID = {"tokenizer": {"collaborative": {"clusters": 3, "leaf": 12}}}


@pytest.fixture
def make(make_tiny, tmp_path):
    return make_row(make_tiny, "P5CID", tmp_path, **CID)


@pytest.mark.slow
@pytest.mark.parametrize("context", ["negative", "both"])
@pytest.mark.parametrize("base", [100, 10])
def test_prompts_are_user_number_items_and_a_question(make, context, base, monkeypatch):
    """With base 10, small user numbers have several digits, too, as those of large catalogues of users do."""
    for name, value in {
        "BASE": base,
        "USER": base,
        "DISLIKED": base + 1,
        "LIKED": base + 2,
        "ASK": base + 3,
        "WORDS": base + 4,
    }.items():
        monkeypatch.setattr(p5cid, name, value)
    _, data, model = make(context=context)

    def expected(user, events):
        digits = [user] if base == 100 else [user // 10, user % 10]
        shown = [base, *digits]
        for item, feedback in events:
            shown += [base + 1 + (feedback == 1), *(token - FIRST_EXTRA for token in item_tokens(model, item))]
        return [*(FIRST_EXTRA + token for token in [*shown, base + 3]), EOS]

    check_prompts(model, data, expected)


@pytest.mark.slow
def test_it_learns(make):
    check_learns(make(t5={"layers": 1}))


@pytest.mark.parametrize("by", ["time", "user"])
def test_nothing_from_t0_on_moves_it(make_tiny, tmp_path, by):
    make = make_row(make_tiny, "P5CID", tmp_path, **CID)
    check_no_leak(make(context="both", split={"by": by}), by, lambda model, batch: model.prompt(batch))
