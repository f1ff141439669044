"""What every converter relies on: order, repeats, whole data sets or none, errors that name the place."""

import itertools
import os
import resource

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from rawfiles import convert, read, rows, write

from recbole_conrec.data.convert import CONVERTERS, sorting
from recbole_conrec.data.convert.draft import Draft, text_tables
from recbole_conrec.data.convert.json_lines import json_chunks, literal_lines
from recbole_conrec.data.convert.reading import csv_chunks, parquet_chunks
from recbole_conrec.data.convert.streams import Replaced
from recbole_conrec.data.convert.writing import clean, new_dataset
from recbole_conrec.utils.errors import UserError


@pytest.mark.parametrize("run, part, batch", [(1, 1, 1), (7, 3, 2), (50, 10, 7), (50, 40, 100), (1000, 1000, 1000)])
def test_external_sort_is_a_stable_sort(tmp_path, monkeypatch, run, part, batch):
    monkeypatch.setattr(sorting, "RUN", run)
    monkeypatch.setattr(sorting, "RANGE", part)
    monkeypatch.setattr(sorting, "BATCH", batch)
    rng = np.random.default_rng(run)
    times, number = rng.integers(0, 40, 300), np.arange(300)
    sorter = sorting.TimeSorter(tmp_path, "t")
    for rows_ in np.array_split(number, 23):
        sorter.add(pa.table({"t": times[rows_], "n": rows_}))
    tables = list(sorter.sorted())
    found = pa.concat_tables(tables).to_pandas()
    expected = pd.DataFrame({"t": times, "n": number}).sort_values("t", kind="stable")
    assert found.to_numpy().tolist() == expected.to_numpy().tolist()
    for earlier, later in itertools.pairwise(tables):  # ties are in one table
        assert earlier["t"][-1].as_py() < later["t"][0].as_py()


def test_sorting_in_pieces_keeps_memory_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(sorting, "RUN", 100)
    monkeypatch.setattr(sorting, "RANGE", 100)
    monkeypatch.setattr(sorting, "BATCH", 10)
    sorter = sorting.TimeSorter(tmp_path, "t")
    for piece in np.array_split(np.random.default_rng(0).permutation(10_000), 200):
        sorter.add(pa.table({"t": piece}))
        assert sum(map(len, sorter._waiting)) < 200
    assert max(map(len, sorter.sorted())) < 300


def test_few_files_are_open_however_many_runs_there_are(tmp_path, monkeypatch):
    monkeypatch.setattr(sorting, "RUN", 5)
    monkeypatch.setattr(sorting, "RANGE", 50)
    monkeypatch.setattr(sorting, "BATCH", 4)
    monkeypatch.setattr(sorting, "FILES", 4)
    times = np.random.default_rng(0).integers(0, 300, 2000)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = os.open(os.devnull, os.O_RDONLY)  # numbers of open files are given from below
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare + 40, hard))
    try:
        sorter = sorting.TimeSorter(tmp_path, "t")
        for number in np.array_split(np.arange(2000), 400):
            sorter.add(pa.table({"t": times[number], "n": number}))
        assert len(list(tmp_path.iterdir())) < 20
        tables = list(sorter.sorted())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.close(spare)
    assert pa.concat_tables(tables)["n"].to_pylist() == np.argsort(times, kind="stable").tolist()
    assert max(map(len, tables)) < 200


def test_repeats_are_rows_equal_in_everything(tmp_path):
    table = pa.table({"t": [1, 1, 1, 2, 2, 3], "u": list("ababab"), "r": [5, 5, 5, 1, 2, 3]})
    kept = sorting.without_repeats(table, "t")
    assert rows(kept.to_pandas()) == [(1, "a", 5), (1, "b", 5), (2, "b", 1), (2, "a", 2), (3, "b", 3)]


@pytest.mark.parametrize(
    "raw, cell",
    [("a\tb\r\nc", "a b c"), ('say "hi"', "say 'hi'"), ("  x \u2028 y\x00\x1f", "x y"), (None, ""), (3, "3"), ("", "")],
)
def test_cells_are_clean(raw, cell):
    assert clean(raw) == cell


@pytest.mark.parametrize("block", [1, 2, 3, 5, 1000])
def test_long_separators_across_blocks(monkeypatch, block):
    import io

    monkeypatch.setattr("recbole_conrec.data.convert.streams.BLOCK", block)
    text = b"1::22::3\r\n::::\n:a::b:\nlast::line"
    reader = Replaced(io.BytesIO(text), b"::")
    found = b""
    while part := reader.read(4):
        assert len(part) <= 4
        found += part
    assert found == text.replace(b"::", b"\x1f")


def raw_ml(tmp_path, ratings, movies="movieId,title,genres\n1,A (1990),Drama\n"):
    return write(tmp_path / "raw", {"ratings.csv": ratings, "movies.csv": movies})


@pytest.mark.slow
@pytest.mark.parametrize(
    "ratings, movies, words",
    [
        ("userId,movieId,rating,timestamp\n1,1,2,10\n1,2,bad,11\n", None, ["ratings.csv, row 3", "'rating'", "'bad'"]),
        ("userId,movieId,rating,timestamp\n1,1,2,10\n1,2,2\n", None, ["ratings.csv, row 3", "3 cells, expected 4"]),
        ("userId,movieId,rating,timestamp\n1,1,2,10.5\n", None, ["row 2", "'timestamp'", "whole number"]),
        ("userId,movieId,rating,timestamp\n1,,2,10\n", None, ["row 2", "'movieId'", "an id"]),
        ("userId,movieId,rating,timestamp\n1,1,,10\n", None, ["row 2", "'rating'", "a number"]),
        ("userId,movieId,stars,timestamp\n1,1,2,10\n", None, ["no column 'rating'", "stars"]),
        ("userId,movieId,rating,timestamp\n1,1,5,10\n", None, ["none of 1 events", "rating <= 2"]),
        ("userId,movieId,rating,timestamp\n", None, ["no events"]),
        ("", None, ["ratings.csv, row 1", "header"]),
        (
            "userId,movieId,rating,timestamp\n1,1,2,10\n",
            b"movieId,title,genres\n1,\xe9t\xe9,x\n",
            ["movies.csv", "utf-8"],
        ),
    ],
)
def test_a_mistake_in_a_file_is_named_and_leaves_nothing(tmp_path, ratings, movies, words):
    raw = raw_ml(tmp_path, ratings, *([movies] if movies else []))
    with pytest.raises(UserError) as error:
        convert("ml-20m", raw, tmp_path / "out")
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_row_far_into_a_file_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr("recbole_conrec.data.convert.streams.BLOCK", 1000)
    body = "".join(f"{n},1,2,{n}\n" for n in range(2000))
    for bad, expected in (("7,1,x,3\n", "row 2002"), ("7,1,3\n", "row 2002")):
        raw = raw_ml(tmp_path, "userId,movieId,rating,timestamp\n" + body + bad + body)
        with pytest.raises(UserError, match=expected):
            convert("ml-20m", raw, tmp_path / "out")


def test_double_colons_are_counted_too(tmp_path):
    raw = write(tmp_path / "raw", {"ratings.dat": "1::2::3::4\n1::2::3\n", "movies.dat": "2::x::y\n"})
    with pytest.raises(UserError, match="row 2: 3 cells, expected 4"):
        convert("ml-1m", raw, tmp_path / "out")


def test_missing_folders_and_files_are_named(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        convert("ml-1m", tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="ratings.dat"):
        convert("ml-1m", tmp_path / "empty", tmp_path / "out")


def test_unknown_names_and_options(tmp_path):
    with pytest.raises(UserError, match="did you mean 'ml-100k'"):
        convert("ml-10k", tmp_path, tmp_path)
    with pytest.raises(UserError, match="unknown option 'colour'"):
        convert("ml-1m", tmp_path, tmp_path, colour="red")
    with pytest.raises(UserError, match="unknown option 'name'; its options: raw, out, dataset, overwrite"):
        convert("ml-1m", tmp_path, tmp_path, name="foo")
    with pytest.raises(UserError, match="convert ml-1m.overwrite: 'no thanks'; expected true or false"):
        convert("ml-1m", tmp_path, tmp_path, overwrite="no thanks")
    with pytest.raises(UserError, match="convert ml-1m.dataset: '../x'; expected letters"):
        convert("ml-1m", tmp_path, tmp_path, dataset="../x")
    for name, converter in CONVERTERS.items():
        assert name == name.lower() and converter.description and "\n" not in converter.description


@pytest.mark.parametrize(
    "name, option, value, expected",
    [
        ("yambda-50m", "misclick_seconds", "ten", "a whole number"),
        ("yambda-50m", "misclick_seconds", 1.5, "a whole number"),
        ("yambda-50m", "misclick_seconds", True, "a whole number"),
        ("steam-australia", "year", "abc", "a whole number"),
        ("kuairand-pure", "random", 2, "true or false"),
        ("yambda-50m", "misclick_seconds", -2, "a whole number of at least -1"),
        ("generic", "mapping", True, "text"),
        ("amazon-2018", "category", None, "text"),
    ],
)
def test_options_of_another_kind_are_named(tmp_path, name, option, value, expected):
    with pytest.raises(UserError, match=f"convert {name}.{option}: {value!r}; expected {expected}"):
        convert(name, tmp_path, tmp_path / "out", **{option: value})


def test_an_existing_data_set_survives_a_failure(tmp_path):
    good = raw_ml(tmp_path / "good", "userId,movieId,rating,timestamp\n1,1,2,10\n")
    bad = raw_ml(tmp_path / "bad", "userId,movieId,rating,timestamp\n1,1,two,10\n")
    convert("ml-20m", good, tmp_path / "out")
    with pytest.raises(UserError, match="exists already; pass --overwrite to replace it, or another --dataset"):
        convert("ml-20m", good, tmp_path / "out")
    with pytest.raises(UserError, match="'two'"):
        convert("ml-20m", bad, tmp_path / "out", overwrite=True)
    assert len(read(tmp_path / "out", "ml-20m", "inter")) == 1
    convert("ml-20m", good, tmp_path / "out", overwrite=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["ml-20m"]


def test_an_interrupted_conversion_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), new_dataset(tmp_path, "x") as folder:
        (folder / "x.inter").write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_items_once_each_and_only_those_with_events(tmp_path, monkeypatch):
    monkeypatch.setattr("recbole_conrec.data.convert.draft.SLICE", 2)
    draft = Draft(tmp_path, "x")
    draft.protocol("test", {"feedback": {"negative": "r < 0", "positive": None}})
    draft.events(
        ["user_id:token", "item_id:token", "r:float", "timestamp:float"],
        [pa.table({"user_id": ["u"] * 4, "item_id": ["b", "é", "a", "c"], "r": [-1] * 4, "timestamp": range(4)})],
    )
    draft.items(
        ["item_id:token", "title:token_seq"],
        text_tables([("a", "1"), ("z", "2"), ("é", "3"), ("a", "4"), ("b", None), ("a", "5")]),
    )
    items = (tmp_path / "x.item").read_text().splitlines()
    assert items == ["item_id:token\ttitle:token_seq", "a\t1", "é\t3", "b\t"]
    assert draft.summary["items without features"] == 1


def test_json_lines_name_the_row(tmp_path, monkeypatch):
    monkeypatch.setattr("recbole_conrec.data.convert.streams.BLOCK", 300)
    fields = {"a": pa.float64(), "b": pa.string()}
    good = '{"a": 1, "b": "x", "other": {"deep": [1]}}\n' * 50
    path = tmp_path / "x.jsonl"
    path.write_text(good + '{"b": null}\n')
    assert sum(len(chunk) for chunk in json_chunks(path, fields)) == 51
    for bad, words in (('{"a": "text"}\n', "row 51: 'a' is 'text'"), ('{"a": 1,\n', "row 51: not JSON")):
        path.write_text(good + bad + good)
        with pytest.raises(UserError, match=words):
            list(json_chunks(path, fields))


def test_literals_are_read_but_never_run(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("{'a': u'it\\'s', 'b': True}\n\n{\"a\": \"it's\", \"b\": true}\n")
    assert [row for _, row in literal_lines(path)] == [{"a": "it's", "b": True}] * 2
    path.write_text("{'a': __import__('os').getcwd()}\n")
    with pytest.raises(UserError, match="row 1: neither JSON"):
        list(literal_lines(path))


def test_broken_parquet_and_csv_encodings(tmp_path):
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(UserError, match="not a Parquet file"):
        list(parquet_chunks(path, ["a"]))
    path = tmp_path / "x.csv"
    path.write_bytes('\ufeffa,b\n1,"x, y"\n'.encode())
    (chunk,) = csv_chunks(path, ["a", "b"])
    assert chunk.ids("a").to_pylist() == ["1"] and chunk.text("b") == ["x, y"]
