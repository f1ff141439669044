r"""Any log in CSV, JSON lines or Parquet, described by a mapping in YAML:

    events:
      files: 'events/*.csv'          # below --raw; several files follow each other by name
      format: csv                    # csv, json or parquet; by default what the first file's name says
      separator: ','                 # csv only, as are header and escape
      escape: '\\'                    # the sign before a quote that belongs to a cell; without it, quotes are doubled
      encoding: utf-8                # csv and json
      header: [uid, iid, stars, at]  # names, if the files have no header
      user: uid                      # names of columns
      item: iid
      time: at                       # without it, the place of a row is its time, and the window counts events
      unit: s                        # s, ms, us, ns; iso or a format such as '%b %d, %Y' for dates as text; without it,
                                     # what the column's type says, and seconds for numbers
      fields: {rating: {column: stars, type: float}, device: token}   # other columns to keep; 'name: type' if the
                                                                      # column has the field's name
    items:                           # may be left out
      files: items.json
      item: id
      fields: {title: token_seq, category: token}
    users: {files: users.csv, user: id, fields: {age: token}}         # may be left out
    feedback: {negative: 'rating <= 2', positive: 'rating >= 4'}
    split, window, item_text, item_category ...                       # as in properties/overall.yaml; passed on

Types are RecBole's: token, float, token_seq (words separated by blanks), float_seq.
"""

from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from recbole.utils.argument_list import dataset_arguments

from recbole_conrec.data.convert.chunk import Chunk
from recbole_conrec.data.convert.draft import Draft
from recbole_conrec.data.convert.faults import Faults
from recbole_conrec.data.convert.finding import find_logs
from recbole_conrec.data.convert.json_lines import FieldChunks
from recbole_conrec.data.convert.options import ConvertOptions
from recbole_conrec.data.convert.reading import csv_chunks, parquet_chunks
from recbole_conrec.data.convert.sections import ColumnField, EventsSection, ItemsSection, Section, UsersSection
from recbole_conrec.data.convert.times import times
from recbole_conrec.data.feedback import FeedbackRules
from recbole_conrec.data.protocol import DataOptions, Protocol
from recbole_conrec.options.layers import lay, overall
from recbole_conrec.options.schema import Text
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.names import nearest
from recbole_conrec.utils.yaml_files import read_yaml

FORMATS = {
    "csv": "csv",
    "tsv": "csv",
    "txt": "csv",
    "json": "json",
    "jsonl": "json",
    "ndjson": "json",
    "parquet": "parquet",
    "pq": "parquet",
}
SECTIONS = ("events", "items", "users")
SHOWN = 5  # files of a section that are printed


class GenericOptions(ConvertOptions):
    """The options of ``generic``."""

    mapping: Text
    """The YAML file that describes the log."""


def convert(options: GenericOptions, draft: Draft) -> None:
    mapping, raw = options.mapping, Path(options.raw)
    content = read_yaml(mapping)
    if "events" not in content:
        raise UserError(f"{mapping}: the section 'events' is needed; it says where the events are")
    section = EventsSection.read(content.pop("events"), f"{mapping}: events")
    sources = {"events": _Source(raw, f"{mapping}: events", section)}
    for name, kind in (("items", ItemsSection), ("users", UsersSection)):
        if name in content:
            where = f"{mapping}: {name}"
            sources[name] = _Source(raw, where, kind.read(content.pop(name), where))
    protocol = _check_protocol(mapping, content, list(sources["items"].fields) if "items" in sources else [])
    if not section.time:
        if protocol.window.unit != "events":
            raise UserError(
                f"{mapping}: events: without `time` there are no {protocol.window.unit} for `window` to count; name "
                "the column of times in `time`, or, if the rows are in order of time, set `window: {unit: events, "
                "length: 20}` and `split: {by: user}`"
            )
        print("events: no `time`, so the place of a row is its time; the rows must be in order of time")
    draft.protocol(f"Made by the mapping {Path(mapping).name}.", content)
    events = sources["events"]
    header = ["user_id:token", "item_id:token", *events.header, "timestamp:float"]
    needed = set(FeedbackRules.read(content["feedback"], "feedback").fields) | set(content.get("val_interval") or {})
    draft.events(header, _events(events, section, needed, draft), order="timestamp" if section.time else None)
    if "items" in sources:
        draft.items(["item_id:token", *sources["items"].header], _features(sources["items"], draft))
    if "users" in sources:
        draft.users(["user_id:token", *sources["users"].header], _features(sources["users"], draft))


def _check_protocol(mapping: str, options: dict, item_fields: list[str]) -> Protocol:
    """Check the options that are passed on before anything is read, and return those of the protocol.

    Raises UserError as a run would.
    """
    known = {*overall(), *dataset_arguments}
    for key in options:
        if key not in known:
            raise UserError(
                f"{mapping}: unknown key '{key}'{nearest(key, [*known, *SECTIONS])}; expected the sections "
                f"{', '.join(SECTIONS)}, the options of properties/overall.yaml and RecBole's for data"
            )
    if "feedback" not in options:
        raise UserError(f"{mapping}: 'feedback: {{negative: RULE}}' is needed; it says which events are negative")
    try:
        merged = lay(overall(), options)
        protocol = Protocol.of(merged)
        data = DataOptions.of(merged)
    except UserError as error:
        raise UserError(f"{mapping}: {error}") from None
    named = [("item_text", field) for field in data.item_text or ()]
    named += [("item_category", data.item_category)] if data.item_category else []
    for option, field in named:
        if field not in item_fields:
            raise UserError(
                f"{mapping}: {option}: '{field}' is no field of 'items'{nearest(field, item_fields)}; "
                f"its fields: {', '.join(item_fields) or 'none'}"
            )
    return protocol


class _Source:
    """The files of a section as chunks.

    Attributes:
        where: the mapping and the section, for errors.
        fields: name of a field -> (column, type).
    """

    def __init__(self, raw: Path, where: str, section: Section):
        self.where, self.section = where, section
        self.files = find_logs(raw, section.files, what=where)
        self.fields = {
            name: (field.column, field.type) if isinstance(field, ColumnField) else (name, field)
            for name, field in (section.fields or {}).items()
        }
        self.header = [f"{name}:{kind}" for name, (_, kind) in self.fields.items()]
        endings = {path.name.removesuffix(".gz").rpartition(".")[2].lower() for path in self.files}
        formats = {section.format or FORMATS.get(ending) for ending in endings}
        if len(formats) > 1 or None in formats:
            names = " and ".join(f"'{ending}'" for ending in sorted(endings))
            raise UserError(
                f"{where}: {section.files} are files that end in {names}; name files of one format in `files`, or set "
                "`format` to csv, json or parquet"
            )
        (self.format,) = (found for found in formats if found)
        section.check_format(self.format, where)
        more = f" and {len(self.files) - SHOWN} more" if len(self.files) > SHOWN else ""
        print(f"{where.rpartition(': ')[2]}: {', '.join(map(str, self.files[:SHOWN]))}{more}")

    def chunks(self, faults: Faults) -> Generator[Chunk, None, None]:
        section = self.section
        columns = list(dict.fromkeys([*section.keys, *(column for column, _ in self.fields.values())]))
        numbers = {column for column, kind in self.fields.values() if kind == "float"}
        objects = FieldChunks(columns, set(columns) - numbers - set(section.keys), numbers, section.encoding, faults)
        for path in self.files:
            if self.format == "parquet":
                yield from parquet_chunks(path, columns)
            elif self.format == "json":
                yield from objects.read(path)
            else:
                yield from csv_chunks(
                    path,
                    columns,
                    names=list(section.header) if section.header else None,
                    multiline=True,
                    separator=section.separator,
                    encoding=section.encoding,
                    escape=section.escape,
                    faults=faults,
                )
        if self.format == "json":
            objects.check(self.where)

    def columns(self, chunk: Chunk, needed: set[str]) -> list[pa.ChunkedArray]:
        """The fields' columns, as an atomic file writes them; only in the needed ones a missing number is an error."""
        made = []
        for name, (column, kind) in self.fields.items():
            if kind == "float":
                made.append(chunk.numbers(column, empty=name not in needed))
            else:
                cells = chunk.number_lists(column) if kind == "float_seq" else chunk.text(column)
                made.append(pa.chunked_array([pa.array(cells, pa.string())]))
        return made


def _events(source: _Source, section: EventsSection, needed: set[str], draft: Draft) -> Iterator[pa.Table]:
    def make(chunk: Chunk) -> pa.Table:
        columns = [chunk.ids(section.user), chunk.ids(section.item), *source.columns(chunk, needed)]
        if section.time:
            columns.append(times(chunk, section.time, section.unit, relative=section.relative, option="unit"))
        return pa.table(columns, names=names[: len(columns)])

    names = ["user_id", "item_id", *source.fields, "timestamp"]
    count = 0
    for table in draft.tables(source.chunks(draft.faults), make):
        places = pa.array(np.arange(count, count + len(table)))
        count += len(table)
        yield table if section.time else table.append_column("timestamp", places)


def _features(source: _Source, draft: Draft) -> Iterator[pa.Table]:
    (key,) = source.section.keys

    def make(chunk: Chunk) -> pa.Table:
        columns = [column.cast(pa.string()) for column in source.columns(chunk, set())]
        return pa.table([chunk.ids(key), *columns], names=["id", *source.fields])

    return draft.tables(source.chunks(draft.faults), make)
