import operator

import numpy as np
import pandas as pd
import pytest

from recbole_conrec.data.feedback import FeedbackRules, Rule
from recbole_conrec.utils.errors import UserError

EVENTS = pd.DataFrame(
    {
        "rating": [1.0, 2.0, 3.0, 4.0, 5.0],
        "label": ["0", "1", "skip", "0", "like it"],
        "dwell": ["3", "10", "5", "7", "9"],
    },
    index=range(2, 7),
)


@pytest.mark.parametrize(
    "text,expected",
    [
        ("rating <= 2", [1, 1, 0, 0, 0]),
        ("rating<2", [1, 0, 0, 0, 0]),
        ("rating > 3.5", [0, 0, 0, 1, 1]),
        ("rating >= 4e0", [0, 0, 0, 1, 1]),
        ("rating == 3", [0, 0, 1, 0, 0]),
        ("rating != 3", [1, 1, 0, 1, 1]),
        ("rating in [1, 5]", [1, 0, 0, 0, 1]),
        ("label == 0", [1, 0, 0, 1, 0]),
        ("label in [skip, 'like it']", [0, 0, 1, 0, 1]),
        ('label == "like it"', [0, 0, 0, 0, 1]),
        ("dwell < 10", [1, 0, 1, 1, 1]),  # a token field of numbers is compared as numbers
        ("rating <= 2 and label == 0", [1, 0, 0, 0, 0]),
        ("rating <= 2 or label == 0", [1, 1, 0, 1, 0]),
        ("label == 0 and rating >= 4 or rating == 2", [0, 1, 0, 1, 0]),
        ("rating == 2 or label == 0 and rating >= 4", [0, 1, 0, 1, 0]),  # `and` binds tighter
    ],
)
def test_rules_mean_what_they_say(text, expected):
    rule = Rule.parse(text, "negative")
    assert rule.mask(EVENTS).astype(int).tolist() == expected


def test_random_rules_equal_a_look_at_every_event():
    rng = np.random.default_rng(0)
    compare = {
        "<": operator.lt,
        "<=": operator.le,
        ">": operator.gt,
        ">=": operator.ge,
        "==": operator.eq,
        "!=": operator.ne,
    }
    events = pd.DataFrame({"a": rng.integers(0, 5, 100).astype(float), "b": rng.integers(0, 5, 100).astype(float)})
    for _ in range(40):
        groups = [
            [
                (rng.choice(["a", "b"]), rng.choice([*compare]), int(rng.integers(0, 5)))
                for _ in range(rng.integers(1, 4))
            ]
            for _ in range(rng.integers(1, 4))
        ]
        text = " or ".join(" and ".join(f"{field} {op} {value}" for field, op, value in group) for group in groups)
        expected = [
            any(all(compare[op](event[field], value) for field, op, value in group) for group in groups)
            for event in events.to_dict("records")
        ]
        assert Rule.parse(text, "negative").mask(events).tolist() == expected


@pytest.mark.parametrize(
    "text,why",
    [
        ("", "it ends where a field was expected"),
        ("rating", "it ends where an operator was expected"),
        ("rating <=", "it ends where a value was expected"),
        ("<= 2", "expected a field but found '<='"),
        ("rating = 2", "cannot read '= 2'"),
        ("rating 2", "expected an operator but found '2'"),
        ("rating <= 2 rating >= 1", "expected 'and' or 'or' but found 'rating'"),
        ("rating <= 2 and", "it ends where a field was expected"),
        ("rating in 1, 2", "expected '[' but found '1'"),
        ("rating in [1, 2", "it ends where ',' or ']' was expected"),
        ("rating in []", "expected a value but found ']'"),
        ("__import__('os') == 1", "expected an operator but found 'os'"),
        ("label == 'x", "cannot read"),
    ],
)
def test_a_broken_rule_names_the_place_and_the_form(text, why):
    with pytest.raises(UserError) as error:
        Rule.parse(text, "negative")
    message = str(error.value)
    assert why in message and "negative" in message and "FIELD OP VALUE" in message and "\n" not in message


def test_everything_else_is_an_exposure():
    rules = FeedbackRules(negative="rating <= 2", positive="rating >= 5")
    assert rules.label(EVENTS, "x.inter").tolist() == [-1, -1, 0, 0, 1]
    assert rules.label(EVENTS, "x.inter").dtype == np.int8
    assert FeedbackRules(negative="rating <= 2").label(EVENTS, "x.inter").tolist() == [-1, -1, 0, 0, 0]
    assert FeedbackRules(negative=" rating <= 2", positive=None).fields == {"rating": "rating <= 2"}


def test_an_event_that_both_rules_match_is_refused():
    with pytest.raises(UserError, match=r"'rating <= 2' and 'label == 0' both match 1 events of x.inter.* row 2"):
        FeedbackRules(negative="rating <= 2", positive="label == 0").label(EVENTS, "x.inter")


def test_a_rule_that_matches_nothing_names_the_range():
    with pytest.raises(UserError, match=r"negative rule 'rating < 1' .* none of the 5 .* x.inter.*1 to 5.*feedback.n"):
        FeedbackRules(negative="rating < 1", positive="rating > 4").label(EVENTS, "x.inter")
    with pytest.raises(UserError, match=r"positive rule 'label == great'.*one of 0, 1, like it, skip"):
        FeedbackRules(negative="rating < 2", positive="label == great").label(EVENTS, "x.inter")


@pytest.mark.parametrize(
    "options, words",
    [
        ({}, "feedback.negative is needed; expected text"),
        ({"negative": 2}, "feedback.negative: 2; expected text"),
        ({"negative": "rating <= 2", "positve": "x > 1"}, "unknown option 'positve'; did you mean 'positive'"),
        ({"negative": "rating <= 2", "positive": "rating >"}, "positive rule 'rating >': it ends where a value"),
        ("rating <= 2", "feedback: 'rating <= 2'; expected a mapping of negative, positive"),
    ],
)
def test_a_mistake_in_the_option_is_one_line(options, words):
    with pytest.raises(UserError) as error:
        FeedbackRules.read(options, "feedback")
    assert words in str(error.value) and "\n" not in str(error.value)


def test_words_have_no_order():
    with pytest.raises(UserError, match="'label < 2' needs numbers"):
        Rule.parse("label < 2", "negative").mask(EVENTS)
