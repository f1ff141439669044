"""Inputs as users have them: types of columns, encodings, quotes, nested JSON, missing cells."""

import gzip
import json

import pyarrow as pa
import pytest
from reallog import LOG, events, fails, items, log, run

from recbole_conrec.data.convert.writing import plain_text, words

# ---- types of columns ----


def test_a_column_of_another_type_is_named(tmp_path):
    lists = pa.array([[1.0], [2.0]])
    assert "'stars' is of type list" in fails(tmp_path, {"ev.parquet": log(stars=lists)})
    assert "'u' is of type list" in fails(tmp_path, {"ev.parquet": log(u=lists)})
    assert "'t' is of type list" in fails(tmp_path, {"ev.parquet": log(t=lists)})
    assert "'u' is of type binary" in fails(tmp_path, {"ev.parquet": log(u=[b"\xff", b"b"])})
    assert "row 1: 'u' is 1e+300; expected a whole number" in fails(tmp_path, {"ev.parquet": log(u=[1e300, 1.0])})
    assert "'stars' is inf; expected a finite number" in fails(tmp_path, {"ev.parquet": log(stars=[1.0, float("inf")])})


@pytest.mark.parametrize("ids", [pa.array([2**64 - 1, 2**64 - 2], pa.uint64()), ["18446744073709551615", "x"]])
def test_ids_above_int64(tmp_path, ids):
    run(tmp_path, {"ev.parquet": log(u=ids)})
    assert events(tmp_path)[0][0] == "18446744073709551615"


def test_ids_above_int64_and_of_several_types_in_json(tmp_path):
    ids = [18446744073709551610, 123456789012345678901234567890, "x", 7]
    lines = [json.dumps({"u": one, "i": "x", "stars": 1, "t": n}) for n, one in enumerate(ids)]
    run(tmp_path, {"ev.json": "\n".join(lines)})
    assert [row[0] for row in events(tmp_path)] == [str(one) for one in ids]


def test_fields_that_appear_late_in_json(tmp_path):
    first = "".join(f'{{"id": "n{n}", "title": "t"}}\n' for n in range(1500))
    found = first + '{"id": "x", "title": "One", "price": 3}\n'
    run(tmp_path, {"ev.csv": LOG, "it.json": found + '{"id": "y"}\n'}, items={})
    assert items(tmp_path) == [("x", "One", "3"), ("y", "", "")]
    message = fails(tmp_path, {"it.json": first}, items={})
    assert "items: no row has a field 'price'; found id, title" in message


def test_a_misspelt_key_of_json_is_named_at_once(tmp_path):
    line = '{"user": "a", "i": "x", "stars": 1, "t": 1}\n'
    assert "no row has a field 'u'" in fails(tmp_path, {"ev.json": line})


def test_missing_numbers_are_empty_cells(tmp_path):
    run(tmp_path, {"ev.csv": LOG, "it.csv": "id,title,price\nx,One,\ny,Two,2.5\n"}, items={})
    assert items(tmp_path) == [("x", "One", ""), ("y", "Two", "2.5")]
    extra = {"fields": {"stars": "float", "paid": "float"}}
    run(tmp_path, {"ev.csv": "u,i,stars,t,paid\na,x,1,100,\nb,x,5,101,3\n"}, extra)
    assert [row[3] for row in events(tmp_path)] == ["", "3"]
    assert "row 2: 'stars' is ''; expected a number" in fails(tmp_path, {"ev.csv": "u,i,stars,t\na,x,,1\n"})


# ---- text ----


@pytest.mark.parametrize(
    "html, text",
    [
        ("Shelf for spines &lt; 30 cm and &gt; 20 cm", "Shelf for spines < 30 cm and > 20 cm"),
        ("x < y, y > z", "x < y, y > z"),
        ("Tom &amp;amp; Ann", "Tom & Ann"),
        ("I <3 Tea", "I <3 Tea"),
        ("a<br/>b <a href='x>y'>c</a>", "a b c"),
        ('<!-- hidden -->seen <SPAN class="a" id=b>word</SPAN>', "seen word"),
        ("<unknown> & <5", "<unknown> & <5"),
        ("caf&eacute; &#39;x&#39; AT&T", "café 'x' AT&T"),
    ],
)
def test_html_becomes_plain_text(html, text):
    assert " ".join(plain_text(html).split()) == text


@pytest.mark.parametrize(
    "value, text",
    [
        ([["Home Goods", "Lamps"], ["Office"]], "Home Goods Lamps Office"),
        ({"w": "1 kg", "n": None, "size": {"a": [1, 2.5]}}, "w 1 kg size a 1 2.5"),
        (["Skin Care", None, "Face", ""], "Skin Care Face"),
        ([], ""),
        (b"caf\xc3\xa9", "café"),
        (("k", "v"), "k v"),
    ],
)
def test_nested_values_become_words(value, text):
    assert words(value) == text


def test_nested_values_of_json_and_parquet(tmp_path):
    run(
        tmp_path,
        {"ev.csv": LOG, "it.json": '{"id": "x", "title": [["A B"], {"c": null, "d": 1}], "price": 1}'},
        items={},
    )
    assert items(tmp_path) == [("x", "A B d 1", "1")]
    message = fails(tmp_path, {"it.json": '{"id": ["x"], "title": "t", "price": [1]}'}, items={})
    assert "row 1: 'id' is ['x']; expected a single value" in message


def test_rows_of_one_item_are_counted(tmp_path):
    table = "id,title,price\nx,One,1\nx,Another,2\nz,unseen,1\nz,unseen,1\n"
    summary = run(tmp_path, {"ev.csv": LOG, "it.csv": table}, items={})
    assert items(tmp_path) == [("x", "One", "1")]
    assert summary["item rows dropped, whose id an earlier row has"] == 1


# ---- CSV ----


def test_a_backslash_before_quotes(tmp_path):
    table = 'id,title,price\nx,"Say \\"Hi, you\\" now",1\ny,"12\\"",2\n'
    message = fails(tmp_path, {"ev.csv": LOG, "it.csv": table}, items={})
    assert "it.csv, row 2: a quote inside of a quoted cell" in message and "set `escape: '\\'`" in message
    run(tmp_path, {}, items={"escape": "\\"})
    assert items(tmp_path) == [("x", "Say 'Hi, you' now", "1"), ("y", "12'", "2")]


@pytest.mark.parametrize(
    "cell, title",
    [('"a ""quoted"" word"', "a 'quoted' word"), ('5" vinyl', "5' vinyl"), ('"a\nb, c"', "a b, c"), ('"""x"""', "'x'")],
)
def test_quotes_that_are_right(tmp_path, cell, title):
    run(tmp_path, {"ev.csv": LOG, "it.csv": f"id,title,price\nx,{cell},1\n"}, items={})
    assert items(tmp_path) == [("x", title, "1")]


@pytest.mark.parametrize("separator, written", [("::", "::"), ("\t", "\t"), ("\t", "\\t"), (" ¦ ", " ¦ "), (";", ";")])
def test_separators(tmp_path, separator, written):
    run(tmp_path, {"ev.csv": LOG.replace(",", separator)}, {"separator": written})
    assert [row[:2] for row in events(tmp_path)] == [("a", "x"), ("b", "x"), ("a", "y")]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "latin-1", "utf-32"])
@pytest.mark.parametrize("ending", ["csv", "json"])
def test_encodings(tmp_path, encoding, ending):
    text = {"csv": "u,i,stars,t\né,x,1,100\n", "json": '{"u": "é", "i": "x", "stars": 1, "t": 100}\n'}[ending]
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    run(tmp_path, {f"ev.{ending}": (mark + text).encode(encoding)}, {"encoding": encoding})
    assert events(tmp_path) == [("é", "x", "1", "100")]


def test_a_wrong_encoding_names_the_option(tmp_path):
    text = LOG.replace("a,", "é,")
    message = fails(tmp_path, {"ev.csv": text.encode("latin-1")})
    assert "ev.csv, row 2: not utf-8 text" in message and "`encoding`" in message and "row 4" in message
    assert "set `encoding: utf-16`" in fails(tmp_path, {"ev.csv": text.encode("utf-16")})
    assert "row 2: not ascii text" in fails(tmp_path, {"ev.csv": text.encode()}, {"encoding": "ascii"})


@pytest.mark.parametrize(
    ("content", "words_"),
    [
        (gzip.compress(LOG.encode(), mtime=0), "not utf-8 text, but gzip; let its name end in .gz"),
        (LOG.encode("utf-32"), "not utf-8 text, but UTF-32; write it as UTF-8"),
        (b"PK\x03\x04\xff\xfe", "not utf-8 text, but a zip archive; unpack it"),
        (b"PAR1\xff\xfe", "not utf-8 text, but Parquet; let its name end in .parquet"),
    ],
)
def test_files_of_another_kind_are_named(tmp_path, content, words_):
    assert words_ in fails(tmp_path, {"ev.csv": content})


def test_whole_numbers_with_a_fraction_in_json_are_the_same_ids(tmp_path):
    lines = ['{"u": 1.0, "i": "x", "stars": 1.0, "t": 1}', '{"u": 1, "i": "x", "stars": 4.5, "t": 2.0}']
    run(tmp_path, {"ev.json": "\n".join([*lines, '{"u": 1.5, "i": 1e300, "stars": 5, "t": 3}'])})
    assert events(tmp_path) == [("1", "x", "1", "1"), ("1", "x", "4.5", "2"), ("1.5", "1e+300", "5", "3")]


def test_a_wrong_separator_and_a_column_that_is_there_twice_name_the_option(tmp_path):
    assert "Set `separator: ';'`" in fails(tmp_path, {"ev.csv": LOG.replace(",", ";")})
    assert r'Set `separator: "\t"`' in fails(tmp_path, {"ev.csv": LOG.replace(",", "\t")})
    twice = "u,i,stars,t,i\na,x,1,100,5\n"
    assert "the column 'i' is there 2 times; remove its first row and name all columns by `header" in fails(
        tmp_path, {"ev.csv": twice}
    )
    run(tmp_path, {"ev.csv": "u,i,stars,t,z,z\na,x,1,100,5,6\n"})
    assert events(tmp_path) == [("a", "x", "1", "100")]


@pytest.mark.parametrize("text", ["\n\n" + LOG, LOG.replace("\n", "\r\n"), LOG.replace("b,", "\n\nb,"), "\ufeff" + LOG])
def test_line_ends_blank_lines_and_marks(tmp_path, text):
    run(tmp_path, {"ev.csv": text})
    assert [row[-1] for row in events(tmp_path)] == ["100", "101", "102"]


@pytest.mark.parametrize(
    "text, options, words_",
    [
        (LOG.replace("\n", "\r"), {}, "expected a header of column names and a line end"),
        (LOG, {"encoding": "rot13"}, "'rot13' is unknown"),
        (LOG.encode("utf-16-le"), {"encoding": "utf-16"}, "set `encoding` to utf-16-le or utf-16-be"),
        (LOG, {"files": "/etc/ev.csv"}, "expected a pattern of files below"),
        (LOG, {"files": "../ev.csv"}, "expected a pattern of files below"),
        ("", {}, "the file is empty"),
    ],
)
def test_files_that_cannot_be_read_are_one_line(tmp_path, text, options, words_):
    assert words_ in fails(tmp_path, {"ev.csv": text}, options)


# ---- cells that look like something else ----


@pytest.mark.parametrize("time", ["0x10", "0X1f", "1_000", "nan", "inf", "1 000", ""])
@pytest.mark.parametrize("unit", [None, "ms"])
def test_times_that_are_no_numbers(tmp_path, time, unit):
    table = f"u,i,stars,t\na,x,1,{time}\n"
    assert f"row 2: 't' is '{time}'; expected a" in fails(tmp_path, {"ev.csv": table}, {"unit": unit} if unit else {})


@pytest.mark.parametrize("stars", ["0x10", "1_000", "nan", "-inf", "1e400", "½", "true", "NA", "1,5", "1 000"])
def test_cells_that_are_no_numbers(tmp_path, stars):
    assert f"row 2: 'stars' is '{stars}'; expected a" in fails(tmp_path, {"ev.csv": f'u,i,stars,t\na,x,"{stars}",1\n'})


@pytest.mark.parametrize("stars, number", [("1e0", "1"), ("+1", "1"), (" 1 ", "1"), ("1.", "1"), ("١", "1")])
def test_cells_that_are_numbers(tmp_path, stars, number):
    run(tmp_path, {"ev.csv": f"u,i,stars,t\na,x,{stars},1e0\n"})
    assert events(tmp_path) == [("a", "x", number, "1")]


def test_days_written_as_numbers_name_the_unit(tmp_path):
    days = [20240131, 20231201]
    table = "u,i,stars,t\n" + "".join(f"a,x{n},1,{day}\n" for n, day in enumerate(days))
    for files in ({"ev.csv": table}, {"ev.parquet": log(t=days)}):
        assert "'t' holds dates such as 20240131; set `unit: '%Y%m%d'`" in fails(tmp_path, files)
        run(tmp_path, {}, {"unit": "%Y%m%d"})
        assert [row[-1] for row in events(tmp_path)] == ["1701388800", "1706659200"]
        for file in files:
            (tmp_path / "raw" / file).unlink()
    run(tmp_path, {"ev.csv": table}, {"unit": "s"})
    assert [row[-1] for row in events(tmp_path)] == ["20231201", "20240131"]


@pytest.mark.parametrize("name", ["a\\u0000b", "a\\u001bb", "[PAD]", "a\\tb", " \\ufeff", ""])
def test_ids_that_cannot_be(tmp_path, name):
    line = f'{{"u": "{name}", "i": "x", "stars": 1, "t": 1}}\n'
    assert "row 1: 'u' is " in fails(tmp_path, {"ev.json": line})
    for value in ("NaN", "true", "null"):
        message = fails(tmp_path, {"ev.json": line.replace(f'"{name}"', value)})
        assert "row 1: 'u' is " in message and "expected " in message


def test_ids_of_other_types(tmp_path):
    ids = pa.array([1, 2]).cast(pa.decimal128(21, 2))
    run(tmp_path, {"ev.parquet": log(u=ids)})
    assert [row[0] for row in events(tmp_path)] == ["1", "2"]
    for column in (pa.array([True, False]), pa.array([1, 2], pa.date32()), pa.array([1, 2], pa.duration("s"))):
        assert f"'u' is of type {column.type}" in fails(tmp_path, {"ev.parquet": log(u=column)})
    assert "row 2: 'u' is None; expected an id" in fails(tmp_path, {"ev.parquet": log(u=["a", None])})
    assert "'t' is of type bool; expected times" in fails(tmp_path, {"ev.parquet": log(t=pa.array([True, False]))})
    far = pa.array([2**62, 0]).cast(pa.timestamp("us"))
    assert f"row 1: 't' is timestamp[us] {2**62}; expected a date" in fails(tmp_path, {"ev.parquet": log(t=far)})


def test_files_with_marks_that_were_put_together(tmp_path):
    run(tmp_path, {"ev.csv": "\ufeff" + LOG + "\ufeffb,z,4,103\n"})
    assert events(tmp_path)[-1][0] == "b"


def test_a_field_twice_in_a_row_of_json(tmp_path):
    line = '{"u": "a", "i": "x", "stars": 1, "t": 1}\n'
    message = fails(tmp_path, {"ev.json": line + line.replace('"t"', '"stars": 5, "t"')})
    assert "row 2: the field 'stars' is there twice; expected one value" in message


@pytest.mark.parametrize(
    "name, text", [("ev.csv", "u,i,stars,t"), ("ev.csv", "u,i,stars,t\n"), ("ev.json", ""), ("ev.json", "\n")]
)
def test_files_without_rows(tmp_path, name, text):
    message = fails(tmp_path, {name: text})
    assert "hold no events" in message or "the files are empty" in message


def test_numbers_of_tables_with_gaps_are_whole_words_and_no_nan(tmp_path):
    table = {"id": ["x", "y"], "title": pa.array([1994.0, float("nan")]), "price": [1.0, None]}
    run(tmp_path, {"ev.csv": LOG, "it.parquet": table}, items={})
    assert items(tmp_path) == [("x", "1994", "1"), ("y", "", "")]
    lines = '{"id": "x", "title": [1994.0, NaN], "price": NaN}\n{"id": "y", "title": NaN, "price": 1}\n'
    (tmp_path / "raw" / "it.parquet").unlink()
    run(tmp_path, {"it.json": lines}, items={})
    assert items(tmp_path) == [("x", "1994", ""), ("y", "", "1")]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["ev.csv", "ev.json"])
def test_utf16_without_a_mark_names_the_option(tmp_path, encoding, name):
    text = LOG if name == "ev.csv" else '{"u": "a", "i": "x", "stars": 1, "t": 1}\n'
    assert f"set `encoding: {encoding}`" in fails(tmp_path, {name: text.encode(encoding)})


def test_dates_in_a_form_of_their_own_name_the_unit(tmp_path):
    table = 'u,i,stars,t\na,x,1,"Feb 17, 2021"\n'
    assert "set `unit: iso` or a format such as '%b %d, %Y'" in fails(tmp_path, {"ev.csv": table})
    run(tmp_path, {}, {"unit": "%b %d, %Y"})
    assert events(tmp_path)[0][-1] == "1613520000"


def test_lists_of_numbers_hold_numbers(tmp_path):
    fields = {"fields": {"v": "float_seq"}}
    run(tmp_path, {"ev.csv": LOG, "it.csv": "id,v\nx,1 2.5\ny,\n"}, items=fields)
    assert items(tmp_path) == [("x", "1 2.5"), ("y", "")]
    for wrong in ("1 two", "1 nan", "1_0"):
        message = fails(tmp_path, {"it.csv": f"id,v\nx,{wrong}\n"}, items=fields)
        assert f"row 2: 'v' is '{wrong}'; expected numbers between blanks" in message


@pytest.mark.parametrize("option", [{"separator": ";"}, {"escape": "\\"}, {"header": ["u"]}])
def test_an_option_that_the_format_does_not_have_is_named(tmp_path, option):
    line = '{"u": "a", "i": "x", "stars": 1, "t": 1}\n'
    assert f"events.{next(iter(option))}: the files are json; it is for csv only" in fails(
        tmp_path, {"ev.json": line}, option
    )
