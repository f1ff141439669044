import json
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from rawfiles import convert, options, read, rows, write

from recbole_conrec.data.convert.sections import EventsSection, ItemsSection
from recbole_conrec.data.protocol import Protocol
from recbole_conrec.utils.errors import UserError

MAPPING = {
    "events": {
        "files": "events/*.csv",
        "user": "who",
        "item": "what",
        "time": "at",
        "unit": "iso",
        "fields": {"rating": {"column": "stars", "type": "float"}, "device": "token"},
    },
    "items": {
        "files": "items.json",
        "item": "id",
        "fields": {"title": "token_seq", "tags": "token_seq", "price": "float"},
    },
    "feedback": {"negative": "rating <= 2", "positive": None},
    "split": {"by": "user", "ratio": [0.8, 0.1, 0.1]},
    "item_text": ["title"],
}
FILES = {
    "events/1.csv": 'who,what,at,stars,device\nann,"a, b",2024-01-31 10:00:00.9,2.5,"TV\nset"\n'
    "ann,x,2024-01-31T11:00:00,1,phone\n",
    "events/2.csv": "who,what,at,stars,device\nbob,x,2024-01-31,2,\n",
    "items.json": '{"id": "a, b", "title": "one \\"1\\"\\n", "tags": ["p", "q"], "price": 3, "extra": {"y": 1}}\n'
    '{"id": "x", "title": null, "tags": null, "price": 2.5}\n',
}


def run(tmp_path, mapping=None, files=None, **changes):
    raw = write(tmp_path / "raw", files or FILES)
    mapping = mapping or MAPPING | changes
    (tmp_path / "mapping.yaml").write_text(yaml.safe_dump(mapping, sort_keys=False))
    return convert("generic", raw, tmp_path / "out", dataset="mine", mapping=str(tmp_path / "mapping.yaml"))


def test_csv_events_and_json_items(tmp_path):
    summary = run(tmp_path)
    assert rows(read(tmp_path / "out", "mine", "inter")) == [
        ("bob", "x", "2", "", "1706659200"),
        ("ann", "a, b", "2.5", "TV set", "1706695200"),
        ("ann", "x", "1", "phone", "1706698800"),
    ]
    assert (
        (tmp_path / "out/mine/mine.inter")
        .read_text()
        .startswith("user_id:token\titem_id:token\trating:float\tdevice:token\ttimestamp:float\n")
    )
    assert rows(read(tmp_path / "out", "mine", "item")) == [("a, b", "one '1'", "p q", "3"), ("x", "", "", "2.5")]
    assert options(tmp_path / "out", "mine")["split"] == MAPPING["split"]
    assert summary["negatives"] == 2 and summary["positives"] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit, value, seconds",
    [
        ("s", 1706659200, 1706659200),
        ("s", 1706659200.75, 1706659200),
        ("ms", 1706659200999, 1706659200),
        ("us", 1706659200999999, 1706659200),
        ("ns", 1706659200999999999, 1706659200),
        ("iso", "2024-01-31T01:00:00+01:00", 1706659200),
        ("iso", "2024-01-31 00:00:00Z", 1706659200),
        ("iso", datetime(2024, 1, 31, 0, 0, 0, 500_000), 1706659200),
    ],
)
def test_units_of_time_from_parquet_json_and_csv(tmp_path, unit, value, seconds):
    events = MAPPING["events"] | {"unit": unit, "files": "e.*", "fields": {"rating": "float"}}
    mapping = {"events": events, "feedback": {"negative": "rating < 3"}}
    raw = tmp_path / "raw"
    raw.mkdir()
    for ending in ("parquet", "jsonl", "csv"):
        for file in raw.iterdir():
            file.unlink()
        if ending == "parquet":
            pq.write_table(pa.table({"who": [7], "what": ["x"], "at": [value], "rating": [1]}), raw / "e.parquet")
        elif isinstance(value, datetime):
            continue
        elif ending == "jsonl":
            (raw / "e.jsonl").write_text(json.dumps({"who": 7, "what": "x", "at": value, "rating": 1}) + "\n")
        else:
            (raw / "e.csv").write_text(f"who,what,at,rating\n7,x,{value},1\n")
        (tmp_path / "m.yaml").write_text(yaml.safe_dump(mapping, sort_keys=False))
        convert("generic", raw, tmp_path / ending, dataset="d", mapping=str(tmp_path / "m.yaml"))
        assert rows(read(tmp_path / ending, "d", "inter")) == [("7", "x", "1", str(seconds))]


def test_a_window_of_days_needs_times(tmp_path):
    """A log like goodbooks-10k's: user_id, book_id, rating, and no time."""
    events = {"files": "ratings.csv", "user": "user_id", "item": "book_id", "fields": {"rating": "float"}}
    files = {"ratings.csv": "user_id,book_id,rating\n1,258,5\n2,4081,1\n"}
    for window in ({}, {"window": {"unit": "seconds", "length": 9}}):
        with pytest.raises(UserError, match="events: without `time` there are no (days|seconds) for `window` to count"):
            run(tmp_path, {"events": events, "feedback": {"negative": "rating <= 2"}, **window}, files)


def test_without_time_the_order_of_the_rows_is_the_time(tmp_path, capsys):
    mapping = {
        "events": {
            "files": "log.txt",
            "separator": "|",
            "header": ["u", "i", "r"],
            "user": "u",
            "item": "i",
            "encoding": "latin-1",
            "fields": {"r": "float"},
        },
        "feedback": {"negative": "r == 1"},
        "window": {"unit": "events", "length": 20},
    }
    run(tmp_path, mapping, {"log.txt": "b|é|1\na|x|0\nb|é|1\n".encode("latin-1")})
    assert "the rows must be in order of time" in capsys.readouterr().out
    assert rows(read(tmp_path / "out", "mine", "inter")) == [
        ("b", "é", "1", "0"),
        ("a", "x", "0", "1"),
        ("b", "é", "1", "2"),
    ]


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"events": {"files": "events/*.csv", "user": "who"}}, "mapping.yaml: events.item is needed"),
        (
            {"events": MAPPING["events"] | {"usr": "x"}},
            "mapping.yaml: events: unknown option 'usr'; did you mean 'user'",
        ),
        ({"events": MAPPING["events"] | {"files": "*.tsv"}}, "no file .*.tsv"),
        ({"events": MAPPING["events"] | {"time": "when"}}, "1.csv: no column 'when'; found who, what"),
        (
            {"events": MAPPING["events"] | {"unit": "days"}},
            "events.unit: 'days'; expected s, ms, us, ns, iso, or a format",
        ),
        (
            {"events": MAPPING["events"] | {"format": "xml"}},
            "events.format: 'xml'; expected one of csv, json, parquet or null",
        ),
        (
            {"events": MAPPING["events"] | {"fields": {"stars": "number"}}},
            "events.fields.stars: 'number'; expected one of token, float, token_seq, float_seq",
        ),
        ({"events": MAPPING["events"] | {"fields": {"user_id": "token"}}}, "another name than"),
        (
            {"events": MAPPING["events"] | {"fields": MAPPING["events"]["fields"] | {"device": "float"}}},
            "row 2: 'device' is 'TV",
        ),
        ({"events": "events.csv"}, "mapping.yaml: events: 'events.csv'; expected a mapping"),
        ({"feedback": {}}, "mapping.yaml: feedback.negative is needed"),
        (
            {"items": MAPPING["items"] | {"fields": {"title": "token", "name": "token"}}},
            "items: no row has a field 'name'; found id, title, tags, price, extra",
        ),
        ({"events": MAPPING["events"] | {"fields": ["rating"]}}, "events.fields: \\['rating'\\]; expected a mapping"),
        ({"events": MAPPING["events"] | {"encoding": "utf-9"}}, "events.encoding: 'utf-9' is unknown to Python"),
        (
            {"events": MAPPING["events"] | {"fields": {"rating": {"column": "stars"}}}},
            "events.fields.rating.type is needed; expected one of token",
        ),
        ({"events": MAPPING["events"] | {"user": 7}}, "events.user: 7; expected text"),
        ({"windw": {"unit": "events", "length": 3}}, "unknown key 'windw'; did you mean 'window'"),
        ({"itms": {}}, "unknown key 'itms'; did you mean 'items'"),
        ({"window": {"unit": "weeks", "length": 3}}, "mapping.yaml: window.unit: 'weeks'"),
        ({"window": {"lenght": 3}}, "mapping.yaml: window: unknown option 'lenght'; did you mean 'length'"),
        ({"split": {"by": "weekday"}}, "mapping.yaml: split.by: 'weekday'"),
        (
            {"feedback": {"negative": "rating <= 2", "postive": "rating > 3"}},
            "mapping.yaml: feedback: unknown option 'postive'",
        ),
        ({"item_text": ["tittle"]}, "item_text: 'tittle' is no field of 'items'; did you mean 'title'"),
        ({"item_category": "category"}, "item_category: 'category' is no field .* title, tags, price"),
        ({"feedback": {"negative": "rating <= 2", "positive": "rating >= 2"}}, "user 'bob', item 'x': .* both"),
    ],
)
def test_mistakes_in_the_mapping_are_named(tmp_path, changes, words):
    with pytest.raises(UserError, match=words):
        run(tmp_path, **changes)
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"feedback": {"negative": "ratng <= 2"}},
        {"windw": {"unit": "days", "length": 7}},
        {"window": {"unit": "weeks", "length": 7}},
        {"item_text": ["tittle"]},
    ],
)
def test_the_protocol_is_checked_before_anything_is_read(tmp_path, monkeypatch, changes):
    def read(*_, **__):
        raise AssertionError("events were read")

    monkeypatch.setattr("recbole_conrec.data.convert.generic.csv_chunks", read)
    with pytest.raises(UserError):
        run(tmp_path, **changes)


def test_a_rule_on_a_field_that_is_not_kept_is_named(tmp_path):
    with pytest.raises(UserError, match="'ratng <= 2' reads 'ratng'.*; did you mean 'rating'"):
        run(tmp_path, feedback={"negative": "ratng <= 2"})


@pytest.mark.parametrize("sign", ['"', "\t", "\r", "\n"])
def test_an_id_that_an_atomic_file_cannot_hold_is_named(tmp_path, sign):
    user = json.dumps(f"x{sign}y")
    events = MAPPING["events"] | {"files": "e.jsonl", "unit": "s", "fields": {"rating": "float"}}
    with pytest.raises(UserError, match="row 1: 'who' is .x.+y.; expected an id without"):
        run(
            tmp_path,
            {"events": events, "feedback": {"negative": "rating < 3"}},
            {"e.jsonl": f'{{"who": {user}, "what": "i", "at": 1, "rating": 1}}\n'},
        )


def test_the_mapping_is_needed(tmp_path):
    with pytest.raises(UserError, match="convert generic.mapping is needed"):
        convert("generic", tmp_path, tmp_path / "out")


def test_the_mapping_of_the_docs_is_valid():
    page = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")
    block = page[page.index("    events:\n") :].split("\n\n")[0]
    mapping = yaml.safe_load(block)
    assert EventsSection.read(mapping.pop("events"), "events").unit == "iso"
    assert list(ItemsSection.read(mapping.pop("items"), "items").fields) == ["title", "category"]
    assert Protocol.of(mapping).window.length == 7


def test_recboles_options_for_data_are_passed_on(tmp_path):
    run(tmp_path, val_interval={"rating": "[0, 4]"})
    written = yaml.safe_load((tmp_path / "out" / "mine" / "mine.yaml").read_text())
    assert written["val_interval"] == {"rating": "[0, 4]"}
