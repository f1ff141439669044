"""TIGER on the small log: prompts against an oracle written token by token, learning, and nothing from t0 on."""

import numpy as np
import pytest
import torch
from llmrows import check_learns, check_no_leak
from t5rows import check_prompts, item_tokens, make_row

from recbole_conrec.llm.t5 import EOS, FIRST_EXTRA
from recbole_conrec.model.tiger import TIGER
from recbole_conrec.utils.errors import UserError

RQVAE = {"tokenizer": {"name": "rqvae", "sizes": [8, 8, 8], "rqvae": {"latent": 8, "hidden": [32], "steps": 50}}}


@pytest.fixture
def make(make_tiny, tmp_path):
    return make_row(make_tiny, "TIGER", tmp_path, **RQVAE)


@pytest.mark.slow
@pytest.mark.parametrize("context", ["negative", "both"])
@pytest.mark.parametrize("users", [5, 0])
def test_prompts_are_user_items_and_an_end(make, context, users):
    _, data, model = make(context=context, user_tokens=users)

    def expected(user, events):
        shown = [] if not users else [FIRST_EXTRA + int(model.layout.user[user, 0])]
        for item, feedback in events:
            shown += [FIRST_EXTRA + users + (feedback == 1)] if context == "both" else []
            shown += item_tokens(model, item)
        return [*shown, EOS]

    check_prompts(model, data, expected)
    assert len(set(model.layout.user.ravel())) == users  # 60 users, so every bucket is met


def test_a_history_that_is_too_long_for_the_model_is_refused(make):
    _, _, model = make(context="both", t5={"max_length": 32})
    assert model.tokens(model.log.start[1:2], model.log.start[2:3], np.array([1])).shape[1] <= 32
    with pytest.raises(UserError, match="history: 7 events make prompts of up to 37 tokens, and t5.max_length is 36"):
        make(context="both", history=7, t5={"max_length": 36})


def test_user_tokens_do_not_depend_on_the_order_of_the_file(make):
    """They are hashed from the users' own names."""
    config, data, model = make(user_tokens=7)
    names = data.field2id_token["user_id"]
    data.field2id_token["user_id"] = names[::-1]
    assert np.array_equal(TIGER(config, data).layout.user, model.layout.user[::-1])


def test_the_fourth_code_counts_items_that_share_three(make):
    _, _, model = make()
    codes = model.semantic_ids.codes[1:]
    assert codes.shape[1] == 4 and len(np.unique(codes, axis=0)) == len(codes)
    assert len(np.unique(codes[:, :3], axis=0)) < len(codes)


@pytest.mark.slow
def test_it_learns(make):
    check_learns(make(t5={"layers": 1}))


@pytest.mark.parametrize("by", ["time", "user"])
def test_nothing_from_t0_on_moves_it(make_tiny, tmp_path, by):
    make = make_row(make_tiny, "TIGER", tmp_path, **RQVAE)
    check_no_leak(make(context="both", split={"by": by}), by, lambda model, batch: model.prompt(batch))


@pytest.mark.slow
def test_letter_is_a_tokenizer_option(make):
    _, _, model = make()
    _, _, other = make(**{"tokenizer.rqvae.contrastive": 1.0})
    assert not np.array_equal(model.semantic_ids.codes[:, :3], other.semantic_ids.codes[:, :3])


def test_user_tokens_must_be_a_number(make):
    with pytest.raises(UserError, match="user_tokens: -1; expected a whole number of at least 0"):
        make(user_tokens=-1)


def test_scores_are_the_likelihoods_of_whole_ids(make):
    """score_candidates against the model's own logits, item by item."""
    _, data, model = make()
    batch = data[[3]]
    items = torch.tensor([[1, 7, 0, 50]])
    found = model.eval().score_candidates(batch, items)[0]
    ids, mask = model.prompt(batch).pair
    for item, value in zip(items[0].tolist(), found.tolist(), strict=True):
        if not item:
            assert value == -np.inf
            continue
        labels = torch.tensor([item_tokens(model, item)])
        with torch.no_grad():
            logps = model.lm(input_ids=ids, attention_mask=mask, labels=labels).logits.log_softmax(-1)
        assert value == pytest.approx(float(logps[0].gather(1, labels[0][:, None]).sum()), abs=1e-4)
