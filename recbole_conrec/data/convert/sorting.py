"""Sorting events by time when they may not fit in memory: sorted runs on disk, merged range by range."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc
from tqdm import tqdm

RUN = 2_000_000  # events sorted in memory at a time
RANGE = 1_000_000  # events merged at a time; more only if more share one time
BATCH = 8_192  # events read from a run at a time
SAMPLE = 10_000  # times kept of each RUN events, from which the ranges are chosen
FILES = 128  # runs of one size that are merged into one: each is an open file, and a process may have about 1,000


class TimeSorter:
    """Collects tables of events, then gives them back in order of one integer column; ties keep their first order.

    Memory holds one run, then one range of all runs, and a sample of the times; all else waits in ``folder``. Every
    FILES runs of one size are merged into one, so that few files are open however many events there are.

    Args:
        folder: an empty folder for the runs.
        key: the column to sort by, int64 without nulls.
    """

    def __init__(self, folder: Path, key: str):
        self.folder, self.key = folder, key
        self._waiting: list[pa.Table] = []
        self._runs: list[_Run] = []  # in the order of their events
        self._written = 0

    def add(self, table: pa.Table) -> None:
        self._waiting.append(table)
        if sum(map(len, self._waiting)) >= RUN:
            self._write_run()

    def _write_run(self) -> None:
        table = _sort(pa.concat_tables(self._waiting), self.key)
        self._waiting = []
        self._add_run([table], 0)
        # levels never rise along the runs: if the first and the last of FILES runs have one level, all have it
        while len(last := self._runs[-FILES:]) == FILES and last[0].level == last[-1].level:
            self._runs = self._runs[:-FILES]
            self._add_run(self._merged(last, "merge"), last[0].level + 1)
            for run in last:
                run.remove()

    def _add_run(self, tables: Iterable[pa.Table], level: int) -> None:
        self._runs.append(_Run(self.folder / f"{self._written}.arrow", tables, self.key, level))
        self._written += 1

    def sorted(self) -> Iterator[pa.Table]:
        """The events in order; events of the same time are in one table. Call once, when all are added."""
        if self._waiting:
            self._write_run()
        yield from self._merged(self._runs, "sort")

    def _merged(self, runs: list["_Run"], what: str) -> Iterator[pa.Table]:
        with tqdm(total=sum(run.rows for run in runs), unit="event", unit_scale=True, desc=what, leave=False) as bar:
            bounds = [None, *_bounds(runs), None]
            for low, high in pairwise(bounds):
                parts = [part for run in runs for part in run.between(low, high)]
                if parts:
                    yield _sort(pa.concat_tables(parts), self.key)
                    bar.update(sum(map(len, parts)))


def _bounds(runs: list["_Run"]) -> list[int]:
    """Times at which the runs are cut into ranges of about RANGE events."""
    sample = np.sort(np.concatenate([np.empty(0, np.int64), *(run.sample for run in runs)]))
    if len(sample) == 0:
        return []
    share = min(len(sample), max(1, RANGE * len(sample) // sum(run.rows for run in runs)))
    return np.unique(sample[share::share]).tolist()


class _Run:
    """Sorted events in a file; only the first time of each batch and a sample of the times are in memory.

    Args:
        tables: the events, in order.
        level: how often they were merged; runs of one level are about equally large.
    """

    def __init__(self, path: Path, tables: Iterable[pa.Table], key: str, level: int):
        self.path, self.key, self.level, self.rows = path, key, level, 0
        first, sample = [], []
        writer: pa.RecordBatchFileWriter | None = None
        step = max(1, RUN // SAMPLE)
        with pa.OSFile(str(path), "wb") as file:
            for table in tables:
                writer = writer or pa.ipc.new_file(file, table.schema)
                times = table[key].to_numpy()
                first.append(times[::BATCH].copy())  # no views, which would keep the table
                sample.append(times[step // 2 :: step].copy())
                for begin in range(0, len(table), BATCH):
                    writer.write_table(table.slice(begin, BATCH).combine_chunks())
                self.rows += len(table)
            if writer is not None:
                writer.close()
        self.first, self.sample = np.concatenate(first), np.concatenate(sample)
        self._file = pa.OSFile(str(path))
        self._reader = pa.ipc.open_file(self._file)

    def remove(self) -> None:
        self._file.close()
        self.path.unlink()

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
    """A table sorted by ``key``, without the rows that equal an earlier one in every column."""
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
