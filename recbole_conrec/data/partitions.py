"""Logs that are larger than memory: a .inter file as a data set of pyarrow, partitioned by user.

A partition holds all events of its users, so it is a small log: whatever is computed user by user (windows, cuts,
instances) is computed partition by partition. Counts are added up; for Swing see :mod:`data.swing_on_disk`. Memory
grows with users, items and the events of one partition, not with all events.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute, csv, dataset, parquet
from recbole.utils import FeatureType
from tqdm import tqdm

from recbole_conrec.data import atomic
from recbole_conrec.data.events import EXPOSURE, NEGATIVE, EventLog
from recbole_conrec.data.feedback import FeedbackRules
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import replacing_folder, write_json

BLOCK = 2**24  # bytes of text parsed at a time
GROUP = 2**16  # events of a partition that are written at a time
ABOUT, EVENTS = "about.json", "events"
PARTITIONED = pa.schema([("part", pa.int32())])
FORMAT = dataset.ParquetFileFormat()

Keep = Callable[[EventLog], np.ndarray]
"""Which events of a log are meant: bool [E]. It gets one partition at a time."""


def write_partitions(
    inter: Path,
    out: Path,
    rules: FeedbackRules,
    parts: int = 64,
    *,
    fields: tuple[str, str, str] = ("user_id", "item_id", "timestamp"),
    separator: str = "\t",
    encoding: str = "utf-8",
) -> "Partitions":
    """Read an atomic file once, block by block, and write the folder ``out``: ``events/part=0/*.parquet`` ...

    Users and items get the numbers 1, 2 ... in order of appearance, as in a run on the file.

    Args:
        parts: user u is in partition u modulo ``parts``.
        fields: of user, item and time.

    Raises UserError for a mistake in the file, or rules that need more than an event's own fields.
    """
    if rules.by_user:
        raise UserError("partitions: the feedback rules compare an event with the user's others; give rules of fields")
    numbers: tuple[dict[str, int], dict[str, int]] = {}, {}
    with replacing_folder(out) as folder:
        schema = pa.schema(
            [
                ("part", pa.int32()),
                ("place", pa.int64()),  # in the file
                ("user", pa.int64()),
                ("item", pa.int64()),
                ("time", pa.int64()),
                ("feedback", pa.int8()),
            ]
        )
        header = atomic.read_header(inter, separator, encoding)
        blocks = _blocks(inter, list(header), fields, rules, separator, encoding)
        dataset.write_dataset(
            (_numbered(block, header, rules, fields, numbers, parts, schema) for block in blocks),
            folder / EVENTS,
            schema=schema,
            format=FORMAT,
            partitioning=dataset.partitioning(PARTITIONED, flavor="hive"),
            min_rows_per_group=GROUP,
            max_rows_per_group=2**20,
            max_partitions=parts,
            max_open_files=parts + 1,
            use_threads=False,
        )
        for name, ids in zip(("users", "items"), numbers, strict=True):
            parquet.write_table(pa.table({"id": pa.array(list(ids), pa.string())}), folder / f"{name}.parquet")
        n_users, n_items = (len(ids) + 1 for ids in numbers)
        write_json(folder / ABOUT, {"parts": parts, "n_users": n_users, "n_items": n_items})
    return Partitions.load(out)


def _blocks(
    inter: Path, header: list[str], fields: tuple[str, str, str], rules: FeedbackRules, separator: str, encoding: str
) -> Iterator[dict[str, atomic.Column]]:
    wanted = list(dict.fromkeys([*fields, *rules.fields]))
    if missing := [name for name in wanted if name not in header]:
        raise UserError(f"{inter}: there is no field '{missing[0]}'; it has {', '.join(header)}")
    before = 2  # the header is row 1
    with csv.open_csv(
        inter,
        read_options=csv.ReadOptions(
            use_threads=False, column_names=header, skip_rows=1, encoding=encoding, block_size=BLOCK
        ),
        parse_options=csv.ParseOptions(delimiter=separator, quote_char=False, ignore_empty_lines=False),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False, include_columns=wanted
        ),
    ) as reader:
        total = inter.stat().st_size // BLOCK + 1
        for batch in tqdm(reader, f"read {inter.name}", total=total, unit="block", leave=False, disable=total < 4):
            rows = np.arange(before, before + len(batch))
            before += len(batch)
            table = pa.Table.from_batches([batch])
            blank = compute.equal(table[fields[0]], "")
            if compute.any(blank).as_py():  # an empty line, or an empty id: then `ids` says so
                for name in wanted[1:]:
                    blank = compute.and_(blank, compute.equal(table[name], ""))
                table, rows = table.filter(compute.invert(blank)), rows[~blank.to_numpy()]
            if len(table):
                yield {name: atomic.Column(inter, name, table[name], rows) for name in wanted}


def _numbered(
    block: dict[str, atomic.Column],
    header: dict[str, FeatureType],
    rules: FeedbackRules,
    fields: tuple[str, str, str],
    numbers: tuple[dict[str, int], dict[str, int]],
    parts: int,
    schema: pa.Schema,
) -> pa.RecordBatch:
    user, item = (_codes(block[name], known) for name, known in zip(fields[:2], numbers, strict=True))
    frame = pd.DataFrame(
        {
            name: column.floats() if kind == FeatureType.FLOAT else column.tokens(empty=True)
            for name, kind in header.items()
            if name in rules.fields and (column := block[name])
        },
        index=block[fields[0]].rows,
    )
    feedback = np.zeros(len(frame), dtype=np.int8)
    for kind, rule in rules.rules.items():
        mask = rule.mask(frame)
        if len(both := np.flatnonzero(mask & (feedback != EXPOSURE))):
            raise UserError(
                f"{block[fields[0]].path}: row {frame.index[both[0]]} is both negative and positive; make the rules "
                "exclude each other"
            )
        feedback[mask] = kind
    columns = [user % parts, block[fields[0]].rows, user, item, block[fields[2]].times(plausible=True), feedback]
    arrays = [pa.array(column).cast(field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _codes(column: atomic.Column, known: dict[str, int]) -> np.ndarray:
    """The numbers of ids, int64 [N]; new ones are added to ``known``."""
    coded = column.ids()
    numbers = np.array([known.setdefault(word, len(known) + 1) for word in coded.categories], dtype=np.int64)
    return numbers[coded.codes]


@dataclass(frozen=True)
class Partitions:
    """A folder of :func:`write_partitions`.

    Attributes:
        parts: number of partitions. n_users, n_items: numbers of ids, padding included.
    """

    folder: Path
    parts: int
    n_users: int
    n_items: int

    @classmethod
    def load(cls, folder: Path) -> "Partitions":
        """Raises UserError if it is no such folder."""
        try:
            about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
            return cls(folder, about["parts"], about["n_users"], about["n_items"])
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(f"{folder}: no folder of partitions ({ABOUT} is missing or damaged)") from None

    def read(self, number: int) -> EventLog:
        """The events of the users u with u modulo ``parts`` = ``number``; numbers are those of the whole log."""
        folder = self.folder / EVENTS / f"part={number}"
        names = ["place", "user", "item", "time", "feedback"]
        if folder.exists():
            table = dataset.dataset(folder, format=FORMAT).to_table(columns=names)
            place, *columns = (table[name].to_numpy() for name in names)
        else:
            place, *columns = (np.empty(0, dtype=np.int64) for _ in names)
        order = np.argsort(place, kind="stable")
        user, item, time, feedback = (column[order] for column in columns)
        return EventLog.from_arrays(user, item, time, feedback, self.n_users, self.n_items)

    def __iter__(self) -> Iterator[EventLog]:
        return (self.read(number) for number in tqdm(range(self.parts), "partitions", leave=False, disable=None))

    def dislikes(self, keep: Keep | None = None) -> np.ndarray:
        """Negative events of each item among those that ``keep`` names: int64 [n_items]; see :mod:`data.counts`."""
        total = np.zeros(self.n_items, dtype=np.int64)
        for log in self:
            total += np.bincount(log.item[negatives(log, keep)], minlength=self.n_items)
        return total


def negatives(log: EventLog, keep: Keep | None) -> np.ndarray:
    """The negative events among those that ``keep`` names: bool [E]."""
    found = log.feedback == NEGATIVE
    return found if keep is None else found & keep(log)
