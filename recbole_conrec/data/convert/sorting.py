"""Putting events in time order when they may not fit in memory: sorted runs on disk, merged range by range."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc
from tqdm import tqdm

RUN = 2_000_000    # events sorted in memory at a time
RANGE = 1_000_000  # events merged at a time; more only where so many share one time


class TimeSorter:
    """Collects tables of events, then gives them back in order of one integer column; ties keep their first order.

    Memory holds one run, then one range of all runs; the rest is memory-mapped from ``folder``.

    Args:
        folder: an empty folder for the runs.
        key: the column to sort by, int64 without nulls.
    """

    def __init__(self, folder: Path, key: str):
        self.folder, self.key = folder, key
        self.rows = 0
        self._waiting: list[pa.Table] = []
        self._runs: list[Path] = []

    def add(self, table: pa.Table) -> None:
        self._waiting.append(table)
        self.rows += len(table)
        if sum(map(len, self._waiting)) >= RUN:
            self._write_run()

    def _write_run(self) -> None:
        table = _sort(pa.concat_tables(self._waiting), self.key)
        self._waiting = []
        path = self.folder / f"{len(self._runs)}.arrow"
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=RANGE)
        self._runs.append(path)

    def sorted(self) -> Iterator[pa.Table]:
        """The events in order, in tables that never part events of the same time. Call once, when all are added."""
        if self._waiting:
            self._write_run()
        if not self._runs:
            return
        maps = [pa.memory_map(str(path)) for path in self._runs]
        runs = [pa.ipc.open_file(file).read_all() for file in maps]
        keys = [run[self.key].to_numpy() for run in runs]
        with tqdm(total=self.rows, unit="event", unit_scale=True, desc="sort", leave=False) as bar:
            begin = [0] * len(runs)
            for bound in [*_bounds(keys), None]:
                end = [len(k) if bound is None else int(np.searchsorted(k, bound)) for k in keys]
                part = pa.concat_tables([run.slice(b, e - b) for run, b, e in zip(runs, begin, end, strict=True)])
                begin = end
                if len(part):
                    yield _sort(part, self.key)
                    bar.update(len(part))


def _sort(table: pa.Table, key: str) -> pa.Table:
    return table.take(pa.array(np.argsort(table[key].to_numpy(), kind="stable")))


def _bounds(keys: list[np.ndarray]) -> np.ndarray:
    """Times that cut all runs together into ranges of about RANGE events."""
    step = max(1, RANGE // 100)
    sample = np.sort(np.concatenate([k[step // 2::step] for k in keys]))
    return np.unique(sample[RANGE // step::RANGE // step])


def without_repeats(table: pa.Table, key: str) -> pa.Table:
    """A table sorted by ``key`` without the rows that equal an earlier one in every column."""
    times = table[key].to_numpy()
    tied = np.zeros(len(times), dtype=bool)
    if len(times) > 1:
        same = times[1:] == times[:-1]
        tied[1:] |= same
        tied[:-1] |= same
    rows = np.flatnonzero(tied)
    if len(rows) == 0:
        return table
    repeated = table.take(pa.array(rows)).to_pandas().duplicated().to_numpy()
    keep = np.ones(len(times), dtype=bool)
    keep[rows[repeated]] = False
    return table.filter(pa.array(keep))
