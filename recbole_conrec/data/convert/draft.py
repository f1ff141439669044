"""A data set under construction: how every converter writes its events, items, users and protocol."""

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recbole_conrec.data.convert.chunk import Chunk
from recbole_conrec.data.convert.faults import BadRowsError, Faults
from recbole_conrec.data.convert.sorting import TimeSorter, without_repeats
from recbole_conrec.data.convert.writing import AtomicFile, clean, write_yaml
from recbole_conrec.data.events import NEGATIVE, POSITIVE
from recbole_conrec.data.feedback import FeedbackRules
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.names import nearest

SLICE = 200_000  # items or users handled at a time


class Draft:
    """The files of the data set ``name`` in ``folder``, which :func:`writing.new_dataset` moves to its place.

    A converter calls :meth:`protocol`, then :meth:`events`, then :meth:`items` and :meth:`users` if it has them.

    Attributes:
        summary: counts for the user: events, users, items, negatives, positives, repeats dropped ...
        faults: the bad rows of the raw files, for the readers.
    """

    _rules: FeedbackRules

    def __init__(self, folder: Path, name: str, faults: Faults | None = None):
        self.folder, self.name = folder, name
        self.faults = faults if faults is not None else Faults()
        self.summary: dict[str, int] = {}
        self._known: dict[str, Ids] = {}

    def protocol(self, comment: str, options: dict) -> None:
        """Write ``name.yaml``: the options that a run on this data set starts from (see writing.protocol_options)."""
        self._rules = FeedbackRules.read(options["feedback"], "feedback")
        write_yaml(self.folder / f"{self.name}.yaml", options, comment)

    def tables(self, chunks: Generator[Chunk, None, None], make: Callable[[Chunk], pa.Table]) -> Iterator[pa.Table]:
        """What ``make`` makes of each chunk. Unreadable rows go to ``faults``, checked at the end."""
        with contextlib.closing(chunks):  # its progress bar ends before an error is printed
            for chunk in chunks:
                good, table = chunk, None
                while len(good) and table is None:
                    try:
                        table = make(good)
                    except BadRowsError as error:
                        self.faults.add(error.faults)
                        good = good.keep(~error.mask)
                if table is not None:
                    yield table
        self.faults.check()

    def finish(self) -> None:
        """Refuse the bad rows, or list those that were left out in ``name.bad-rows.csv``. Call last."""
        self.faults.check()
        if self.faults.found:
            self.faults.write(self.folder / f"{self.name}.bad-rows.csv")
            self.summary["bad rows left out"] = len(self.faults.found)

    def events(self, header: list[str], tables: Iterable[pa.Table], *, order: str | None = "timestamp") -> None:
        """Write ``name.inter``.

        Args:
            header: 'name:type' of the columns to write; user_id, item_id, timestamp among them.
            tables: events; ids as text, timestamps int64.
            order: the int64 column to sort by (it may be finer than the timestamp, and need not be written); rows equal
                to an earlier one are dropped. None: the tables are in order already, and nothing is dropped.

        Raises UserError for a rule on a missing field, no events, no negative events, or an event that is both negative
        and positive.
        """
        names = [column.split(":")[0] for column in header]
        for field, rule in self._rules.fields.items():
            if field not in names:
                raise UserError(
                    f"{self.name}: the feedback rule '{rule}' reads '{field}', which the events do not "
                    f"have{nearest(field, names)}; they have {', '.join(names)}"
                )
        known = {"user_id": _Distinct(), "item_id": _Distinct()}
        counts = dict.fromkeys(("events", "negatives", "positives", "repeats"), 0)
        with AtomicFile(self.folder / f"{self.name}.inter", header) as file:
            for table in self._sorted(tables, order) if order else tables:
                whole = len(table)
                table = without_repeats(table, order) if order else table
                file.write(table.select(names))
                for field, distinct in known.items():
                    distinct.add(table[field])
                counts["events"] += len(table)
                counts["repeats"] += whole - len(table)
                self._count_feedback(table, counts)
        if counts["events"] == 0:
            raise UserError(f"{self.name}: the raw files hold no events")
        if self._rules.by_user:  # these need users and times, which a run knows
            del counts["negatives"], counts["positives"]
        elif counts["negatives"] == 0:
            raise UserError(
                f"{self.name}: none of {counts['events']} events is negative by the rule "
                f"'{self._rules.negative}'; nothing can be predicted from this data set"
            )
        self._known = {field: Ids(distinct.values()) for field, distinct in known.items()}
        self.summary |= {"users": len(self._known["user_id"]), "items": len(self._known["item_id"]), **counts}

    def has_items(self, ids: pa.ChunkedArray) -> np.ndarray:
        """Which ids have events: bool. Call after :meth:`events`."""
        return self._known["item_id"].places(ids)[1]

    def _sorted(self, tables: Iterable[pa.Table], order: str) -> Iterable[pa.Table]:
        runs = self.folder / "runs"
        runs.mkdir()
        sorter = TimeSorter(runs, order)
        for table in tables:
            sorter.add(table)
        yield from sorter.sorted()
        for file in runs.iterdir():
            file.unlink()
        runs.rmdir()

    def _count_feedback(self, table: pa.Table, counts: dict[str, int]) -> None:
        if self._rules.by_user:
            return
        rules, frame = self._rules.rules, table.select(list(self._rules.fields)).to_pandas()
        negative = rules[NEGATIVE].mask(frame)
        counts["negatives"] += int(negative.sum())
        if POSITIVE not in rules:
            return
        positive = rules[POSITIVE].mask(frame)
        counts["positives"] += int(positive.sum())
        if (negative & positive).any():
            event = table.slice(int(np.argmax(negative & positive)), 1).to_pylist()[0]
            raise UserError(
                f"{self.name}: user '{event['user_id']}', item '{event['item_id']}': the event is both negative by "
                f"'{rules[NEGATIVE].text}' and positive by '{rules[POSITIVE].text}'; make the rules exclude each other"
            )

    def items(self, header: list[str], tables: Iterable[pa.Table]) -> None:
        """Write ``name.item``: one row for each item that has events, the first one if its id is repeated.

        Args:
            header: 'item_id:token' and the other columns, in the tables' order.
            tables: columns of clean text (see :func:`text_tables`, :meth:`Chunk.text`), ids first.
        """
        self._features("item", header, tables)

    def users(self, header: list[str], tables: Iterable[pa.Table]) -> None:
        """Write ``name.user`` in the same way."""
        self._features("user", header, tables)

    def _features(self, suffix: str, header: list[str], tables: Iterable[pa.Table]) -> None:
        known = self._known[f"{suffix}_id"]
        seen, repeats = np.zeros(len(known), dtype=bool), 0
        with AtomicFile(self.folder / f"{self.name}.{suffix}", header) as file:
            for table in tables:
                places, wanted = known.places(table[0])
                rows = np.flatnonzero(wanted & ~seen[places])
                rows = np.sort(rows[np.unique(places[rows], return_index=True)[1]])  # the first of each
                repeats += int(wanted.sum()) - len(rows)
                seen[places[rows]] = True
                file.write(table.take(pa.array(rows)))
        self.summary[f"{suffix}s without features"] = int((~seen).sum())
        if repeats:
            self.summary[f"{suffix} rows dropped, whose id an earlier row has"] = repeats


def text_tables(rows: Iterable[tuple]) -> Iterator[pa.Table]:
    """Tuples of cells, of any type -> tables of clean text."""
    rows = iter(rows)
    while part := list(itertools.islice(rows, SLICE)):
        yield text_table(part)


def text_table(rows: Iterable[tuple]) -> pa.Table:
    """Tuples of cells, of any type and at least one -> a table of clean text."""
    arrays = [pa.array([clean(cell) for cell in column], pa.string()) for column in zip(*rows, strict=True)]
    return pa.table(arrays, names=[str(number) for number in range(len(arrays))])


class _Distinct:
    """Distinct values of a column that arrives in parts; memory grows with the distinct values only."""

    def __init__(self):
        self._parts: list[pa.Array] = []
        self._size = 0

    def add(self, column: pa.ChunkedArray) -> None:
        self._parts.append(pc.unique(column))
        if sum(map(len, self._parts)) > 2 * self._size + 1_000_000:
            self.values()

    def values(self) -> pa.Array:
        merged = pc.unique(pa.chunked_array(self._parts, pa.string()))
        self._parts, self._size = [merged], len(merged)
        return merged


class Ids:
    """A set of ids, as sorted bytes: tens of millions of Python strings would not fit."""

    def __init__(self, ids: pa.Array):
        self._ids = np.sort(_bytes(ids))

    def __len__(self) -> int:
        return len(self._ids)

    def places(self, ids) -> tuple[np.ndarray, np.ndarray]:
        """Where each id is in the set (any place if it is not), and whether it is."""
        keys = _bytes(ids)
        places = np.searchsorted(self._ids, keys).clip(max=len(self._ids) - 1)
        return places, self._ids[places] == keys


def _bytes(ids) -> np.ndarray:
    return np.asarray(ids.cast(pa.binary()).to_pylist(), dtype="S") if len(ids) else np.empty(0, "S1")
