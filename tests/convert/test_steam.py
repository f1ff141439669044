import pytest
from rawfiles import convert, read, rows, write

from recbole_conrec.utils.errors import UserError

DAY = 86_400


def test_kaggle(tmp_path):
    raw = write(
        tmp_path / "raw",
        {
            "recommendations.csv": "app_id,helpful,funny,date,is_recommended,hours,user_id,review_id\n"
            "975370,0,0,2022-12-12,true,36.3,51580,0\n304390,4,0,2017-02-17,false,11.5,2586,1\n"
            "975370,0,0,1970-01-02,False,0.0,51580,7\n",
            "games.csv": "app_id,title,date_release,win,mac,linux,rating,positive_ratio,user_reviews,price_final,"
            "price_original,discount,steam_deck\n"
            '975370,"Dwarf, the ""Fortress""",2022-12-06,true,false,false,Very Positive,95,1,1.0,1.0,0.0,true\n'
            "304390,FOR HONOR™,2017-02-13,true,false,false,Mixed,68,7,29.99,0.0,0.0,true\n"
            "13500,Nobody's,2008-11-21,true,false,false,Positive,84,21,9.99,9.99,0.0,true\n",
            "games_metadata.json": '{"app_id": 975370, "description": "", "tags": ["Colony Sim", "2D"]}\n'
            '{"app_id": 304390, "description": "x", "tags": []}\n',
        },
    )
    summary = convert("steam", raw, tmp_path / "out")
    assert rows(read(tmp_path / "out", "steam", "inter")) == [
        ("51580", "975370", "0", "0", str(DAY)),
        ("2586", "304390", "0", "11.5", "1487289600"),
        ("51580", "975370", "1", "36.3", "1670803200"),
    ]
    assert rows(read(tmp_path / "out", "steam", "item")) == [
        ("975370", "Dwarf, the 'Fortress'", "Colony Sim", "Colony-Sim 2D"),
        ("304390", "FOR HONOR™", "", ""),
    ]
    assert summary["negatives"] == 2


@pytest.mark.parametrize(
    "row, words",
    [
        ("1,0,0,2022-12-12,maybe,1,2,3", "row 2: 'is_recommended' is 'maybe'"),
        ("1,0,0,2022-13-12,true,1,2,3", "row 2: 'date' is '2022-13-12'"),
    ],
)
def test_strange_cells_are_named(tmp_path, row, words):
    raw = write(
        tmp_path / "raw",
        {
            "recommendations.csv": f"app_id,helpful,funny,date,is_recommended,hours,user_id,review_id\n{row}\n",
            "games.csv": "app_id,title\n",
            "games_metadata.json": "",
        },
    )
    with pytest.raises(UserError, match=words):
        convert("steam", raw, tmp_path / "out")


AUSTRALIA = (
    "{'user_id': '7656', 'user_url': 'http://x', 'reviews': [{'funny': '', 'posted': 'Posted November 5, 2011.', "
    "'last_edited': '', 'item_id': '1250', 'helpful': 'No ratings yet', 'recommend': True, 'review': 'It\\'s \"ok\"'}, "
    "{'funny': '', 'posted': 'Posted July 15, 2011.', 'item_id': '22200', 'recommend': False, 'review': ''}]}\n"
    "{'user_id': u'caf\\xe9', 'user_url': '', 'reviews': [{'posted': 'Posted June 24.', 'item_id': '1250', "
    "'recommend': False, 'review': ''}]}\n{'user_id': 'none', 'reviews': []}\n"
)
GAMES = (
    "{u'publisher': u'K', u'genres': [u'Action', u'Indie'], u'app_name': u'Killing Floor', u'tags': [u'Indie', "
    "u'Co op'], u'id': u'1250'}\n{u'app_name': u'no id'}\n{u'id': u'22200', u'title': u'Zeno'}\n"
)


def test_australia_drops_dates_without_a_year(tmp_path):
    raw = write(tmp_path / "raw", {"australian_user_reviews.json.gz": AUSTRALIA, "steam_games.json.gz": GAMES})
    summary = convert("steam-australia", raw, tmp_path / "out")
    assert rows(read(tmp_path / "out", "steam-australia", "inter")) == [
        ("7656", "22200", "0", "0", "1310688000"),
        ("7656", "1250", "1", "0", "1320451200"),
    ]
    assert rows(read(tmp_path / "out", "steam-australia", "item")) == [
        ("1250", "Killing Floor", "Action", "Action Indie Co-op"),
        ("22200", "Zeno", "", ""),
    ]
    assert summary["reviews without a year dropped"] == 1
    summary = convert("steam-australia", raw, tmp_path / "out", dataset="dated", year=2016)
    assert summary["negatives"] == 2 and summary["reviews without a year dropped"] == 0
    assert rows(read(tmp_path / "out", "dated", "inter"))[-1] == ("café", "1250", "0", "0", "1466726400")


def test_a_user_without_an_id_is_named(tmp_path):
    reviews = AUSTRALIA.replace("'user_id': '7656'", "'steam': '7656'")
    raw = write(tmp_path / "raw", {"australian_user_reviews.json": reviews, "steam_games.json": GAMES})
    with pytest.raises(UserError, match="row 1: no 'user_id'"):
        convert("steam-australia", raw, tmp_path / "out")


@pytest.mark.parametrize(
    "posted, words",
    [
        ("yesterday", "yesterday"),
        ("Posted Juni 24, 2014.", "English month"),
        ("Posted February 30, 2014.", "no February 30, 2014"),
    ],
)
def test_strange_dates_are_named(tmp_path, posted, words):
    raw = write(
        tmp_path / "raw",
        {"australian_user_reviews.json": AUSTRALIA.replace("Posted July 15, 2011.", posted), "steam_games.json": GAMES},
    )
    with pytest.raises(UserError, match=words):
        convert("steam-australia", raw, tmp_path / "out")
