"""Reading official downloads: streamed in chunks; a mistake is an error with its file and row."""

import ast
import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet
from tqdm import tqdm

from recbole_conrec.data.convert.chunk import Chunk
from recbole_conrec.utils.errors import UserError

BLOCK = 16 << 20  # bytes read at a time
LITERALS = 100_000  # rows of Python literals read at a time


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file's bytes, decompressed if its name ends in .gz, with a progress bar over the bytes on disk.

    Raises UserError if a .gz file is cut short or is not one.
    """
    with (
        path.open("rb") as file,
        tqdm.wrapattr(
            file, "read", total=path.stat().st_size, desc=path.name, unit="B", unit_scale=True, leave=False
        ) as counted,
    ):
        try:
            yield cast(BinaryIO, gzip.GzipFile(fileobj=counted)) if path.suffix == ".gz" else counted
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise UserError(f"{path}: not a whole gzip file ({error}); download it again") from None


def lines(path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """Line numbers (from 1) and lines, without their ends; blank lines are skipped."""
    number, rest = 0, b""
    with opened(path) as file:
        while block := file.read(BLOCK):
            *whole, rest = (rest + block).split(b"\n")
            for line in whole:
                number += 1
                if line.strip():
                    yield number, _decode(path, number, line, encoding)
    if rest.strip():
        yield number + 1, _decode(path, number + 1, rest, encoding)


def _decode(path: Path, number: int, line: bytes, encoding: str) -> str:
    try:
        return line.decode(encoding).rstrip("\r").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}, row {number}: not {encoding} text ({error.reason}); is the download damaged?"
        ) from None


def delimited(path: Path, names: list[str], separator: str, encoding: str = "utf-8") -> Iterator[tuple[int, dict]]:
    """Rows of a small text file without quoting, as (row number, {name: text})."""
    for number, line in lines(path, encoding):
        cells = line.split(separator)
        if len(cells) != len(names):
            raise UserError(
                f"{path}, row {number}: {len(cells)} cells separated by '{separator}'; expected "
                f"{len(names)}: {', '.join(names)}"
            )
        yield number, dict(zip(names, cells, strict=True))


def csv_chunks(
    path: Path,
    columns: list[str],
    *,
    optional: tuple[str, ...] = (),
    names: list[str] | None = None,
    separator: str = ",",
    encoding: str = "utf-8",
    quoted: bool = True,
    multiline: bool = False,
) -> Iterator[Chunk]:
    """Chunks of a CSV file, every column as text.

    Args:
        columns: those wanted. Raises UserError if the header lacks one.
        optional: others, left out where the header lacks them.
        names: names of all columns, if the file has no header.
        separator: text between two cells; with more than one character (MovieLens' '::') nothing is quoted.
        quoted: cells may be in double quotes.
        multiline: quoted cells may hold line ends.
    """
    header = names or _header(path, separator, encoding)
    wanted = _wanted(path, header, columns, optional)
    broken: list[pa.csv.InvalidRow] = []  # rows of another length; an exception cannot leave Arrow's handler

    def refuse(row: pa.csv.InvalidRow) -> str:
        broken.append(row)
        return "error"

    parsing = pa.csv.ParseOptions(
        delimiter=separator if len(separator) == 1 else "\x1f",
        newlines_in_values=multiline,
        quote_char='"' if quoted and len(separator) == 1 else False,
        invalid_row_handler=refuse,
    )
    conversion = pa.csv.ConvertOptions(
        column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False, include_columns=wanted
    )
    reading = pa.csv.ReadOptions(block_size=BLOCK, column_names=header, encoding=encoding, skip_rows=0 if names else 1)
    row = 1 if names else 2
    with opened(path) as file:
        try:
            for batch in pa.csv.open_csv(
                file if len(separator) == 1 else _Replaced(file, separator.encode()), reading, parsing, conversion
            ):
                yield Chunk(path, row, pa.Table.from_batches([batch]))
                row += len(batch)
        except pa.ArrowInvalid as error:
            if "Empty CSV file" in str(error):
                return
            why = _why(path, broken[0], separator, encoding) if broken else str(error).splitlines()[0]
            raise UserError(why if broken else f"{path}, at or after row {row}: {why}") from None


def _header(path: Path, separator: str, encoding: str) -> list[str]:
    _, line = next(lines(path, encoding), (1, ""))
    header = next(csv.reader([line], delimiter=separator), [])
    if len(set(header)) < len(header) or not header:
        raise UserError(f"{path}, row 1: expected a header of distinct column names, found {line[:80]!r}")
    return header


def _wanted(path: Path, known: list[str], columns: list[str], optional: tuple[str, ...]) -> list[str]:
    for column in columns:
        if column not in known:
            raise UserError(f"{path}: no column '{column}'; found {', '.join(known)}")
    return [column for column in known if column in columns or column in optional]


def _why(path: Path, row, separator: str, encoding: str) -> str:
    """The error of a row with a wrong number of cells. Arrow does not know its number when it streams: look for it."""
    text = row.text.replace("\x1f", separator)
    number = next((number for number, line in lines(path, encoding) if line == text), "?")
    return (
        f"{path}, row {number}: {row.actual_columns} cells, expected {row.expected_columns}: {text[:80]!r}. "
        "Correct or remove that row"
    )


class _Replaced(io.RawIOBase):
    """A file's bytes, each separator of several characters replaced by the ASCII unit separator."""

    def __init__(self, file, separator: bytes):
        self._file, self._separator = file, separator
        # read, but perhaps cut inside a separator; replaced, but not yet returned
        self._rest, self._ready = b"", b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while not self._ready:
            block = self._file.read(BLOCK)
            whole = (self._rest + block).replace(self._separator, b"\x1f")
            # an end that may be the start of a separator waits for the next block
            keep = next((n for n in range(len(self._separator) - 1, 0, -1) if whole.endswith(self._separator[:n])), 0)
            cut = len(whole) - keep if block else len(whole)
            self._ready, self._rest = whole[:cut], whole[cut:]
            if not block:
                break
        given, self._ready = (self._ready, b"") if size < 0 else (self._ready[:size], self._ready[size:])
        return given


def json_chunks(path: Path, fields: dict[str, pa.DataType]) -> Iterator[Chunk]:
    """Chunks of a JSON lines file: the given fields (null where a line has none); other fields are ignored."""
    options = pa.json.ParseOptions(explicit_schema=pa.schema(list(fields.items())), unexpected_field_behavior="ignore")
    row = 1
    with opened(path) as file:
        try:
            for batch in pa.json.open_json(file, pa.json.ReadOptions(block_size=BLOCK), options):
                yield Chunk(path, row, pa.Table.from_batches([batch]).select(list(fields)))
                row += len(batch)
        except pa.ArrowInvalid as error:
            for number, line in lines(path):  # for the message only
                if number >= row:
                    _check_json(path, number, line, fields)
            raise UserError(f"{path}, at or after row {row}: {str(error).splitlines()[0]}") from None


def _check_json(path: Path, number: int, line: str, fields: dict[str, pa.DataType]) -> None:
    try:
        content = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, row {number}: not JSON ({error.msg}); expected one object per line") from None
    _check_fields(path, number, content, fields)


def _check_fields(path: Path, number: int, content: dict, fields: dict[str, pa.DataType]) -> None:
    for field, kind in fields.items():
        try:
            pa.array([content.get(field)], kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            raise UserError(f"{path}, row {number}: '{field}' is {content[field]!r}; expected {kind}") from None


def literal_lines(path: Path) -> Iterator[tuple[int, dict]]:
    """(row number, object) of a file with one JSON object or, in older releases, one Python literal per line."""
    for number, line in lines(path):
        try:
            content = json.loads(line)
        except json.JSONDecodeError:
            try:
                content = ast.literal_eval(line)
            except (ValueError, SyntaxError):
                raise UserError(f"{path}, row {number}: neither JSON nor a Python literal: {line[:80]!r}") from None
        if not isinstance(content, dict):
            raise UserError(f"{path}, row {number}: expected an object with named fields, found {line[:80]!r}")
        yield number, content


def literal_chunks(path: Path, fields: dict[str, pa.DataType]) -> Iterator[Chunk]:
    """The same as :func:`json_chunks` for a file that :func:`literal_lines` reads; slower."""
    rows = literal_lines(path)
    while part := list(islice(rows, LITERALS)):
        try:
            table = pa.table(
                {field: pa.array([row.get(field) for _, row in part], kind) for field, kind in fields.items()}
            )
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            for number, row in part:
                _check_fields(path, number, row, fields)
            raise
        yield Chunk(path, part[0][0], table)


def is_json(path: Path) -> bool:
    """Whether a file's first line is JSON (an empty file is)."""
    _, line = next(lines(path), (1, "{}"))
    try:
        return isinstance(json.loads(line), dict)
    except json.JSONDecodeError:
        return False


def parquet_chunks(
    path: Path, columns: list[str], optional: tuple[str, ...] = (), rows: int = 1 << 20
) -> Iterator[Chunk]:
    """Chunks of at most ``rows`` rows of a Parquet file.

    Args:
        columns: those wanted. Raises UserError if the file lacks one.
        optional: others, left out where the file lacks them.
    """
    try:
        file = pa.parquet.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise UserError(
            f"{path}: not a Parquet file ({str(error).splitlines()[0]}); is the download complete?"
        ) from None
    wanted = _wanted(path, file.schema_arrow.names, columns, optional)
    row = 1
    with tqdm(total=file.metadata.num_rows, unit="row", unit_scale=True, desc=path.name, leave=False) as bar:
        for batch in file.iter_batches(rows, columns=wanted):
            table = pa.Table.from_batches([batch])
            for place, column in enumerate(table.columns):
                if pa.types.is_dictionary(column.type):
                    table = table.set_column(place, table.column_names[place], column.cast(column.type.value_type))
            yield Chunk(path, row, table)
            row += len(batch)
            bar.update(len(batch))
