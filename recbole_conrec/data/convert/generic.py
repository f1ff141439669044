"""Any log in CSV, JSON lines or Parquet, described by a mapping in YAML:

    events:
      files: 'events/*.csv'          # below --raw; several files follow each other by name
      format: csv                    # csv, json or parquet; by default what the first file's name says
      separator: ','                 # csv only, as are encoding and header
      encoding: utf-8
      header: [uid, iid, stars, at]  # names, if the files have no header
      user: uid                      # names of columns
      item: iid
      time: at                       # without it, the place of a row is its time
      unit: s                        # s, ms, us, ns, or iso for dates and times as text
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

import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
from pydantic import AfterValidator, Field
from recbole.utils.argument_list import dataset_arguments

from recbole_conrec.data.atomic import Encoding
from recbole_conrec.data.convert.chunk import Chunk
from recbole_conrec.data.convert.draft import Draft
from recbole_conrec.data.convert.finding import find_all
from recbole_conrec.data.convert.options import ConvertOptions
from recbole_conrec.data.convert.reading import csv_chunks, json_chunks, lines, parquet_chunks
from recbole_conrec.data.protocol import DataOptions, Protocol
from recbole_conrec.options.layers import lay, overall
from recbole_conrec.options.schema import Options, Several, Text
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
SAMPLE = 1000  # lines of JSON from which the types of the columns are inferred


class GenericOptions(ConvertOptions):
    """The options of ``generic``."""

    mapping: Text
    """The YAML file that describes the log."""


def _names_a_field(name: str) -> str:
    if not re.fullmatch(r"\w+", name) or name in ("user_id", "item_id", "timestamp"):
        raise ValueError(
            f"{name!r}; expected letters, digits and '_', and another name than user_id, item_id and timestamp"
        )
    return name


Type = Literal["token", "float", "token_seq", "float_seq"]
FieldName = Annotated[Text, AfterValidator(_names_a_field)]


class ColumnField(Options):
    """A field that does not have its column's name."""

    column: str
    """Name of the column."""
    type: Type
    """Type of the field."""


class Section(Options):
    """What the sections ``events``, ``items`` and ``users`` of the mapping share."""

    files: str
    """Pattern of the files below --raw; several files follow each other by name."""
    format: Literal["csv", "json", "parquet"] | None = None
    """Format of the files; null: by the ending of the first one."""
    separator: Annotated[str, Field(min_length=1)] = ","
    """Text between two cells; csv only."""
    encoding: Encoding = "utf-8"
    """Encoding of the files; csv only."""
    header: Several[Text] | None = None
    """Names of all columns, if the files have no header; csv only."""
    fields: dict[FieldName, Type | ColumnField] | None = None
    """Other columns to keep: field -> type, or {column, type} if the column has another name."""

    @property
    def keys(self) -> list[str]:
        """The columns of ids and times."""
        return []


class EventsSection(Section):
    """The section ``events``."""

    user: str
    """Column of the user."""
    item: str
    """Column of the item."""
    time: str | None = None
    """Column of the time; null: the place of a row is its time."""
    unit: Literal["s", "ms", "us", "ns", "iso"] | None = "s"
    """Unit of the times; iso: dates and times as text; null: s."""

    @property
    def keys(self) -> list[str]:
        return [self.user, self.item, *([self.time] if self.time else [])]


class ItemsSection(Section):
    """The section ``items``."""

    item: str
    """Column of the item."""

    @property
    def keys(self) -> list[str]:
        return [self.item]


class UsersSection(Section):
    """The section ``users``."""

    user: str
    """Column of the user."""

    @property
    def keys(self) -> list[str]:
        return [self.user]


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
    _check_protocol(mapping, content, list(sources["items"].fields) if "items" in sources else [])
    draft.protocol(f"Made by the mapping {Path(mapping).name}.", content)
    events = sources["events"]
    header = ["user_id:token", "item_id:token", *events.header, "timestamp:float"]
    draft.events(header, _events(events, section), order="timestamp" if section.time else None)
    if "items" in sources:
        draft.items(["item_id:token", *sources["items"].header], _features(sources["items"]))
    if "users" in sources:
        draft.users(["user_id:token", *sources["users"].header], _features(sources["users"]))


def _check_protocol(mapping: str, options: dict, item_fields: list[str]) -> None:
    """Check the options that are passed on before anything is read. Raises UserError as a run would."""
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
        Protocol.of(merged)
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


class _Source:
    """The files of a section as chunks.

    Attributes:
        where: the mapping and the section, for errors.
        fields: name of a field -> (column, type).
    """

    def __init__(self, raw: Path, where: str, section: Section):
        self.where, self.section = where, section
        self.files = find_all(raw, section.files, what=where)
        self.fields = {
            name: (field.column, field.type) if isinstance(field, ColumnField) else (name, field)
            for name, field in (section.fields or {}).items()
        }
        self.header = [f"{name}:{kind}" for name, (_, kind) in self.fields.items()]
        ending = self.files[0].name.removesuffix(".gz").rpartition(".")[2]
        self.format = section.format or FORMATS.get(ending)
        if self.format is None:
            raise UserError(f"{where}.format: '{ending}' is unknown; set it to csv, json or parquet")

    def chunks(self) -> Iterator[Chunk]:
        columns = list(dict.fromkeys([*self.section.keys, *(column for column, _ in self.fields.values())]))
        numbers = {column for column, kind in self.fields.values() if kind == "float"}
        for path in self.files:
            if self.format == "parquet":
                yield from parquet_chunks(path, columns)
            elif self.format == "json":
                yield from json_chunks(path, _json_types(path, columns, numbers))
            else:
                yield from csv_chunks(
                    path,
                    columns,
                    names=list(self.section.header) if self.section.header else None,
                    multiline=True,
                    separator=self.section.separator,
                    encoding=self.section.encoding,
                )

    def columns(self, chunk: Chunk) -> list[pa.Array]:
        """The fields' columns, as an atomic file writes them."""
        return [
            chunk.numbers(column) if kind == "float" else pa.array(chunk.text(column), pa.string())
            for column, kind in self.fields.values()
        ]


def _events(source: _Source, section: EventsSection) -> Iterator[pa.Table]:
    names = ["user_id", "item_id", *source.fields, "timestamp"]
    count = 0
    for chunk in source.chunks():
        places = pa.array(np.arange(count, count + len(chunk)))
        times = chunk.times(section.time, section.unit or "s") if section.time else places
        count += len(chunk)
        yield pa.table([chunk.ids(section.user), chunk.ids(section.item), *source.columns(chunk), times], names=names)


def _features(source: _Source) -> Iterator[pa.Table]:
    (key,) = source.section.keys
    for chunk in source.chunks():
        columns = [column.cast(pa.string()) for column in source.columns(chunk)]
        yield pa.table([chunk.ids(key), *columns], names=["id", *source.fields])


def _json_types(path: Path, columns: list[str], numbers: set[str]) -> dict[str, pa.DataType]:
    """Arrow types of the columns, inferred from the first lines; a column that none of them has is an error."""
    rows = []
    for number, line in islice(lines(path), SAMPLE):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, row {number}: not JSON ({error.msg}); expected one object per line") from None
    types = {}
    for column in columns:
        values = [row.get(column) for row in rows if isinstance(row, dict)]
        if all(value is None for value in values):
            raise UserError(f"{path}: no '{column}' in its first {len(rows)} rows")
        try:
            types[column] = pa.float64() if column in numbers else pa.array(values).type
        except pa.ArrowInvalid:
            raise UserError(f"{path}: '{column}' is sometimes a number and sometimes text; make it one") from None
    return types
