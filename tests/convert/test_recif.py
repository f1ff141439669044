import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rawfiles import convert, read, rows

from recbole_conrec.utils.errors import UserError

SIGNALS = ["longview", "like", "follow", "forward", "not_interested"]


def user(uid, hist, target, split=0):
    """hist, target: lists of (item, names of the signals that are 1), or None."""
    row = {"uid": uid, "split": split, "inter_user_profile_with_sid": "text"}
    for part, events in (("hist", hist), ("target", target)):
        row[f"{part}_video_pid"] = None if events is None else [item for item, _ in events]
        for signal in SIGNALS:
            row[f"{part}_video_{signal}"] = None if events is None else [int(signal in on) for _, on in events]
    return row


def raw(tmp_path, users):
    folder = tmp_path / "raw"
    folder.mkdir()
    schema = [("uid", pa.int64()), ("split", pa.int8()), ("inter_user_profile_with_sid", pa.string())]
    schema += [
        (f"{part}_video_{field}", pa.list_(pa.int64())) for part in ("hist", "target") for field in ("pid", *SIGNALS)
    ]
    pq.write_table(pa.Table.from_pylist(users, pa.schema(schema)), folder / "onerec_bench_release.parquet")
    pq.write_table(
        pa.table({"pid": [70, 71, 79], "dense_caption": ['一只"猫"\n在跑', None, "x"]}), folder / "pid2caption.parquet"
    )
    return folder


def test_sequences_become_events_in_order(tmp_path):
    users = [
        user(5, [(70, []), (71, ["not_interested"])], [(72, ["like"]), (70, ["like", "not_interested"])], 1),
        user(6, None, [(71, ["longview"])]),
        user(7, [], None),
        user(2**40, [(70, ["not_interested"])], []),
    ]
    summary = convert("recif", raw(tmp_path, users), tmp_path / "out")
    events = read(tmp_path / "out", "recif", "inter")
    assert rows(events[["user_id", "item_id", "not_interested", "like", "longview", "timestamp"]]) == [
        ("5", "70", "0", "0", "0", "0"),
        ("5", "71", "1", "0", "0", "1"),
        ("5", "72", "0", "1", "0", "2"),
        ("5", "70", "1", "1", "0", "3"),
        ("6", "71", "0", "0", "1", "0"),
        (str(2**40), "70", "1", "0", "0", "0"),
    ]
    assert summary["negatives"] == 3 and summary["positives"] == 2 and summary["users"] == 3
    assert rows(read(tmp_path / "out", "recif", "item")) == [("70", "一只'猫' 在跑"), ("71", "")]


def test_many_users_equal_a_plain_loop(tmp_path):
    import random

    draw = random.Random(0)
    users = [
        user(
            n,
            [(draw.randrange(50), draw.sample(SIGNALS, draw.randrange(3))) for _ in range(draw.randrange(9))],
            [(draw.randrange(50), draw.sample(SIGNALS, 1)) for _ in range(draw.randrange(4))],
        )
        for n in range(5000)
    ]
    convert("recif", raw(tmp_path, users), tmp_path / "out")
    found = rows(read(tmp_path / "out", "recif", "inter")[["user_id", "item_id", "not_interested", "timestamp"]])
    expected = [
        (str(row["uid"]), str(item), str(flag), str(place))
        for row in users
        for place, (item, flag) in enumerate(
            zip(
                row["hist_video_pid"] + row["target_video_pid"],
                row["hist_video_not_interested"] + row["target_video_not_interested"],
                strict=True,
            )
        )
    ]
    assert found == expected


def test_lists_of_unequal_length_are_named(tmp_path):
    users = [user(1, [(70, ["not_interested"])], []), user(2, [(70, []), (71, [])], [])]
    users[1]["hist_video_like"] = [0]
    with pytest.raises(UserError, match="row 2: 'hist_video_like' has 1 values, 'hist_video_pid' 2"):
        convert("recif", raw(tmp_path, users), tmp_path / "out")
