import json

import pytest
from rawfiles import convert, read, rows, write

from recbole_conrec.data.convert.amazon import _path
from recbole_conrec.utils.errors import UserError


def review(user, item, stars, time):
    """A review of 2014 or 2018, with fields that nobody asked for and that change their type."""
    return (
        json.dumps(
            {
                "overall": stars,
                "verified": True,
                "reviewTime": "09 1, 2016",
                "reviewerID": user,
                "asin": item,
                "style": {"Size:": " L"} if stars > 2 else None,
                "reviewerName": 'Ann "A"',
                "helpful": [0, 1],
                "reviewText": "it's\nfine",
                "unixReviewTime": time,
            }
        )
        + "\n"
    )


REVIEWS = (
    review("A2", "B001", 5.0, 1400000000)
    + review("A1", "B002", 1, 1300000000)
    + review("A1", "B001", 2.0, 1400000000)
    + review("A1", "B002", 1, 1300000000)
)
EVENTS = [("A1", "B002", "1", "1300000000"), ("A2", "B001", "5", "1400000000"), ("A1", "B001", "2", "1400000000")]


def test_2014_reviews_and_python_literals(tmp_path):
    raw = write(
        tmp_path / "raw",
        {
            "reviews_Beauty_5.json.gz": REVIEWS,
            "meta_Beauty.json.gz": "{'asin': 'B001', 'title': 'L\\'eau &amp; \"Co\"\\t2oz', 'price': 3, 'brand': 'X', "
            "'categories': [['Beauty', 'Skin Care', 'Face'], ['Beauty', 'Hair']], 'related': {'also_bought': ['B9']}}\n"
            "{'asin': 'B002', 'categories': [['Beauty']]}\n{'asin': 'B777', 'title': 'unseen'}\n",
        },
    )
    summary = convert("amazon-2014", raw, tmp_path / "out", dataset="amazon-beauty")
    assert rows(read(tmp_path / "out", "amazon-beauty", "inter")) == EVENTS
    assert rows(read(tmp_path / "out", "amazon-beauty", "item")) == [
        ("B001", "L'eau & 'Co' 2oz", "X", "Beauty Skin-Care Face"),
        ("B002", "", "", "Beauty"),
    ]
    assert summary["repeats"] == 1 and summary["negatives"] == 2 and summary["positives"] == 1


def test_2014_reviews_may_be_python_literals(tmp_path, monkeypatch):
    monkeypatch.setattr("recbole_conrec.data.convert.json_lines.ROWS", 2)
    literals = "".join(f"{json.loads(line)}\n" for line in REVIEWS.splitlines())
    assert literals.startswith("{'overall'")
    meta = {"meta_Beauty.json": "{'asin': 'B001', 'categories': [['Beauty']]}\n"}
    raw = write(tmp_path / "raw", meta | {"reviews_Beauty.json.gz": literals})
    convert("amazon-2014", raw, tmp_path / "out")
    assert rows(read(tmp_path / "out", "amazon-2014", "inter")) == EVENTS
    for bad, words in (
        ("{'reviewerID': 'A', 'asin': 'B', 'overall': 'x'}\n", "row 5: 'overall' is 'x'"),
        ("{'reviewerID': 'A', 'asin': 'B', 'unixReviewTime': 3}\n", "row 5: 'overall' is None"),
        ("{'reviewerID'\n", "row 5: neither JSON"),
    ):
        write(raw, {"reviews_Beauty.json.gz": literals + bad})
        with pytest.raises(UserError, match=words):
            convert("amazon-2014", raw, tmp_path / "out", overwrite=True)


@pytest.mark.parametrize(
    "item, words",
    [
        ({"category": [], "main_cat": "All Beauty"}, "All-Beauty"),
        ({"category": [], "main_cat": '<img src="x.png" alt="Fashion"/>'}, ""),
        ({"categories": [[]], "main_category": "All Beauty"}, "All-Beauty"),
        ({"categories": [], "main_category": None}, ""),
        ({"category": ["A", "B"], "main_cat": "C"}, "A B"),
        ({"categories": [["A", "B"], ["C"]]}, "A B"),
        ({"category": "A B"}, "A-B"),
        ({}, ""),
    ],
)
def test_an_item_without_a_path_has_its_main_category(item, words):
    assert _path(item) == words


def test_2014_ratings_have_the_user_first_and_2018_the_item(tmp_path):
    meta = '{"asin": "B001", "title": "a", "category": ["Beauty", "Skin"]}\n{"asin": "B002", "category": []}\n'
    raw = write(tmp_path / "a", {"ratings_Beauty.csv": "A1,B001,2.0,10\nA2,B002,4.0,9\n", "meta_Beauty.json": meta})
    convert("amazon-2014", raw, tmp_path / "out")
    raw = write(tmp_path / "b", {"Beauty.csv": "B001,A1,2.0,10\nB002,A2,4.0,9\n", "meta_Beauty.json.gz": meta})
    convert("amazon-2018", raw, tmp_path / "out")
    expected = [("A2", "B002", "4", "9"), ("A1", "B001", "2", "10")]
    assert rows(read(tmp_path / "out", "amazon-2014", "inter")) == expected
    assert rows(read(tmp_path / "out", "amazon-2018", "inter")) == expected
    assert read(tmp_path / "out", "amazon-2018", "item").categories.tolist() == ["Beauty Skin", ""]


def test_2018_reviews_and_titles_that_are_scripts(tmp_path):
    script = "\n var aPageStart = (new Date()).getTime();\nvar ue_t0=ue_t0||+new Date();"
    raw = write(
        tmp_path / "raw",
        {
            "All_Beauty.json.gz": REVIEWS,
            "meta_All_Beauty.json.gz": json.dumps({"asin": "B001", "title": script, "brand": "Y<br>", "category": []})
            + "\n"
            + json.dumps({"asin": "B002", "title": "<span>Soap</span>", "brand": "", "category": ["A", "B &amp; C"]})
            + "\n"
            + json.dumps({"asin": "B002", "title": "again"})
            + "\n",
        },
    )
    convert("amazon-2018", raw, tmp_path / "out")
    assert rows(read(tmp_path / "out", "amazon-2018", "inter")) == EVENTS
    items = rows(read(tmp_path / "out", "amazon-2018", "item"))
    assert items == [("B001", "", "Y", ""), ("B002", "Soap", "", "A B-&-C")]


META_2023 = "".join(
    json.dumps(row) + "\n"
    for row in (
        {
            "main_category": "All Beauty",
            "title": "Café’s “best”",
            "store": "S",
            "parent_asin": "P1",
            "categories": [],
            "price": None,
            "details": "{}",
        },
        {"main_category": None, "title": None, "store": None, "parent_asin": "P2", "categories": ["Beauty", "Nails"]},
    )
)


@pytest.mark.parametrize("as_json", [True, False])
def test_2023_counts_products_in_milliseconds(tmp_path, as_json):
    events = [("U2", "P1", 5.0, 1588687728923), ("U1", "P2", 1.0, 1588687728101), ("U1", "P1", 2, 1388687728101)]
    if as_json:
        reviews = {
            "All_Beauty.jsonl.gz": "".join(
                json.dumps(
                    {
                        "rating": stars,
                        "title": "t",
                        "text": "x",
                        "images": [],
                        "asin": "B" + item,
                        "parent_asin": item,
                        "user_id": user,
                        "timestamp": time,
                        "helpful_vote": 0,
                        "verified_purchase": True,
                    }
                )
                + "\n"
                for user, item, stars, time in events
            )
        }
    else:
        reviews = {
            "All_Beauty.csv": "user_id,parent_asin,rating,timestamp\n"
            + "".join(f"{user},{item},{stars},{time}\n" for user, item, stars, time in events)
        }
    raw = write(tmp_path / "raw", reviews | {"meta_All_Beauty.jsonl.gz": META_2023})
    convert("amazon-2023", raw, tmp_path / "out", category="All_Beauty")
    assert rows(read(tmp_path / "out", "amazon-2023", "inter")) == [
        ("U1", "P1", "2", "1388687728"),
        ("U2", "P1", "5", "1588687728"),
        ("U1", "P2", "1", "1588687728"),
    ]
    assert rows(read(tmp_path / "out", "amazon-2023", "item")) == [
        ("P1", "Café’s “best”", "S", "All-Beauty"),
        ("P2", "", "", "Beauty Nails"),
    ]


def test_the_category_must_be_clear(tmp_path):
    raw = write(
        tmp_path / "raw",
        {
            "Books.json": REVIEWS,
            "Toys.json": REVIEWS,
            "meta_Toys.json": '{"asin": "B001"}\n',
            "meta_Books.json": '{"asin": "B001"}\n',
        },
    )
    with pytest.raises(UserError, match="--category"):
        convert("amazon-2018", raw, tmp_path / "out")
    assert convert("amazon-2018", raw, tmp_path / "out", category="Toys")["events"] == 3
    with pytest.raises(UserError, match="reviews of Amazon 2018"):
        convert("amazon-2018", raw, tmp_path / "out", category="Garden", overwrite=True)


def test_a_review_without_stars_is_named(tmp_path):
    raw = write(
        tmp_path / "raw",
        {"Toys.json": REVIEWS + '{"reviewerID": "A", "asin": "B", "unixReviewTime": 3}\n', "meta_Toys.json": ""},
    )
    with pytest.raises(UserError, match="Toys.json, row 5: 'overall' is None"):
        convert("amazon-2018", raw, tmp_path / "out")
