"""Putting events in time order when they may not fit in memory: sorted runs on disk, merged range by range."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc
from tqdm import tqdm

RUN = 2_000_000    # events sorted in memory at a time
RANGE = 1_000_000  # events merged at a time; more only where so many share one time
BATCH = 8_192      # events read from a run at a time
SAMPLE = 10_000    # times remembered of each run, to cut the ranges


class TimeSorter:
    """Collects tables of events, then gives them back in order of one integer column; ties keep their first order.

    Memory holds one run, then one range of all runs, and a sample of the times; the rest waits in ``folder``.

    Args:
        folder: an empty folder for the runs.
        key: the column to sort by, int64 without nulls.
    """

    def __init__(self, folder: Path, key: str):
        self.folder, self.key = folder, key
        self.rows = 0
        self._waiting: list[pa.Table] = []
        self._runs: list[_Run] = []

    def add(self, table: pa.Table) -> None:
        self._waiting.append(table)
        self.rows += len(table)
        if sum(map(len, self._waiting)) >= RUN:
            self._write_run()

    def _write_run(self) -> None:
        table = _sort(pa.concat_tables(self._waiting), self.key)
        self._waiting = []
        self._runs.append(_Run(self.folder / f"{len(self._runs)}.arrow", table, self.key))

    def sorted(self) -> Iterator[pa.Table]:
        """The events in order, in tables that never part events of the same time. Call once, when all are added."""
        if self._waiting:
            self._write_run()
        with tqdm(total=self.rows, unit="event", unit_scale=True, desc="sort", leave=False) as bar:
            bounds = [None, *self._bounds(), None]
            for low, high in zip(bounds, bounds[1:], strict=False):
                parts = [part for run in self._runs for part in run.between(low, high)]
                if parts:
                    yield _sort(pa.concat_tables(parts), self.key)
                    bar.update(sum(map(len, parts)))

    def _bounds(self) -> list[int]:
        """Times that cut all runs together into ranges of about RANGE events."""
        if not self._runs:
            return []
        sample = np.sort(np.concatenate([run.sample for run in self._runs]))
        share = min(len(sample), max(1, RANGE * len(sample) // self.rows))
        return np.unique(sample[share::share]).tolist()


class _Run:
    """Sorted events in a file; only the first time of each batch is remembered."""

    def __init__(self, path: Path, table: pa.Table, key: str):
        times = table[key].to_numpy()
        step = max(1, len(times) // SAMPLE)
        self.key, self.first, self.sample = key, times[::BATCH].copy(), times[step // 2 :: step].copy()  # no views
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            for begin in range(0, len(table), BATCH):
                writer.write_table(table.slice(begin, BATCH).combine_chunks())
        self._reader = pa.ipc.open_file(pa.OSFile(str(path)))

    def between(self, low: int | None, high: int | None) -> Iterator[pa.Table]:
        """The events with low <= time < high; None is no bound."""
        begin = 0 if low is None else max(0, int(np.searchsorted(self.first, low)) - 1)
        end = len(self.first) if high is None else int(np.searchsorted(self.first, high))
        for number in range(begin, end):
            batch = self._reader.get_batch(number)
            times = batch.column(self.key).to_numpy()
            first = 0 if low is None else int(np.searchsorted(times, low))
            last = len(times) if high is None else int(np.searchsorted(times, high))
            if first < last:
                yield pa.Table.from_batches([batch.slice(first, last - first)])


def _sort(table: pa.Table, key: str) -> pa.Table:
    return table.take(pa.array(np.argsort(table[key].to_numpy(), kind="stable")))


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
