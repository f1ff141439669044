import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rawfiles import convert, read, rows

from recbole_conrec.utils.errors import UserError

WEEK = 7 * 86_400


def week(users, items, dislikes=(), likes=()):
    flags = lambda places: pa.array([n in places for n in range(len(users))])  # noqa: E731
    no = flags(())
    return pa.table(
        {
            "user_id": pa.array(users, pa.uint32()),
            "item_id": pa.array(items, pa.uint32()),
            "place": no.cast(pa.uint8()),
            "platform": no.cast(pa.uint8()),
            "agent": no.cast(pa.uint8()),
            "timespent": pa.array([7] * len(users), pa.uint8()),
            "like": flags(likes),
            "dislike": flags(dislikes),
            "share": no,
            "bookmark": no,
            "click_on_author": no,
            "open_comments": no,
        }
    )


def raw(tmp_path, sample="up0.001_ip0.001"):
    folder = tmp_path / "raw" / "subsamples" / sample
    for part in ("train", "validation"):
        (folder / part).mkdir(parents=True)
    pq.write_table(
        week([9, 8, 9, 9], [4_000_000_000, 2, 3, 2], dislikes=[0, 3], likes=[3, 1]),
        folder / "train" / "week_02.parquet",
        row_group_size=3,
    )
    pq.write_table(week([9], [5]), folder / "train" / "week_10.parquet")
    pq.write_table(week([8, 8], [6, 2], dislikes=[1]), folder / "validation" / "week_25.parquet")
    (tmp_path / "raw" / "metadata").mkdir(exist_ok=True)
    pq.write_table(
        pa.table(
            {
                "item_id": pa.array([2, 3, 77], pa.uint32()),
                "author_id": pa.array([50, 51, 52], pa.uint32()),
                "duration": pa.array([11, 12, 13], pa.uint8()),
                "train_interactions_rank": pa.array([1, 2, 3], pa.uint32()),
            }
        ),
        tmp_path / "raw" / "metadata" / "items_metadata.parquet",
    )
    return tmp_path / "raw"


def test_order_becomes_time_within_the_week(tmp_path):
    summary = convert("vk-lsvd", raw(tmp_path), tmp_path / "out")
    events = read(tmp_path / "out", "vk-lsvd", "inter")
    assert rows(events[["user_id", "item_id", "dislike", "like", "timestamp"]]) == [
        ("9", "4000000000", "1", "0", f"{2 * WEEK}"),
        ("8", "2", "0", "1", f"{2 * WEEK + WEEK // 4}"),
        ("9", "3", "0", "0", f"{2 * WEEK + WEEK // 2}"),
        ("9", "2", "1", "1", f"{2 * WEEK + 3 * WEEK // 4}"),
        ("9", "5", "0", "0", f"{10 * WEEK}"),
        ("8", "6", "0", "0", f"{25 * WEEK}"),
        ("8", "2", "1", "0", f"{25 * WEEK + WEEK // 2}"),
    ]
    assert summary["negatives"] == 3 and summary["positives"] == 1  # a like that is also a dislike is a dislike
    assert rows(read(tmp_path / "out", "vk-lsvd", "item")) == [("2", "author50", "11"), ("3", "author51", "12")]
    assert summary["items without features"] == 3


def test_mixed_samples_and_missing_metadata_are_named(tmp_path):
    folder = raw(tmp_path)
    raw(tmp_path, "ur0.01")
    with pytest.raises(UserError, match="several samples"):
        convert("vk-lsvd", folder, tmp_path / "out")
    with pytest.raises(UserError, match="items_metadata"):
        convert("vk-lsvd", folder / "subsamples" / "ur0.01", tmp_path / "out")
