"""Which files are read, and what becomes of the rows that cannot be."""

import pytest
from rawfiles import convert, write
from reallog import LOG, events, fails, run

from recbole_conrec.utils.errors import UserError


def test_the_files_are_printed(tmp_path, capsys):
    run(tmp_path, {"ev.csv": LOG})
    assert f"events: {tmp_path / 'raw' / 'ev.csv'}\n" in capsys.readouterr().out


def test_namesakes_in_other_folders_are_refused(tmp_path):
    files = {"ev.csv": LOG, "backup/ev.csv": LOG}
    message = fails(tmp_path, files)
    assert "backup/ev.csv" in message and "write './ev.*' for the one that is in" in message
    assert run(tmp_path, {}, {"files": "./ev.csv"})["events"] == 3
    assert run(tmp_path, {}, {"files": "backup/ev.csv"})["events"] == 3
    assert "ev.csv.gz" in fails(tmp_path, {"ev.csv.gz": LOG}, {"files": "./ev.csv"}, dataset="other")


def test_parts_in_folders_are_read_where_the_pattern_names_folders(tmp_path):
    run(tmp_path, {"day1/ev.csv": LOG, "day2/ev.csv": LOG.replace("a,", "c,")}, {"files": "*/ev.csv"})
    assert len(events(tmp_path)) == 5


def test_files_of_several_formats_are_refused(tmp_path):
    assert "files that end in 'csv' and 'json'; name files of one format" in fails(
        tmp_path, {"ev.csv": LOG, "ev.json": '{"u": 1}'}
    )


# ---- bad rows ----

BAD = "u,i,stars,t\na,x,1,100\nb,x,bad,101\na,y,4\n,y,4,102\na,y,4,103\na,z,1,x\n"


def test_one_pass_names_every_bad_row(tmp_path):
    message = fails(tmp_path, {"ev.csv": BAD})
    for part in (
        "4 bad rows: ",
        "ev.csv, row 3: 'stars' is 'bad'; expected a number; row 4: 3 cells, expected 4: 'a,y,4'; row 5: 'u' is ''",
        "row 7: 't' is 'x'",
        "--skip-bad=4",
    ):
        assert part in message, message


def test_bad_rows_can_be_left_out(tmp_path):
    summary = run(tmp_path, {"ev.csv": BAD}, **{"skip-bad": 4})
    assert [row[-1] for row in events(tmp_path)] == ["100", "103"] and summary["bad rows left out"] == 4
    listed = (tmp_path / "out" / "d" / "d.bad-rows.csv").read_text().splitlines()
    assert listed[0] == "file,row,fault" and [line.split(",")[1] for line in listed[1:]] == ["3", "4", "5", "7"]
    assert "4 bad rows" in fails(tmp_path, {}, skip_bad=3)


def test_bad_rows_of_json_can_be_left_out(tmp_path):
    good = '{"u": "a", "i": "x", "stars": 1, "t": 100}\n'
    bad = '{"u": "a", "i": \n{"u": "a", "i": "x", "stars": "?", "t": 1}\n[1]\n\n'
    bad += '{"u": {"x": 1}}\n"text"\n{"u": "\\ud800"}\n'
    message = fails(tmp_path, {"ev.jsonl": good + bad + good.replace('"a"', '"b"')})
    assert "6 bad rows" in message and "row 2: not JSON" in message and "row 4: expected an object" in message
    run(tmp_path, {}, skip_bad=6)
    assert [row[0] for row in events(tmp_path)] == ["a", "b"]


def test_bad_rows_of_an_official_download_can_be_left_out(tmp_path):
    review = '{"reviewerID": "U%d", "asin": "B", "overall": %s, "unixReviewTime": 1400000000}\n'
    raw = write(
        tmp_path / "raw",
        {
            "Toys.json": review % (1, "1.0") + "\n" + review % (2, '"?"') + "{\n" + review % (3, "5.0"),
            "meta_Toys.json": '{"asin": "B", "title": "T"}\n{"title": "no id"}\n{\n',
        },
    )
    with pytest.raises(UserError) as error:
        convert("amazon-2018", raw, tmp_path / "out")
    message = str(error.value)
    assert "2 bad rows" in message and "row 3: 'overall' is '?'" in message and "row 4: not JSON" in message
    summary = convert("amazon-2018", raw, tmp_path / "out", skip_bad=4)
    assert summary["events"] == 2 and summary["bad rows left out"] == 4


def test_a_file_full_of_bad_rows_ends_early(tmp_path):
    message = fails(tmp_path, {"ev.csv": "u,i,stars,t\n" + "a,x,bad,1\n" * 5000})
    assert "more than 1000 bad rows" in message and "row 2: 'stars' is 'bad'" in message and "--skip-bad" not in message
    assert "more than 1000 bad rows" in fails(tmp_path, {"ev.csv": "u,i,stars,t\n" + "a,x,1\n" * 5000})
