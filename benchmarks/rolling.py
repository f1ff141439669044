"""Counts as of each instance's t0: the rolling index against a recount of the log per instance.

    python benchmarks/rolling.py [--events 1e6 1e7] [--items 10000] [--instances 20000]

The recount is NumPy's bincount over the events before t0, which is what a loop over instances costs at best; it is
measured on 20 instances and given per 1,000. Both give the same counts, which is checked. CPU seconds of one thread,
which other work on the machine does not lengthen.
"""

import argparse
import time

import numpy as np

from recbole_conrec.data.rolling import RollingCounts

BATCH, RECOUNTED = 256, 20


def measure(events: int, items: int, instances: int) -> list[str]:
    """One row of the table, for a log of skewed popularity over 200 days."""
    rng = np.random.default_rng(0)
    item = (items * rng.random(events) ** 3).astype(np.int64)
    times = np.sort(rng.integers(0, 200 * 86400, events))
    moments = np.sort(rng.integers(100 * 86400, 200 * 86400, instances))

    start = time.process_time()
    index = RollingCounts(item, times, items)
    built = time.process_time() - start
    start = time.process_time()
    for at in range(0, instances, BATCH):
        index.within(moments[at : at + BATCH], 7 * 86400)
    asked = (time.process_time() - start) / instances * 1000

    some = rng.choice(moments, RECOUNTED)
    start = time.process_time()
    first, last = np.searchsorted(times, some - 7 * 86400), np.searchsorted(times, some)
    both = zip(first, last, strict=True)
    again = [np.bincount(item[:b], minlength=items) - np.bincount(item[:a], minlength=items) for a, b in both]
    recounted = (time.process_time() - start) / RECOUNTED * 1000
    np.testing.assert_array_equal(index.within(some, 7 * 86400), again)
    size = (index.items.nbytes + index.times.nbytes + index.kept.nbytes) / 2**20
    return [f"{events:,}", f"{items:,}", f"{built:.1f} s", f"{size:,.0f} MiB", f"{asked:.2f} s", f"{recounted:.1f} s",
            f"{recounted / asked:.0f}"]  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=float, nargs="+", default=[1e6, 1e7])
    parser.add_argument("--items", type=float, default=10000)
    parser.add_argument("--instances", type=float, default=20000)
    given = parser.parse_args()
    print(
        "| events | items | index built in | size | 1,000 instances | recount of 1,000 | ratio |\n" + "| --- " * 7 + "|"
    )
    for events in given.events:
        print("| " + " | ".join(measure(int(events), int(given.items), int(given.instances))) + " |")


if __name__ == "__main__":
    main()
