"""Write `tiny`: a small, deterministic data set in RecBole's atomic files, with something in it to learn.

60 users, 120 items of 6 genres, about 3,300 events over 60 days. Each user dislikes two genres and loves two; of a
disliked genre the items come in the genre's own order, so the next dislike follows from the last ones, and users who
dislike the same genre dislike the same items. A visit shows several items within an hour, some in the same second.
Ratings of 1-2 are negative, 4-5 positive, 3 neutral
exposures. Every sixth user arrives in the last ten days and has few negatives before the test.
"""

from pathlib import Path

import numpy as np

GENRES = ("Horror", "Comedy", "Drama", "Action", "Musical", "Western")
WORDS = ("Night", "River", "Golden", "Silent", "Paris", "Moon", "Iron", "Garden", "Lost", "Summer")
START = 1_000_000_000  # 2001-09-09


def write_tiny(folder: Path, *, users: int = 60, items: int = 120, seed: int = 7) -> Path:
    """Write folder/tiny/tiny.inter and tiny.item; returns `folder`, which is what `data_path` wants."""
    rng = np.random.default_rng(seed)
    genre = np.arange(items) % len(GENRES)
    rows = []
    for user in range(users):
        taste = rng.permutation(len(GENRES))
        hated, loved = taste[:2], taste[2:4]
        place = rng.integers(0, 4, len(GENRES))  # how far the user has come in each genre
        days = range(60) if user % 6 else range(50, 60)  # every sixth user comes late, with few visits
        for day in np.sort(rng.choice(days, size=rng.integers(8, 16) if user % 6 else 3, replace=False)):
            second = START + int(day) * 86_400 + int(rng.integers(0, 80_000))
            for _ in range(rng.integers(3, 9)):
                kind = rng.choice(taste, p=(0.2, 0.15, 0.2, 0.15, 0.15, 0.15))
                item = int(kind + len(GENRES) * (place[kind] % (items // len(GENRES))))
                place[kind] += 1 + int(rng.random() < 0.15)
                odd = rng.random() < 0.1
                if (kind in hated) != odd:
                    rating = int(rng.integers(1, 3))
                else:
                    rating = int(rng.integers(4, 6)) if kind in loved else 3
                rows.append((second, user, item, rating))
                second += int(rng.integers(0, 4)) * 30
    rows.sort(key=lambda row: row[0])
    target = Path(folder) / "tiny"
    target.mkdir(parents=True, exist_ok=True)
    with (target / "tiny.inter").open("w") as file:
        file.write("user_id:token\titem_id:token\trating:float\ttimestamp:float\n")
        file.writelines(f"u{user}\ti{item}\t{rating}\t{second}\n" for second, user, item, rating in rows)
    with (target / "tiny.item").open("w") as file:
        file.write("item_id:token\ttitle:token_seq\tyear:token\tgenre:token_seq\n")
        for item in range(items):
            title = f"{GENRES[genre[item]]} {WORDS[item % 10]} {WORDS[(item // 10) % 10]} {item}"
            second_genre = f" {GENRES[(genre[item] + 1) % len(GENRES)]}" if item % 5 == 0 else ""
            file.write(f"i{item}\t{title}\t{1980 + item % 30}\t{GENRES[genre[item]]}{second_genre}\n")
    return Path(folder)


OPTIONS = {
    "feedback": {"negative": "rating <= 2", "positive": "rating >= 4"},
    "split": {"by": "time", "ratio": [0.7, 0.1, 0.2]},
    "window": {"unit": "days", "length": 7},
    "item_text": ["title", "year", "genre"],
    "item_category": "genre",
    "MAX_ITEM_LIST_LENGTH": 20,
}
