"""From atomic files to the first batches: time and memory of our data set and of RecBole's SequentialDataset.

    python benchmarks/data.py --events 1e6 1e7 5e7 --folder FOLDER [--stock 1e6] [--json FILE]

Writes generated logs to FOLDER (25 bytes per event; our cache is there as well, 17 bytes per event) and loads each in
separate processes: ours at the first reading, ours from the cache, ours with every event as an instance, as in stock
RecBole, and stock RecBole up to --stock events. Seconds are CPU time of one thread, which other work on the machine
does not lengthen. Memory is the peak of the process, in brackets without that of the imports. Candidates are drawn when
they are read, 1,024 lists at a time; for the last column those of the whole test part were drawn.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

HISTORY, BATCH = 50, 256
HEADER = ("user_id:token", "item_id:token", "rating:float", "timestamp:float")
STAGES = ("train", "eval", "all")
LOADERS = ("ours, first run", "ours, cached", "ours, every event an instance", "stock")


def generate(folder: Path, events: int) -> None:
    """Write a log of 100 events per user, 100,000 items of skewed popularity and 200 days, in time order.

    Ratings are 1 to 5; 20 % are at most 2.
    """
    import pyarrow as pa

    from recbole_conrec.data.convert.writing import AtomicFile

    if (folder / f"{folder.name}.inter").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    work = folder.with_name(f".{folder.name}")
    work.mkdir(parents=True, exist_ok=True)
    rng, n_users = np.random.default_rng(0), events // 100
    with AtomicFile(work / f"{folder.name}.inter", list(HEADER)) as file:
        for low in range(0, events, 1_000_000):
            n = min(1_000_000, events - low)
            users, items = rng.integers(0, n_users, n), (100_000 * rng.random(n) ** 2).astype(np.int64)
            ratings = rng.choice(np.arange(1, 6), n, p=[0.08, 0.12, 0.2, 0.3, 0.3])
            times = 1_600_000_000 + np.arange(low, low + n) * 86_400 * 200 // events
            words = [pa.array(np.char.add(letter, ids.astype(str))) for letter, ids in (("u", users), ("i", items))]
            file.write(pa.table([*words, ratings, times], names=list(HEADER)))
    work.rename(folder)


def megabytes() -> float:
    """Peak resident memory. (That of getrusage is at least the peak of the parent process.)"""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**10


def child(loader: str, folder: Path) -> None:
    """Load a log, and print a line of JSON."""
    marks = {}
    load = stock if loader == "stock" else ours
    batches = load(folder, "every event" in loader)
    next(batches)
    begin, marks["imports_mb"] = time.process_time(), megabytes()
    for stage, _ in zip(STAGES, batches, strict=False):  # stock has no candidates
        marks[f"{stage}_s"], marks[f"{stage}_mb"] = time.process_time() - begin, megabytes()
    print(json.dumps(marks))


def ours(folder: Path, every_event: bool):
    """Yield after the imports, the first training batch, the first test batch with its truth, and all candidates."""
    from recbole_conrec.data.dataset import NegativeFeedbackDataset
    from recbole_conrec.runs.config import make_config

    rules = {"feedback": {"negative": "rating >= 0", "positive": None}} if every_event else {}
    options = {
        "data_path": str(folder.parent),
        "checkpoint_dir": str(folder.parent),
        "use_gpu": False,
        "MAX_ITEM_LIST_LENGTH": HISTORY,
        **rules,
    }
    config = make_config("Pop", folder.name, options=options)
    yield
    train, _, test = NegativeFeedbackDataset(config).build()
    yield train[np.arange(BATCH)]
    truth = test.truth()
    yield test[np.arange(BATCH)], truth.candidates[:BATCH]
    yield truth.answer


def stock(folder: Path, _):
    from recbole_conrec import compat

    compat.apply()
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation

    config = Config(
        "SASRec",
        folder.name,
        config_dict={
            "data_path": str(folder.parent),
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "MAX_ITEM_LIST_LENGTH": HISTORY,
            "train_neg_sample_args": None,
            "use_gpu": False,
            "train_batch_size": BATCH,
            "eval_batch_size": BATCH,
            "eval_args": {"split": {"RS": [0.7, 0.1, 0.2]}, "order": "TO", "group_by": "user", "mode": "full"},
        },
    )
    yield
    train, _, test = data_preparation(config, create_dataset(config))
    yield next(iter(train))
    yield next(iter(test))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=float, nargs="+", default=[1e6])
    parser.add_argument("--stock", type=float, default=1e6, help="the largest log that stock RecBole reads")
    parser.add_argument("--every", type=float, default=1e7, help="the largest log with every event as an instance")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--json", type=Path, help="append every measurement to this file")
    parser.add_argument("--child", choices=LOADERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        sys.argv = sys.argv[:1]  # stock RecBole reads the command line
        child(options.child, options.folder)
        return
    print(f"{'events':>12}  {'':<30} {'first batch':>21} {'first evaluated batch':>25} {'all candidates':>25}")
    for events in map(int, options.events):
        folder = options.folder / f"log{events}"
        generate(folder, events)
        shutil.rmtree(options.folder / "events", ignore_errors=True)  # our cache
        limits = {"stock": options.stock, "ours, every event an instance": options.every}
        for loader in (name for name in LOADERS if events <= limits.get(name, events)):
            command = [sys.executable, "-W", "ignore", __file__, "--child", loader, "--folder", str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
            if done.returncode:
                sys.exit(f"{loader}: {done.stderr}")
            found = json.loads(done.stdout.splitlines()[-1])
            cells = (
                f"{found[f'{s}_s']:8.2f} s {found[f'{s}_mb']:6.0f} MB ({found[f'{s}_mb'] - found['imports_mb']:.0f})"
                for s in STAGES
                if f"{s}_s" in found
            )
            print(f"{events:>12,}  {loader:<30} {'   '.join(cells)}", flush=True)
            if options.json:
                with options.json.open("a") as file:
                    file.write(json.dumps({"events": events, "loader": loader, **found}) + "\n")


if __name__ == "__main__":
    main()
