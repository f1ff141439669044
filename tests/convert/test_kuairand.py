import pytest
from rawfiles import convert, options, read, rows, write

from recbole_conrec.data.feedback import FeedbackRules

LOG = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,"
    "play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab\n"
)
BASIC = (
    "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,server_width,server_height,"
    "music_id,music_type,tag\n"
)


def event(user, video, time, click=0, hate=0, rand=0):
    return f"{user},{video},20220421,400,{time},{click},0,0,0,0,{hate},0,1000,2000,0,0,0,{rand},1\n"


def files(folder="KuaiRand-Pure/data", size="pure"):
    return {
        # the second file holds earlier milliseconds of one second than the first
        f"{folder}/log_standard_4_08_to_4_21_{size}.csv": LOG
        + event(1, 10, 1650485801900, click=1)
        + event(0, 11, 1650485801301, hate=1)
        + event(0, 11, 1650485801301, hate=1),
        f"{folder}/log_standard_4_22_to_5_08_{size}.csv": LOG
        + event(1, 11, 1650485801500)
        + event(1, 12, 1650485700000, click=1, hate=1),
        f"{folder}/log_random_4_22_to_5_08_{size}.csv": LOG + event(0, 13, 1650485999000, rand=1),
        f"{folder}/video_features_basic_{size}.csv": BASIC
        + (
            '10,441,NORMAL,2020-07-08,ShortImport,1,17200.0,720,1280,989206467,4,"12,65"\n'
            "11,442,AD,2020-07-08,ShortImport,1,,720,1280,989206467,4.0,\n"
            "12,443,NORMAL,2020-07-08,ShortImport,1,17200.0,720,1280,989206467,4.0,UNKNOWN\n"
            "99,443,NORMAL,2020-07-08,ShortImport,1,17200.0,720,1280,989206467,4.0,3\n"
        ),
    }


def test_pure_without_texts(tmp_path):
    summary = convert("kuairand-pure", write(tmp_path / "raw", files()), tmp_path / "out")
    assert summary == {
        "users": 2,
        "items": 4,
        "events": 5,
        "negatives": 2,
        "positives": 1,
        "repeats": 1,
        "items without features": 1,
    }
    # time order to the millisecond, times in seconds; user 0 and video 0 are as good as any
    assert rows(read(tmp_path / "out", "kuairand-pure", "inter")) == [
        ("1", "12", "1", "1", "0", "0", "0", "1650485700"),
        ("0", "11", "1", "0", "0", "0", "0", "1650485801"),
        ("1", "11", "0", "0", "0", "0", "0", "1650485801"),
        ("1", "10", "0", "1", "0", "0", "0", "1650485801"),
        ("0", "13", "0", "0", "0", "0", "1", "1650485999"),
    ]
    assert rows(read(tmp_path / "out", "kuairand-pure", "item")) == [
        ("10", "", "", "", "441", "NORMAL", "12 65"),
        ("11", "", "", "", "442", "AD", ""),
        ("12", "", "", "", "443", "NORMAL", ""),
    ]
    assert options(tmp_path / "out", "kuairand-pure")["item_text"] == ["tag", "author", "video_type"]


def test_captions_and_categories_are_joined(tmp_path):
    raw = write(
        tmp_path / "raw",
        files("KuaiRand-1K/data", "1k")
        | {
            "texts/kuairand_video_captions.csv": "final_video_id,caption,show_cover_text,duration\n"
            '12,"他说 ""你好"",\n然后#狗",封面,10\n10,猫\t咪,,10\n10,again,,10\n98,other,,1\n',
            "texts/kuairand_video_categories.csv": (
                "final_video_id,first_level_category_id,first_level_category_name,second_level_category_id\n"
                "10,3.0,宠物,3\n12,-124.0,UNKNOWN,-124.0\n"
            ),
        },
    )
    convert("kuairand-1k", raw, tmp_path / "out", dataset="k")
    assert rows(read(tmp_path / "out", "k", "item")) == [
        ("10", "猫 咪", "", "宠物", "441", "NORMAL", "12 65"),
        ("11", "", "", "", "442", "AD", ""),
        ("12", "他说 '你好', 然后#狗", "封面", "", "443", "NORMAL", ""),
    ]
    assert options(tmp_path / "out", "k")["item_category"] == "category"


def test_27k_comes_in_parts_and_random_exposures_can_be_left_out(tmp_path):
    raw = files("data", "27k")
    name = "data/log_standard_4_08_to_4_21_27k.csv"
    raw[name.replace("27k", "27k_part1")] = raw[name]
    raw[name.replace("27k", "27k_part2")] = LOG + event(7, 10, 1_000_000_000_000)
    del raw[name]
    summary = convert("kuairand-27k", write(tmp_path / "raw", raw), tmp_path / "out", random=False)
    assert summary["users"] == 3 and summary["events"] == 5
    assert read(tmp_path / "out", "kuairand-27k", "inter").timestamp[0] == "1000000000"


@pytest.mark.parametrize("random", [True, False])
def test_rules_never_call_an_event_both(tmp_path, random):
    convert("kuairand-pure", write(tmp_path / "raw", files()), tmp_path / "out", random=random)
    frame = read(tmp_path / "out", "kuairand-pure", "inter")
    feedback = FeedbackRules(**options(tmp_path / "out", "kuairand-pure")["feedback"]).label(frame, "x")
    assert feedback.tolist()[:4] == [-1, -1, 0, 1]
