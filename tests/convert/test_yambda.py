import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rawfiles import convert, read, rows

from recbole_conrec.utils.errors import UserError

# user, track, second; the sixth dislike is taken back after ten seconds, the seventh after fifteen
LISTENS = [(1, 5, 0, 100, 1), (1, 6, 200, 30, 0), (2, 5, 200, 0, 0), (2, 7, 200, 120, 1)]
LIKES = [(1, 5, 5), (2, 7, 300)]
DISLIKES = [(1, 6, 205), (1, 8, 400), (2, 5, 200), (2, 8, 400), (2, 9, 500), (2, 9, 600), (3, 8, 100)]
UNDISLIKES = [(1, 8, 410), (2, 8, 415), (2, 9, 600), (3, 8, 95), (2, 6, 205)]


def table(events, played=False):
    columns = {
        "uid": pa.array([e[0] for e in events], pa.uint32()),
        "timestamp": pa.array([e[2] for e in events], pa.uint32()),
        "item_id": pa.array([e[1] for e in events], pa.uint32()),
        "is_organic": pa.array([e[4] if played else 1 for e in events], pa.uint8()),
    }
    if played:
        columns |= {
            "played_ratio_pct": pa.array([e[3] for e in events], pa.uint16()),
            "track_length_seconds": pa.array([200] * len(events), pa.uint32()),
        }
    return pa.table(columns)


def raw(tmp_path, multi=False):
    folder = tmp_path / "raw" / "flat" / "50m"
    folder.mkdir(parents=True)
    kinds = {"listen": LISTENS, "like": LIKES, "dislike": DISLIKES, "undislike": UNDISLIKES, "unlike": [(1, 5, 6)]}
    if multi:
        events = sorted((e[0], e[2], kind, e) for kind, events in kinds.items() for e in events)
        columns = {
            "uid": [u for u, *_ in events],
            "timestamp": [t for _, t, *_ in events],
            "item_id": [e[1] for *_, e in events],
            "is_organic": [e[4] if len(e) > 4 else 1 for *_, e in events],
            "event_type": pa.array([kind for _, _, kind, _ in events]).dictionary_encode(),
            "played_ratio_pct": [e[3] if len(e) > 4 else None for *_, e in events],
            "track_length_seconds": [200 if len(e) > 4 else None for *_, e in events],
        }
        pq.write_table(pa.table(columns), folder / "multi_event.parquet")
    else:
        for kind, events in kinds.items():
            pq.write_table(table(events, kind == "listen"), folder / f"{kind}s.parquet")
    pq.write_table(
        pa.table({"artist_id": [1, 2, 1, 9], "item_id": [5, 5, 9, 1000]}),
        tmp_path / "raw" / "artist_item_mapping.parquet",
    )
    pq.write_table(pa.table({"album_id": [4, 4], "item_id": [5, 6]}), tmp_path / "raw" / "album_item_mapping.parquet")
    return tmp_path / "raw"


@pytest.mark.parametrize("multi", [False, True])
def test_dislikes_taken_back_at_once_are_dropped(tmp_path, multi):
    summary = convert("yambda-50m", raw(tmp_path, multi), tmp_path / "out")
    events = rows(read(tmp_path / "out", "yambda-50m", "inter")[["user_id", "item_id", "event", "timestamp"]])
    kept = {("1", "6", "205"), ("2", "5", "200"), ("2", "8", "400"), ("2", "9", "500"), ("3", "8", "100")}
    assert {(u, i, t) for u, i, e, t in events if e == "dislike"} == kept
    assert summary["misclicks dropped"] == 2
    assert sorted({e for _, _, e, _ in events}) == ["dislike", "like", "listen"]
    assert [int(t) for *_, t in events] == sorted(int(t) for *_, t in events)
    # a like, or half a track
    assert summary["positives"] == 4 and summary["negatives"] == 5 and summary["events"] == 11


def test_single_files_win_over_the_one_of_all_events(tmp_path):
    folder = raw(tmp_path)
    (folder / "flat" / "50m" / "multi_event.parquet").write_bytes(b"not read")
    assert convert("yambda-50m", folder, tmp_path / "out")["events"] == 11


def test_misclicks_are_an_option(tmp_path):
    folder = raw(tmp_path)
    assert convert("yambda-50m", folder, tmp_path / "out", dataset="a", misclick_seconds=-1)["negatives"] == 7
    assert convert("yambda-50m", folder, tmp_path / "out", dataset="b", misclick_seconds=0)["negatives"] == 6
    assert convert("yambda-50m", folder, tmp_path / "out", dataset="c", misclick_seconds=15)["negatives"] == 4


def test_artists_and_albums(tmp_path):
    convert("yambda-50m", raw(tmp_path), tmp_path / "out")
    assert sorted(rows(read(tmp_path / "out", "yambda-50m", "item"))) == [
        ("5", "artist1 artist2", "album4"),
        ("6", "", "album4"),
        ("9", "artist1", ""),
    ]


def test_two_sizes_at_once_are_refused(tmp_path):
    folder = raw(tmp_path)
    (folder / "flat" / "500m").mkdir()
    for file in (folder / "flat" / "50m").iterdir():
        (folder / "flat" / "500m" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(UserError, match="2 files could be"):
        convert("yambda-50m", folder, tmp_path / "out")
