"""A log of your own as a data set: a CSV file with a mapping in, figures out.

python examples/own_data.py [FOLDER]     # FOLDER: of the log, the data set and the runs (own-data)
"""

import sys
from pathlib import Path

import numpy as np

from recbole_conrec.data.convert import convert
from recbole_conrec.runs.runner import run

MAPPING = """\
events:
  files: events.csv
  user: who
  item: what
  time: at
  fields: {stars: float}
feedback: {negative: 'stars <= 2', positive: 'stars >= 4'}
split: {by: time, ratio: [0.7, 0.1, 0.2]}
window: {unit: days, length: 7}
"""


def write_log(folder: Path, users: int = 60, items: int = 40) -> None:
    """Somebody's ratings: everybody dislikes one half of the catalogue more often than the other."""
    random = np.random.default_rng(7)
    rows = ["who,what,at,stars"]
    for user in range(users):
        for day, item in enumerate(random.permutation(items)[:25]):
            stars = random.integers(1, 4) if item % 2 == user % 2 else random.integers(3, 6)
            rows.append(f"u{user},i{item},{1_700_000_000 + day * 86_400 + user},{stars}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "events.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "mapping.yaml").write_text(MAPPING, encoding="utf-8")


def main(folder: str = "own-data") -> None:
    """Convert the log, whose mapping says what a dislike is, and run a method on it."""
    raw = Path(folder)
    write_log(raw)
    given = {"raw": str(raw), "mapping": str(raw / "mapping.yaml"), "dataset": "mine", "out": str(raw / "dataset")}
    print(convert("generic", **given, overwrite=True))
    options = {
        "data_path": str(raw / "dataset"),
        "checkpoint_dir": str(raw / "saved"),
        "gpu_id": "",
        "show_progress": False,
    }
    record = run("ItemSwing", "mine", options=options).record
    print(record["instances"], {name: record["metrics"][name]["value"] for name in ("HR@20", "CandAcc")})


if __name__ == "__main__":
    main(*sys.argv[1:])
