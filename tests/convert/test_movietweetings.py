"""MovieTweetings: its converter, and the snapshot that comes with the package."""

from pathlib import Path

import pandas as pd
import pytest
from rawfiles import convert, options, read, rows, write

from recbole_conrec.data.dataset import NegativeFeedbackDataset
from recbole_conrec.runs.config import make_config
from recbole_conrec.utils.errors import UserError

SHIPPED = Path(__file__).parents[2] / "dataset" / "movietweetings-100k"


def test_a_snapshot(tmp_path):
    raw = write(
        tmp_path / "raw",
        {
            "latest/users.dat": "1::177651718\n2::40501255\n",  # ids at Twitter: not read
            # not in time order; one row twice; one film rated again later
            "latest/ratings.dat": "1::0110912::9::1375657563\n2::0002844::0::1362062307\n1::0110912::9::1375657563\n"
            "2::0110912::5::1362062310\n2::0110912::6::1400000000\n2::0000010::8::1400000001\n",
            "latest/movies.dat": (
                "0110912::Pulp Fiction (1994)::Crime|Thriller\n"
                "0002844::Fantômas - À l'ombre de la guillotine (1913)::Crime|Drama\n"
                "0110912::Pulp (1994)::Crime\n"
                '0000010::"Sorti::e" des usines::\n'
                "0000012::Never rated (1896)::Short\n"
            ),
        },
    )
    summary = convert("movietweetings", raw, tmp_path / "out")
    assert summary == {
        "users": 2,
        "items": 3,
        "events": 5,
        "negatives": 2,
        "positives": 2,
        "repeats": 1,
        "items without features": 0,
        "item rows dropped, whose id an earlier row has": 1,
    }
    assert rows(read(tmp_path / "out", "movietweetings", "inter")) == [
        ("2", "0002844", "0", "1362062307"),
        ("2", "0110912", "5", "1362062310"),
        ("1", "0110912", "9", "1375657563"),
        ("2", "0110912", "6", "1400000000"),
        ("2", "0000010", "8", "1400000001"),
    ]
    assert rows(read(tmp_path / "out", "movietweetings", "item")) == [
        ("0110912", "Pulp Fiction", "1994", "Crime Thriller"),
        ("0002844", "Fantômas - À l'ombre de la guillotine", "1913", "Crime Drama"),
        ("0000010", "'Sorti::e' des usines", "", ""),
    ]
    assert not (tmp_path / "out" / "movietweetings" / "movietweetings.user").exists()
    assert options(tmp_path / "out", "movietweetings")["feedback"] == {
        "negative": "rating <= 5",
        "positive": "rating >= 8",
    }


def test_a_bad_row_of_films_is_named_or_left_out(tmp_path):
    raw = write(
        tmp_path / "raw",
        {"ratings.dat": "1::01::2::1375657563\n", "movies.dat": "01::Heat (1995)::Crime\n02;Ronin;Crime\n"},
    )
    with pytest.raises(UserError, match=r"movies.dat, row 2: '02;Ronin;Crime'; expected id::title .*--skip-bad=1"):
        convert("movietweetings", raw, tmp_path / "out")
    assert convert("movietweetings", raw, tmp_path / "out", skip_bad=1)["bad rows left out"] == 1


@pytest.mark.slow
def test_the_shipped_files_are_what_the_converter_writes(tmp_path):
    """The owner's layout made again from them, in another order, gives the same bytes."""
    log, films = (pd.read_csv(SHIPPED / f"{SHIPPED.name}.{kind}", sep="\t", dtype=str, keep_default_na=False)
                  for kind in ("inter", "item"))  # fmt: skip
    names = films["title:token_seq"] + " (" + films["year:token"] + ")"
    genres = films["genres:token_seq"].str.replace(" ", "|")
    texts = {
        "ratings.dat": log.sort_values(["user_id:token", "item_id:token"]).agg("::".join, axis=1),
        "movies.dat": films["item_id:token"] + "::" + names + "::" + genres,
    }
    assert (films["year:token"].str.len() == 4).all()
    raw = write(tmp_path / "raw", {name: "\n".join(lines) + "\n" for name, lines in texts.items()})
    summary = convert("movietweetings", raw, tmp_path / "out", dataset=SHIPPED.name)
    assert (summary["users"], summary["items"], summary["events"]) == (16_554, 10_506, 100_000)
    for kind in ("inter", "item"):
        name = f"{SHIPPED.name}.{kind}"
        made, kept = (
            (folder / name).read_bytes().splitlines() for folder in (tmp_path / "out" / SHIPPED.name, SHIPPED)
        )
        assert sorted(made) == sorted(kept), name  # events of one second keep the order of the file


def test_the_shipped_data_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = make_config("Pop", "movietweetings-100k", options={"checkpoint_dir": str(tmp_path / "saved")})
    data = NegativeFeedbackDataset(config)
    assert (data.user_num - 1, data.item_num - 1, len(data.log)) == (16_554, 10_506, 100_000)
    test = data.splits["test"]
    seen = set(data.log.item[data.train_mask])
    cold = sum(item not in seen for item in test.item) / len(test)
    assert len(test) == 2934 and round(cold, 2) == 0.24
    assert round(float(data.truth("test").low_activity.mean()), 2) == 0.5
    assert all(data.item_text()[1:])  # every film has text


def test_a_folder_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "elsewhere" / "movietweetings-100k"
    own.mkdir(parents=True)
    config = make_config("Pop", "movietweetings-100k", options={"data_path": str(own.parent)})
    assert Path(config["data_path"]) == own
    config = make_config("Pop", "movietweetings", options={"data_path": str(own.parent)})
    assert Path(config["data_path"]) == own.parent / "movietweetings"  # not shipped: as it was given
