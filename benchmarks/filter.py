"""Requests per second, latency and memory of the offline filter, against a faiss index per user and a NumPy loop.

    python benchmarks/filter.py --folder=/tmp/filter-benchmark [--users=1000000] [--items=200000] [--requests=5000]

The first call writes a folder of random Predict Sets (20 to 100 items per user; 0.4 GB for a million users), later
calls reuse it. A request is one user and 500 candidate ids; each variant gets the same requests, on one thread, in a
process of its own, and must find the same scores. Times are per request, after 200 requests of warm-up: wall clock, and
CPU time of the thread, which other work on the machine does not lengthen.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
VARIANTS = ("filter", "rows", "faiss", "loop")  # rows: the filter without looking up ids
CANDIDATES, DIM, WARM, CHECKED = 500, 64, 200, 50


def write(folder: Path, users: int, items: int, seed: int = 0) -> None:
    """Write random sets over random sums of three code vectors, the form of a tokenizer's rebuilt embeddings."""
    import numpy as np

    from recbole_conrec.filtering import folder as layout
    from recbole_conrec.filtering.index import write_index

    rng = np.random.default_rng(seed)
    books = rng.normal(size=(3, 256, DIM)).astype(np.float32) * np.array([1, 0.6, 0.4], dtype=np.float32)[:, None, None]
    vectors = sum(book[rng.integers(0, 256, items)] for book in books)
    lengths = rng.integers(20, 101, users)
    index = folder / layout.INDEX
    index.mkdir(parents=True)
    write_index(
        index,
        users=np.char.add("user", np.arange(users).astype(str)),
        items=np.char.add("item", np.arange(items).astype(str)),
        vectors=vectors,
        lengths=lengths,
        rows=rng.integers(0, items, int(lengths.sum()), dtype=np.int32),
        activity=np.zeros(users),
    )
    names = [f"{layout.INDEX}/{file.name}" for file in sorted(index.iterdir())]
    layout.write_manifest(
        folder,
        {
            "format": layout.FORMAT,
            "users": users,
            "items": items,
            "size": 100,
            "theta": None,
            "files": layout.measure(folder, names),
        },
    )


def requests(users: int, items: int, count: int):
    """(user row, candidate rows) of each request: random users, candidates of skewed popularity, as in real lists."""
    import numpy as np

    rng = np.random.default_rng(1)
    for _ in range(count):
        yield int(rng.integers(users)), (items * rng.random(CANDIDATES) ** 3).astype(np.int64)


def judge(variant: str, folder: Path):
    """A function (user row, candidate rows, (user id, candidate ids)) -> highest cosines [500]."""
    import numpy as np

    from recbole_conrec.filtering import NegativeFilter

    negative = NegativeFilter.load(folder, theta=0.8, verify=False)
    sets = negative.sets
    if variant == "filter":
        return lambda user, items, ids: negative.filter(ids[0], ids[1])[1]
    if variant == "rows":
        return lambda user, items, ids: sets.scores(np.array([user]), items[None])[0]
    if variant == "faiss":
        import faiss

        faiss.omp_set_num_threads(1)

        def search(user, items, ids):
            index = faiss.IndexFlatIP(DIM)
            index.add(sets.vectors[sets.rows[sets.ptr[user] : sets.ptr[user + 1]]])
            return index.search(sets.vectors[items], 1)[0][:, 0]

        return search

    def loop(user, items, ids):
        disliked = sets.vectors[sets.rows[sets.ptr[user] : sets.ptr[user + 1]]]
        return np.array([max(np.dot(sets.vectors[item], vector) for vector in disliked) for item in items])

    return loop


def run(variant: str, folder: Path, count: int) -> dict:
    import numpy as np

    manifest = json.loads((folder / "manifest.json").read_text())
    decide = judge(variant, folder)
    clock, core, checked = [], [], []
    for number, (user, items) in enumerate(requests(manifest["users"], manifest["items"], count + WARM)):
        ids = f"user{user}", [f"item{item}" for item in items]
        started, busy = time.perf_counter(), time.thread_time()
        scores = decide(user, items, ids)
        core.append(time.thread_time() - busy)
        clock.append(time.perf_counter() - started)
        if number < CHECKED:
            checked.append(np.round(np.asarray(scores, dtype=np.float64), 3).tolist())
    clock_ms, core_ms = np.array(clock[WARM:]) * 1e3, np.array(core[WARM:]) * 1e3
    return {
        "per_s": 1e3 / clock_ms.mean(),
        "clock": np.percentile(clock_ms, [50, 99]).tolist(),
        "core_per_s": 1e3 / core_ms.mean(),
        "core": np.percentile(core_ms, [50, 99]).tolist(),
        "memory": memory(),
        "scores": checked,
    }


def memory() -> tuple[float, float]:
    """Memory of this process in MiB: its own, and pages of mapped files in use (libraries among them)."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    own, files = (int(lines[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile"))
    return own, files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--requests", type=int, default=5_000)
    parser.add_argument("--variant", choices=VARIANTS)
    options = parser.parse_args()
    if options.variant:
        print(json.dumps(run(options.variant, options.folder, options.requests)))
        return
    if not (options.folder / "manifest.json").exists():
        write(options.folder, options.users, options.items)
    size = sum(file.stat().st_size for file in options.folder.rglob("*.npy"))
    print(f"{options.users:,} users, {options.items:,} items, index {size / 2**20:,.0f} MiB")
    print(f"{'':<8}{'wall clock':>30}{'CPU time':>30}{'MiB':>18}")
    print(f"{'variant':<8}" + f"{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}" * 2 + f"{'own':>9}{'files':>9}")
    first = None
    for variant in VARIANTS:
        count = options.requests if variant != "loop" else max(options.requests // 50, 1)
        command = [
            sys.executable,
            "-W",
            "ignore",
            __file__,
            f"--folder={options.folder}",
            f"--variant={variant}",
            f"--requests={count}",
        ]
        done = subprocess.run(
            command, env=os.environ | dict.fromkeys(THREADS, "1"), stdout=subprocess.PIPE, text=True, check=True
        )
        result = json.loads(done.stdout)
        first = first or result["scores"]
        assert all(
            abs(a - b) < 2e-3 for x, y in zip(first, result["scores"], strict=False) for a, b in zip(x, y, strict=True)
        ), f"{variant} finds other scores"
        own, files = result["memory"]
        times = "".join(
            f"{rate:>12,.0f}{p50:>9.2f}{p99:>9.2f}"
            for rate, (p50, p99) in ((result["per_s"], result["clock"]), (result["core_per_s"], result["core"]))
        )
        print(f"{variant:<8}{times}{own:>9,.0f}{files:>9,.0f}", flush=True)


if __name__ == "__main__":
    main()
