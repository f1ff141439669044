from rawfiles import convert, options, read, rows, write

FLAGS = "0|" * 18 + "0"


def flags(*places):
    return "|".join("1" if place in places else "0" for place in range(19))


def test_100k(tmp_path):
    raw = write(
        tmp_path / "raw",
        {
            # not in time order, ties, one row twice
            "ml-100k/u.data": "2\t1\t1\t900\n1\t2\t5\t100\n1\t3\t2\t100\n2\t267\t3\t50\n1\t3\t2\t100\n",
            # latin-1, no year in the title, a movie without anything
            "ml-100k/u.item": (
                f"1|Toy Story (1995)|01-Jan-1995||http://x|{flags(3, 4, 5)}\n"
                f"2|Misérables, Les (1995)|01-Jan-1995||http://x|{flags(8)}\n"
                f"3|Land Before Time III|12-Feb-1996||http://x|{flags(3)}\n"
                f"267|unknown||||{flags(0)}\n"
                f"999|Never rated (1990)|01-Jan-1990||http://x|{FLAGS}\n"
            ).encode("latin-1"),
            "ml-100k/u.user": "1|24|M|technician|85711\n2|53|F|other|94043\n",
        },
    )
    summary = convert("ml-100k", raw, tmp_path / "out")
    assert summary == {
        "users": 2,
        "items": 4,
        "events": 4,
        "negatives": 2,
        "positives": 1,
        "repeats": 1,
        "items without features": 0,
        "users without features": 0,
    }
    assert rows(read(tmp_path / "out", "ml-100k", "inter")) == [
        ("2", "267", "3", "50"),
        ("1", "2", "5", "100"),
        ("1", "3", "2", "100"),
        ("2", "1", "1", "900"),
    ]
    assert rows(read(tmp_path / "out", "ml-100k", "item")) == [
        ("1", "Toy Story", "1995", "Animation Children's Comedy"),
        ("2", "Misérables, Les", "1995", "Drama"),
        ("3", "Land Before Time III", "1996", "Animation"),
        ("267", "unknown", "", ""),
    ]
    assert rows(read(tmp_path / "out", "ml-100k", "user"))[0] == ("1", "24", "M", "technician", "85711")
    assert options(tmp_path / "out", "ml-100k")["feedback"] == {"negative": "rating <= 2", "positive": "rating >= 4"}


def test_1m_is_latin_1_with_double_colons(tmp_path):
    raw = write(
        tmp_path / "raw",
        {
            "ratings.dat": "1::1193::5::978300760\n2::661::1::978302109\n1::661::2::978300760\n",
            "movies.dat": (
                "1193::Cité: des (enfants): 'perdus' (1995)::Adventure|Sci-Fi\n661::Who? (Qui?)::Drama\n"
            ).encode("latin-1"),
            "users.dat": "1::F::1::10::48067\n2::M::56::16::70072\n",
        },
    )
    summary = convert("ml-1m", raw, tmp_path / "out", dataset="mine")
    assert summary["negatives"] == 2 and summary["positives"] == 1
    assert rows(read(tmp_path / "out", "mine", "inter"))[:2] == [
        ("1", "1193", "5", "978300760"),
        ("1", "661", "2", "978300760"),
    ]
    assert rows(read(tmp_path / "out", "mine", "item")) == [
        ("1193", "Cité: des (enfants): 'perdus'", "1995", "Adventure Sci-Fi"),
        ("661", "Who? (Qui?)", "", "Drama"),
    ]


def test_10m_is_utf_8_with_half_stars(tmp_path):
    raw = write(
        tmp_path / "raw",
        {
            "ratings.dat": "1::5::0.5::838985046\n1::6::4.5::838983525\n",
            "movies.dat": "5::Fußball (1995)::Comedy\n6::Heat (1995)::Action|Crime\n",
        },
    )
    assert convert("ml-10m", raw, tmp_path / "out")["negatives"] == 1
    assert rows(read(tmp_path / "out", "ml-10m", "inter")) == [
        ("1", "6", "4.5", "838983525"),
        ("1", "5", "0.5", "838985046"),
    ]
    assert read(tmp_path / "out", "ml-10m", "item").movie_name[0] == "Fußball"


def test_20m_has_quoted_titles(tmp_path):
    raw = write(
        tmp_path / "raw",
        {
            "ml-20m/ratings.csv": "userId,movieId,rating,timestamp\r\n1,11,2.0,1112486027\r\n1,12,4.5,1112484676\r\n"
            "9,13,3,1112484676\r\n9,14,1,1\r\n",
            "ml-20m/movies.csv": 'movieId,title,genres\r\n11,"American President, The (1995) ",Comedy|Drama\r\n'
            '12,"""Great Performances"" Cats (1998)",Musical\r\n'
            "13,Babylon 5,(no genres listed)\r\n14,Zürich — Ça va (2009–2010),Drama\r\n",
        },
    )
    convert("ml-20m", raw, tmp_path / "out")
    assert rows(read(tmp_path / "out", "ml-20m", "item")) == [
        ("11", "American President, The", "1995", "Comedy Drama"),
        ("12", "'Great Performances' Cats", "1998", "Musical"),
        ("13", "Babylon 5", "", ""),
        ("14", "Zürich — Ça va (2009–2010)", "", "Drama"),
    ]
    assert read(tmp_path / "out", "ml-20m", "inter").timestamp.tolist() == [
        "1",
        "1112484676",
        "1112484676",
        "1112486027",
    ]
