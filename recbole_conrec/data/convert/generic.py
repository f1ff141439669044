"""Any log in CSV, JSON lines or Parquet, described by a mapping in YAML:

    events:
      files: 'events/*.csv'          # below --raw; several files follow each other by name
      format: csv                    # csv, json or parquet; by default what the first file's name says
      separator: ','                 # csv only, as are encoding and header
      encoding: utf-8
      header: [uid, iid, stars, at]  # names, if the files have no header
      user: uid                      # names of columns
      item: iid
      time: at                       # without it, the order of the rows is the time
      unit: s                        # s, ms, us, ns, or iso for dates and times in words
      fields: {rating: {column: stars, type: float}, device: token}   # kept beside; 'name: type' if the names agree
    items:                           # may be left out
      files: items.json
      item: id
      fields: {title: token_seq, category: token}
    users: {files: users.csv, user: id, fields: {age: token}}         # may be left out
    feedback: {negative: 'rating <= 2', positive: 'rating >= 4'}
    split, window, item_text, item_category ...                       # as in properties/overall.yaml, passed on

Types are RecBole's: token, float, token_seq (words parted by blanks), float_seq.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from recbole.utils.argument_list import dataset_arguments

from recbole_conrec.data.convert.chunk import Chunk
from recbole_conrec.data.convert.draft import Draft
from recbole_conrec.data.convert.reading import csv_chunks, find_all, json_chunks, lines, parquet_chunks
from recbole_conrec.data.protocol import Protocol
from recbole_conrec.options.layers import lay, overall
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
TYPES = ("token", "float", "token_seq", "float_seq")
SOURCE = {"files", "format", "separator", "encoding", "header", "fields"}
SECTIONS = {"events": SOURCE | {"user", "item", "time", "unit"}, "items": SOURCE | {"item"}, "users": SOURCE | {"user"}}
TEXTS = {"files", "format", "separator", "encoding", "user", "item", "time", "unit"}  # keys whose value is one word
UNITS = ("s", "ms", "us", "ns", "iso", None)
SAMPLE = 1000  # lines of JSON from which the columns' types are told


def convert(raw: Path, draft: Draft, *, mapping: str) -> None:
    """Args: mapping: the YAML file."""
    options = read_yaml(mapping)
    sections = {
        name: _Source(raw, f"{mapping}, '{name}'", options.pop(name), SECTIONS[name])
        for name in SECTIONS
        if name in options
    }
    if "events" not in sections:
        raise UserError(f"{mapping}: no section 'events'; it says where the events are")
    if "negative" not in (options.get("feedback") or {}):
        raise UserError(f"{mapping}: no 'feedback: {{negative: RULE}}'; it says which events are negative")
    _check_protocol(mapping, options, sections["items"].fields if "items" in sections else {})
    draft.protocol(f"Made by the mapping {Path(mapping).name}.", options)
    events = sections["events"]
    header = ["user_id:token", "item_id:token", *events.header, "timestamp:float"]
    draft.events(header, _events(events), order="timestamp" if events.options.get("time") else None)
    if "items" in sections:
        draft.items(["item_id:token", *sections["items"].header], _features(sections["items"], "item"))
    if "users" in sections:
        draft.users(["user_id:token", *sections["users"].header], _features(sections["users"], "user"))


def _check_protocol(mapping: str, options: dict, item_fields: dict) -> None:
    """The options that are passed on, before anything is read. Raises UserError as a run would, naming the mapping."""
    known = {*overall(), *dataset_arguments}
    for key in options:
        if key not in known:
            raise UserError(
                f"{mapping}: unknown key '{key}'{nearest(key, [*known, *SECTIONS])}; there are the "
                f"sections {', '.join(SECTIONS)}, the options of properties/overall.yaml and RecBole's for "
                f"data"
            )
    try:
        Protocol.of(defaultdict(lambda: None, lay(overall(), options)))  # RecBole's own options are none
    except UserError as error:
        raise UserError(f"{mapping}: {error}") from None
    for option in ("item_text", "item_category"):
        value = options.get(option) or []
        for field in map(str, value if isinstance(value, list) else [value]):
            if field not in item_fields:
                raise UserError(
                    f"{mapping}: {option}: '{field}' is no field of 'items'{nearest(field, item_fields)}; "
                    f"its fields: {', '.join(item_fields) or 'none'}"
                )


class _Source:
    """One section of the mapping, checked; its files as chunks."""

    def __init__(self, raw: Path, where: str, options, known: set[str]):
        if not isinstance(options, dict):
            raise UserError(f"{where}: expected a mapping with the keys {', '.join(sorted(known))}")
        for key in options:
            if key not in known:
                raise UserError(
                    f"{where}: unknown key '{key}'{nearest(key, known)}; there are {', '.join(sorted(known))}"
                )
        for key in {"files", "user", "item"} & known - set(options):
            raise UserError(f"{where}: no '{key}'")
        for key in TEXTS & set(options):
            if not isinstance(options[key], str | None):
                raise UserError(f"{where}: {key} is {options[key]!r}; expected text: put it in quotes")
        if not isinstance(options.get("fields"), dict | None):
            raise UserError(f"{where}: fields is {options['fields']!r}; expected a mapping 'name: type'")
        if options.get("unit") not in UNITS:
            raise UserError(f"{where}: unit '{options['unit']}' is unknown; there are s, ms, us, ns and iso")
        self.where, self.options = where, options
        self.files = find_all(raw, options["files"], what=where)
        self.fields = {
            str(name): self._field(str(name), field) for name, field in (options.get("fields") or {}).items()
        }
        self.header = [f"{name}:{kind}" for name, (_, kind) in self.fields.items()]
        ending = self.files[0].name.removesuffix(".gz").rpartition(".")[2]
        self.format = options.get("format") or FORMATS.get(ending)
        if self.format not in FORMATS.values():
            raise UserError(
                f"{where}: format '{self.format or ending}' is unknown; set `format` to csv, json or parquet"
            )

    def _field(self, name: str, field) -> tuple[str, str]:
        """(column, type) of a field written 'name: type' or 'name: {column, type}'."""
        column, kind = (field.get("column"), field.get("type")) if isinstance(field, dict) else (name, field)
        if kind not in TYPES or not isinstance(column, str):
            raise UserError(
                f"{self.where}: field '{name}' is {field!r}; expected a type ({', '.join(TYPES)}) or "
                f"{{column: NAME, type: TYPE}}"
            )
        if not re.fullmatch(r"\w+", name) or name in ("user_id", "item_id", "timestamp"):
            raise UserError(
                f"{self.where}: field name '{name}': expected letters, digits and '_', and another name "
                f"than user_id, item_id and timestamp"
            )
        return column, kind

    def chunks(self) -> Iterator[Chunk]:
        keys = [self.options[key] for key in ("user", "item", "time") if self.options.get(key)]
        columns = list(dict.fromkeys([*keys, *(column for column, _ in self.fields.values())]))
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
                    names=self.options.get("header"),
                    multiline=True,
                    separator=self.options.get("separator", ","),
                    encoding=self.options.get("encoding", "utf-8"),
                )

    def columns(self, chunk: Chunk) -> list[pa.Array]:
        """The fields' columns, as an atomic file writes them."""
        return [
            chunk.numbers(column) if kind == "float" else pa.array(chunk.text(column), pa.string())
            for column, kind in self.fields.values()
        ]


def _events(source: _Source) -> Iterator[pa.Table]:
    names = ["user_id", "item_id", *source.fields, "timestamp"]
    user, item, time, unit = (source.options.get(key) for key in ("user", "item", "time", "unit"))
    count = 0
    for chunk in source.chunks():
        times = chunk.times(time, unit or "s") if time else pa.array(np.arange(count, count + len(chunk)))
        count += len(chunk)
        yield pa.table([chunk.ids(user), chunk.ids(item), *source.columns(chunk), times], names=names)


def _features(source: _Source, key: str) -> Iterator[pa.Table]:
    for chunk in source.chunks():
        columns = [column.cast(pa.string()) for column in source.columns(chunk)]
        yield pa.table([chunk.ids(source.options[key]), *columns], names=[key, *source.fields])


def _json_types(path: Path, columns: list[str], numbers: set[str]) -> dict[str, pa.DataType]:
    """Arrow types of the columns, told from the first lines; a column that is never there is an error."""
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
