"""Times of every type and unit become seconds; a unit that cannot be right is an error."""

import re
from datetime import date, datetime, timezone

import pyarrow as pa
import pytest
from reallog import LOG, fails, log, run, times


def clock(*seconds):
    return [datetime.fromtimestamp(second, timezone.utc) for second in seconds]


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
@pytest.mark.parametrize("events_", [{}, {"unit": "iso"}])
def test_a_column_of_timestamps_says_its_own_unit(tmp_path, unit, zone, events_):
    column = pa.array(clock(1_700_000_000, 1_700_000_001), pa.timestamp("s", tz=zone)).cast(pa.timestamp(unit, tz=zone))
    run(tmp_path, {"ev.parquet": log(t=column)}, events_)
    assert times(tmp_path) == ["1700000000", "1700000001"]


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64()])
def test_a_column_of_dates(tmp_path, kind):
    run(tmp_path, {"ev.parquet": log(t=pa.array([date(2022, 1, 8), date(2022, 1, 9)], kind))})
    assert times(tmp_path) == ["1641600000", "1641686400"]


@pytest.mark.parametrize(
    "column, unit, expected",
    [
        (pa.array(clock(1_700_000_000, 1_700_000_001), pa.timestamp("us")), "ms", "timestamp.us.*`unit: iso`"),
        (pa.array([date(2022, 1, 8)] * 2), "s", "date32.*`unit: iso`"),
        ([1_700_000_000_000] * 2, None, "row 1: 't' is 1700000000000; .*not 55840 .set `unit: ms`.*row 2"),
        ([1_700_000_000_000_000] * 2, "ms", "set `unit: us`"),
        ([1_700_000_000] * 2, "ms", "'t' is 1700000000; expected a time in ms since 1970 .*not 1970 .set `unit: s`"),
        ([1_700_000_000] * 2, "ns", "set `unit: s`"),
        ([1.7e12, 1.7e12], "s", "set `unit: ms`"),
        ([1e19, 1e300], "s", "in a year from 1900 to 2242"),
        (pa.array([2**64 - 1] * 2, pa.uint64()), "s", "in a year from 1900 to 2242"),
        ([20_240_131, 20_240_201], "iso", "'t' is of type int64; expected dates as text; set `unit`"),
        ([5_000, 6_000], "ms", "set `relative: true` if the times do not count from 1970"),
        (pa.array([1_700_000_000, 1_700_000_001], pa.timestamp("ns")), None, "expected a date .*not 1970"),
        (["2024-01-31", "2024-02-01"], None, "holds dates such as '2024-01-31'; set `unit: iso`"),
        ([True, False], "iso", "of type bool; expected dates"),
        (pa.array([1, 2], pa.time32("s")), None, "of type time32.ms.; expected numbers"),
    ],
)
def test_a_wrong_unit_is_named(tmp_path, column, unit, expected):
    message = fails(tmp_path, {"ev.parquet": log(t=column)}, {"unit": unit} if unit else {})
    assert re.search(expected, message), message


@pytest.mark.parametrize("time", ["1700000000000", "99999999999999999999", "1e300"])
def test_text_of_an_impossible_time_is_named(tmp_path, time):
    assert f"row 2: 't' is '{time}'" in fails(tmp_path, {"ev.csv": f"u,i,stars,t\na,x,1,{time}\n"})


@pytest.mark.parametrize(
    "unit, text",
    [
        ("%b %d, %Y", '"Feb 17, 2021"'),
        ("%d.%m.%y", "17.02.21"),
        ("%Y%m%d", "20210217"),
        ("%Y-%m-%d %H:%M:%S %z", "2021-02-17 01:00:00 +0100"),
        ("iso", "2021-02-17T00:00:00Z"),
    ],
)
def test_formats_of_dates(tmp_path, unit, text):
    run(tmp_path, {"ev.csv": f"u,i,stars,t\na,x,1,{text}\n"}, {"unit": unit})
    assert times(tmp_path) == ["1613520000"]


def test_a_date_of_another_format_is_named(tmp_path):
    message = fails(tmp_path, {"ev.csv": 'u,i,stars,t\na,x,1,"Fev 17, 2021"\n'}, {"unit": "%b %d, %Y"})
    assert "row 2: 't' is 'Fev 17, 2021'; expected a date or time like Jan 31, 2024" in message
    assert "expected s, ms, us, ns, iso, or a format" in fails(tmp_path, {"ev.csv": LOG}, {"unit": "%b %d"})


def test_relative_times_may_be_small(tmp_path):
    run(tmp_path, {"ev.parquet": log(t=[5_000, 6_000])}, {"unit": "ms", "relative": True})
    assert times(tmp_path) == ["5", "6"]
