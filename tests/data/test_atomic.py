import numpy as np
import pytest

from recbole_conrec.data import atomic
from recbole_conrec.utils.errors import UserError

HEAD = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"


def read_strings(path, fields=None, **format_):
    return atomic.text_frame(atomic.read_columns(path, fields, **format_))


def write(tmp_path, text, name="x.inter", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def test_every_character_is_kept(tmp_path):
    path = write(tmp_path, 'item_id:token\ttitle:token_seq\n1\t"Quoted\n2\tNA\n3\tit\'s, "so"\n4\tNone\n5\t\n')
    frame = read_strings(path)
    assert frame["title"].tolist() == ['"Quoted', "NA", 'it\'s, "so"', "None", ""]
    assert frame.index.tolist() == [2, 3, 4, 5, 6]


def test_windows_line_ends_marks_and_blank_lines(tmp_path):
    path = write(tmp_path, "\ufeff" + HEAD.replace("\n", "\r\n") + "1\t2\t3\t4\r\n\r\n5\t6\t7\t8\r\n\r\n")
    frame = read_strings(path)
    assert frame["user_id"].tolist() == ["1", "5"] and frame.index.tolist() == [2, 4]
    assert frame["timestamp"].tolist() == ["4", "8"]


@pytest.mark.parametrize("row,word", [("1\t2\t3", "row 4 has 3 fields instead of 4"), ("1\t2\t3\t4\t5", "row 4 has 5")])
def test_a_row_of_the_wrong_length_is_named(tmp_path, row, word):
    path = write(tmp_path, HEAD + "1\t2\t3\t4\n1\t2\t3\t4\n" + row + "\n1\t2\t3\t4\n")
    with pytest.raises(UserError) as error:
        read_strings(path)
    assert word in str(error.value) and str(path) in str(error.value)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(UserError, match="nothing.inter: there is no such file.*data_path"):
        read_strings(tmp_path / "nothing.inter")
    path = write(tmp_path, HEAD)
    with pytest.raises(UserError, match="no field 'stars'; it has user_id, item_id, rating, timestamp"):
        read_strings(path, ["stars"])
    with pytest.raises(UserError, match="row 1: 'rating'; expected name:type"):
        atomic.read_header(write(tmp_path, "user_id:token\trating\n1\t2\n"))
    with pytest.raises(UserError, match="row 1: 'rating:number'; expected"):
        atomic.read_header(write(tmp_path, "user_id:token\trating:number\n1\t2\n"))


def test_text_of_another_encoding_is_refused_and_can_be_named(tmp_path):
    path = write(tmp_path, "item_id:token\ttitle:token\n1\tAmélie\n", encoding="latin-1")
    with pytest.raises(UserError, match="not utf-8 text .*; set `encoding`"):
        read_strings(path)
    assert read_strings(path, encoding="latin-1")["title"].tolist() == ["Amélie"]


def column(tmp_path, values, name="timestamp"):
    text = f"{name}:float\tx:token\n" + "".join(f"{v}\t1\n" for v in values)
    return atomic.read_columns(write(tmp_path, text), [name])[name]


@pytest.mark.parametrize(
    "values,expected",
    [
        (["874965758", "1999999999"], [874965758, 1999999999]),
        (["874965758.0", "1999999999"], [874965758, 1999999999]),
        (["8.74965758e8", "-5.0", "0"], [874965758, -5, 0]),
        ([str(2**62), str(2**62 + 1)], [2**62, 2**62 + 1]),
        (["9007199254740991.0"], [2**53 - 1]),
    ],
)
def test_times_are_exact(tmp_path, values, expected):
    times = column(tmp_path, values).times()
    assert times.dtype == np.int64 and times.tolist() == expected


@pytest.mark.parametrize(
    "values,row,shown",
    [
        (["1", "2", "soon"], 4, "'soon'"),
        (["1", "", "3"], 3, "''"),
        (["1", "2.5"], 3, "'2.5'"),
        (["1", "nan"], 3, "'nan'"),
        (["1", "inf"], 3, "'inf'"),
        (["1.0", "9007199254740994"], 3, "'9007199254740994'"),
    ],
)
def test_a_time_that_is_no_whole_number_is_named(tmp_path, values, row, shown):
    with pytest.raises(UserError) as error:
        column(tmp_path, values).times()
    assert f"x.inter: row {row}: timestamp is {shown}; expected a " in str(error.value)
    assert "number" in str(error.value)


def test_a_number_that_is_none_is_named(tmp_path):
    with pytest.raises(UserError, match="x.inter: row 3: rating is 'good'; expected a number. Correct or remove"):
        column(tmp_path, ["1", "good"], "rating").floats()
    empty = column(tmp_path, ["1", "", "0.1"], "rating")
    np.testing.assert_array_equal(empty.floats(empty=True), [1, np.nan, 0.1])
    with pytest.raises(UserError, match="row 3"):
        empty.floats()


def test_numbers_that_only_python_reads_are_read(tmp_path):
    assert column(tmp_path, [" 3", "+0.25"], "rating").floats().tolist() == [3.0, 0.25]


def test_tokens_are_kept_and_an_empty_id_is_named(tmp_path):
    columns = atomic.read_columns(write(tmp_path, HEAD + "1\t2\t3\t4\n\t2\t3\t4\n01\tNA\t3\t4\n"))
    assert columns["item_id"].tokens().tolist() == ["2", "2", "NA"]
    with pytest.raises(UserError, match="row 3: user_id is ''; expected an id"):
        columns["user_id"].tokens()
    found = columns["user_id"].tokens(empty=True)
    assert found[[0, 2]].tolist() == ["1", "01"] and np.isnan(found[1])


def test_sequences_are_split(tmp_path):
    path = write(tmp_path, "a:token_seq\tb:float_seq\nx y  z\t1 2.5\n\t\nq\t-1e3\n r \t\n")
    columns = atomic.read_columns(path)
    assert [row.tolist() for row in columns["a"].sequences(" ")] == [["x", "y", "z"], ["q"], ["r"]]
    assert [row.tolist() for row in columns["b"].sequences(" ", floats=True)] == [[1.0, 2.5], [-1000.0], []]
    with pytest.raises(UserError, match="row 4: b is 'two'"):
        atomic.read_columns(write(tmp_path, "b:float_seq\n1\n3\n1 two\n"))["b"].sequences(" ", floats=True)


@pytest.mark.parametrize(
    "time, words",
    [
        ("1700000000000", "not 55840; it seems to be in ms: divide all by 1,000"),
        ("1700000000000000000", "it seems to be in ns: divide all by 1,000,000,000"),
        ("1700000000000.0", "in ms"),
        ("-99999999999", "expected seconds since 1970 in a year from 1900 to 2242"),
    ],
)
def test_times_of_an_impossible_year_are_named(tmp_path, time, words):
    with pytest.raises(UserError) as error:
        column(tmp_path, ["1700000000", time, time]).times(plausible=True)
    assert f"x.inter: row 3: timestamp is '{time}'" in str(error.value) and words in str(error.value)
    assert str(error.value).endswith("Correct or remove that row, and rows 4")


@pytest.mark.parametrize("times", [["0", "1", "2"], ["-86400", "8000000000"], ["874965758.0", "-2000000000"]])
def test_times_of_a_plausible_year_or_an_order_are_kept(tmp_path, times):
    assert column(tmp_path, times).times(plausible=True).tolist() == [int(float(time)) for time in times]


def test_every_bad_row_is_named(tmp_path):
    path = write(tmp_path, HEAD + "1\t2\t3\t4\n1\t2\n1\t2\t3\t4\n1\n1\t2\t3\t4\t5\n")
    with pytest.raises(UserError, match="row 3 has 2 fields instead of 4: .* that row, and rows 5, 6$"):
        read_strings(path)
    with pytest.raises(UserError, match="row 2: rating is 'x'; expected a number. .* that row, and rows 4$"):
        column(tmp_path, ["x", "1", "y"], "rating").floats()


def test_a_header_names_the_field_that_is_there_twice_and_the_separator(tmp_path):
    with pytest.raises(UserError, match="row 1: the field 'a' is there twice"):
        atomic.read_header(write(tmp_path, "a:token\tb:token\ta:float\n1\t2\t3\n"))
    with pytest.raises(UserError, match="is its separator ','. Set `field_separator`"):
        atomic.read_header(write(tmp_path, "a:token,b:float\n1,2\n"))


def test_blanks_around_an_id_do_not_count(tmp_path):
    path = write(tmp_path, "user_id:token\n" + "".join(f"{one}\n" for one in ("b", " a", "a ", "a", "\u00a0b", "c d")))
    ids = atomic.read_columns(path)["user_id"].ids()
    assert [ids.categories[code] for code in ids.codes] == ["b", "a", "a", "a", "b", "c d"]
    assert list(ids.categories) == ["b", "a", "c d"]


@pytest.mark.parametrize("wrong", ["[PAD]", " ", " [PAD] "])
def test_an_id_that_is_none_is_named(tmp_path, wrong):
    path = write(tmp_path, f"user_id:token\titem_id:token\na\tx\n{wrong}\ty\n")
    with pytest.raises(UserError, match=r"row 3: user_id is '.*'; expected an id"):
        atomic.read_columns(path)["user_id"].ids()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x1f\x8b\x08\x00", "not utf-8 text, but gzip; unpack it"),
        ((HEAD + "a\tb\t1\t2\n").encode("utf-16"), "not utf-8 text, but utf-16; set `encoding: utf-16`"),
        (b"", "row 1: it is empty; expected a header of name:type"),
    ],
)
def test_a_file_that_is_no_text_is_named(tmp_path, content, words):
    (tmp_path / "x.inter").write_bytes(content)
    with pytest.raises(UserError, match=words):
        atomic.read_header(tmp_path / "x.inter")


def test_blanks_around_ids_join_events_and_items(make_tiny, tiny_path, tmp_path):
    (tmp_path / "tiny").mkdir()
    for suffix in ("inter", "item"):
        text = (tiny_path / "tiny" / f"tiny.{suffix}").read_text()
        text = text.replace("u1\t", "u1 \t") if suffix == "inter" else text.replace("\ni7\t", "\n i7\t")
        (tmp_path / "tiny" / f"tiny.{suffix}").write_text(text)
    stripped, whole = make_tiny(data_path=str(tmp_path))[1], make_tiny()[1]
    assert (stripped.user_num, stripped.item_num) == (whole.user_num, whole.item_num)
    assert stripped.item_text() == whole.item_text()


@pytest.mark.parametrize("time", ["0x10", "1_000", "nan", "inf", "1e400"])
def test_what_only_a_programming_language_reads_is_no_time_and_no_number(tmp_path, time):
    for read in (atomic.Column.times, atomic.Column.floats):
        with pytest.raises(UserError, match=f"row 3: timestamp is '{time}'; expected a"):
            read(column(tmp_path, ["1", time]))


def test_marks_inside_of_files_that_were_put_together(tmp_path):
    ids = column(tmp_path, ["a", "\ufeffa", "b\ufeff "]).ids()
    assert list(ids) == ["a", "a", "b"]
