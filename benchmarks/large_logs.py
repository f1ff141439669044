"""Seconds and peak memory of logs of several sizes: loading as a run does, and partitions, counts and Swing on disk.

    python benchmarks/large_logs.py 100000 1000000 10000000

Each step is a process of its own. The logs are drawn with 30 events a user, 100 events an item, and items of which
few are frequent; 3 of 10 events are negative.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

BLOCK = 1_000_000


def draw(file: Path, events: int) -> None:
    """Write a log of this many events, in order of time."""
    rng = np.random.default_rng(0)
    users, items = max(10, events // 30), max(10, events // 100)
    with file.open("wb") as out:
        out.write(b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n")
        for first in range(0, events, BLOCK):
            n = min(BLOCK, events - first)
            columns = {
                "user": rng.integers(0, users, n),
                "item": (items * rng.random(n) ** 2).astype(np.int64),
                "rating": np.where(rng.random(n) < 0.3, 1, 5),
                "time": 10**9 + np.arange(first, first + n) // 4,
            }
            options = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
            csv.write_csv(pa.table(columns), out, options)


def load(folder: Path) -> None:
    from recbole_conrec.data.dataset import NegativeFeedbackDataset
    from recbole_conrec.runs.config import make_config

    options = {
        "data_path": str(folder),
        "checkpoint_dir": str(folder / "saved"),
        "feedback": {"negative": "rating <= 2", "positive": "rating >= 4"},
        "split": {"by": "time", "ratio": [0.7, 0.1, 0.2]},
        "show_progress": False,
        "gpu_id": "",
    }
    NegativeFeedbackDataset(make_config("Pop", "log", options=options))


def partition(folder: Path) -> None:
    from recbole_conrec.data.feedback import FeedbackRules
    from recbole_conrec.data.partitions import write_partitions

    rules = FeedbackRules.read({"negative": "rating <= 2", "positive": "rating >= 4"}, "feedback")
    write_partitions(folder / "log" / "log.inter", folder / "parts", rules)


def count(folder: Path) -> None:
    from recbole_conrec.data.partitions import Partitions

    Partitions.load(folder / "parts").dislikes()


def swing(folder: Path) -> None:
    from recbole_conrec.data.partitions import Partitions
    from recbole_conrec.data.swing import SwingOptions
    from recbole_conrec.data.swing_on_disk import swing_of_partitions

    swing_of_partitions(Partitions.load(folder / "parts"), SwingOptions(), folder=folder)


STEPS = {"load": load, "partition": partition, "count": count, "swing": swing}


def main(words: list[str]) -> None:
    if words[0] in STEPS:  # a process of its own
        begin, used = time.perf_counter(), time.process_time()
        STEPS[words[0]](Path(words[1]))
        seconds, processor = time.perf_counter() - begin, time.process_time() - used
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": round(seconds, 1), "cpu": round(processor, 1), "peak_mb": round(peak)}))
        return
    for events in map(int, words):
        with tempfile.TemporaryDirectory() as made:
            (Path(made) / "log").mkdir()
            draw(Path(made) / "log" / "log.inter", events)
            size = (Path(made) / "log" / "log.inter").stat().st_size / 2**20
            for step in STEPS:
                # by way of a shell: what this process holds would count as the peak of one that it starts itself
                line = f"{sys.executable} -W ignore {__file__} {step} {made}; exit $?"
                done = subprocess.run(["sh", "-c", line], check=True, capture_output=True, text=True)
                print(events, f"{size:.0f} MB", step, done.stdout.strip().splitlines()[-1], flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
