"""What may be wrong with a download: damaged, spread over links, a file missing. And the messages of the command."""

import gzip

import pytest
from rawfiles import convert, read, write

from recbole_conrec.cli import main
from recbole_conrec.utils.errors import UserError


@pytest.mark.parametrize("name", ["ratings.csv.gz", "movies.csv.gz", "Toys.json.gz", "meta_Toys.json.gz"])
@pytest.mark.parametrize("damage", ["cut", "not gzip", "changed"])
def test_an_interrupted_download_is_named(tmp_path, name, damage):
    review = '{"reviewerID": "u", "asin": "i", "overall": 1, "unixReviewTime": 5}\n'
    files = {
        "ratings.csv.gz": "userId,movieId,rating,timestamp\n" + "".join(f"{n},1,2,{n}\n" for n in range(999)),
        "movies.csv.gz": "movieId,title,genres\n1,A (1990),Drama\n",
        "Toys.json.gz": review * 9,
        "meta_Toys.json.gz": '{"asin": "i", "title": "x"}\n',
    }
    raw = write(tmp_path / "raw", files)
    whole = (raw / name).read_bytes()
    middle = len(whole) // 2
    (raw / name).write_bytes(
        {
            "cut": whole[:-9],
            "not gzip": gzip.decompress(whole),
            "changed": whole[:middle] + bytes([255 - whole[middle]]) * 9 + whole[middle + 9 :],
        }[damage]
    )
    with pytest.raises(UserError, match=f"{name}: not a whole gzip file .* download it again") as error:
        convert("ml-20m" if "csv" in name else "amazon-2018", raw, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_folders_that_are_links_are_searched_once(tmp_path):
    other = write(
        tmp_path / "disk",
        {"ratings.csv": "userId,movieId,rating,timestamp\n1,1,2,10\n", "movies.csv": "movieId,title,genres\n"},
    )
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "deep").mkdir()
    (raw / "deep" / "download").symlink_to(other)
    (raw / "again").symlink_to(other)
    (raw / "deep" / "loop").symlink_to(raw)
    assert convert("ml-20m", raw, tmp_path / "out")["events"] == 1


SECOND = {
    "ml-100k": {"u.data": "1\t1\t2\tx\n"},
    "ml-1m": {"ratings.dat": "1::1::2::x\n"},
    "ml-20m": {"ratings.csv": "userId,movieId,rating,timestamp\n1,1,2,x\n"},
    "kuairand-pure": {"log_standard_1.csv": "bad", "log_random_1.csv": "bad"},
    "amazon-2018": {"Toys.json": "bad"},
    "steam": {"recommendations.csv": "bad", "games.csv": "bad"},
    "steam-australia": {"australian_user_reviews.json": "bad"},
    "recif": {"onerec_bench_release.parquet": "bad"},
    "vk-lsvd": {"train/week_01.parquet": "bad"},
}


@pytest.mark.parametrize("name", SECOND)
def test_a_second_file_is_missed_before_the_events_are_read(tmp_path, name):
    raw = write(tmp_path / "raw", SECOND[name])
    with pytest.raises(UserError, match="no file|no items_metadata"):
        convert(name, raw, tmp_path / "out")


def test_the_command_names_its_own_option_for_another_name(tmp_path, capsys):
    raw = write(
        tmp_path / "raw",
        {"ratings.csv": "userId,movieId,rating,timestamp\n1,1,2,10\n", "movies.csv": "movieId,title,genres\n"},
    )
    command = ["convert", "ml-20m", f"--raw={raw}", f"--out={tmp_path / 'out'}"]
    assert main(command) == 0 and main(command) == 2
    assert "or another --dataset" in capsys.readouterr().err
    assert main([*command, "--name=foo"]) == 2
    assert "convert ml-20m: unknown option 'name'; its options: raw, out, dataset" in capsys.readouterr().err
    assert main([*command, "--dataset=2024"]) == 0  # YAML takes it for a number
    assert len(read(tmp_path / "out", "2024", "inter")) == 1
    assert main(["simulate", "--name=7", "--users=5", "--items=20", f"--out={tmp_path / 'out'}"]) == 0
    assert main(["simulate", "--users=abc", f"--out={tmp_path / 'out'}"]) == 2
    words = "error: simulate.users: 'abc'; expected a whole number of at least 1 and at most 100000000\n"
    assert capsys.readouterr().err.endswith(words)
