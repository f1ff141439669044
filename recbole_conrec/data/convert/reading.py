"""CSV and Parquet files, streamed in chunks; a mistake is an error with its file and row."""

import csv
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from tqdm import tqdm

from recbole_conrec.data.convert import streams
from recbole_conrec.data.convert.chunk import Chunk
from recbole_conrec.data.convert.faults import Fault, Faults
from recbole_conrec.data.convert.quotes import Watched, check_quotes
from recbole_conrec.data.convert.streams import Replaced, as_utf8, has_nul, lines, undecodable
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.names import nearest

SEPARATORS = {",": "','", ";": "';'", "\t": r'"\t"', "|": "'|'", "::": "'::'"}  # as they are written in YAML


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
    escape: str | None = None,
    faults: Faults | None = None,
) -> Generator[Chunk, None, None]:
    """Chunks of a CSV file, every column as text.

    Args:
        columns: those wanted. Raises UserError if the header lacks one.
        optional: others, left out where the header lacks them.
        names: names of all columns, if the file has no header.
        separator: text between two cells; with more than one character (MovieLens' '::') nothing is quoted.
        quoted: cells may be in double quotes.
        multiline: quoted cells may hold line ends.
        escape: the character before a quote that belongs to a cell; None: such a quote is written twice.
        faults: takes the bad rows; checked at the end of the file. None: a bad row is an error.
    """
    faults = faults if faults is not None else Faults()
    single = len(separator.encode()) == 1
    quoted = quoted and single
    first, header = (0, names) if names else _header(path, separator, encoding, escape)
    wanted = _wanted(path, header, columns, optional, names, separator)
    unique = [name if header.index(name) == place else f"{name}\n{place}" for place, name in enumerate(header)]
    broken: list[int] = []

    def leave_out(row: pa.csv.InvalidRow) -> str:  # an exception cannot leave Arrow's handler
        text = row.text.replace("\x1f", separator)
        what = f"{row.actual_columns} cells, expected {row.expected_columns}: {text[:80]!r}"
        broken.append(row.number)
        faults.found.append(Fault(path, row.number, what))
        return "error" if faults.full else "skip"

    parsing = pa.csv.ParseOptions(
        delimiter=separator if single else "\x1f",
        newlines_in_values=multiline,
        quote_char='"' if quoted else False,
        escape_char=escape or False,
        invalid_row_handler=leave_out,
    )
    conversion = pa.csv.ConvertOptions(
        column_types=dict.fromkeys(unique, pa.binary()), strings_can_be_null=False, include_columns=wanted
    )
    row = first + 1
    reading = pa.csv.ReadOptions(  # without threads rows are numbered
        block_size=streams.BLOCK, column_names=unique, skip_rows=row - 1, use_threads=False
    )
    with as_utf8(path, encoding) as file:
        watched = Watched(file, separator) if quoted and not escape else None
        source = watched or (file if single else Replaced(file, separator.encode()))
        try:
            for batch in pa.csv.open_csv(source, reading, parsing, conversion):
                numbers = np.arange(row, row + len(batch) + len(broken))
                numbers = numbers[~np.isin(numbers, broken)][: len(batch)]
                row = int(numbers[-1]) + 1 if len(batch) else row
                yield _as_text(Chunk(path, numbers, pa.Table.from_batches([batch])), encoding, faults)
        except pa.ArrowInvalid as error:
            empty = "Empty CSV file" in str(error) or "Could not skip initial" in str(error)
            if not empty and not faults.full:
                if quoted and not escape:
                    check_quotes(path, separator, encoding)
                raise UserError(f"{path}, at or after row {row}: {str(error).splitlines()[0]}") from None
    if watched is not None and watched.suspicious:
        check_quotes(path, separator, encoding)
    faults.check()


def _as_text(chunk: Chunk, encoding: str, faults: Faults) -> Chunk:
    """The columns of bytes as text; rows that are not UTF-8 are faults."""
    kind = pa.schema([(name, pa.string()) for name in chunk.table.column_names])
    try:
        return Chunk(chunk.path, chunk.rows, chunk.table.cast(kind))
    except pa.ArrowInvalid:
        good = np.ones(len(chunk), dtype=bool)
        for place, cells in enumerate(zip(*(column.to_pylist() for column in chunk.table.columns), strict=True)):
            try:
                b"".join(cells).decode()
            except UnicodeDecodeError as error:
                good[place] = False
                what = undecodable(chunk.path, encoding, error.reason)
                faults.add([Fault(chunk.path, int(chunk.rows[place]), what)])
        kept = chunk.keep(good)
        return Chunk(kept.path, kept.rows, kept.table.cast(kind))


def _header(path: Path, separator: str, encoding: str, escape: str | None) -> tuple[int, list[str]]:
    """The row of the header (blank lines may precede it), and its names."""
    row, line = next(lines(path, encoding), (1, ""))
    if not line:
        raise UserError(f"{path}, row 1: expected a header of column names; the file is empty")
    if "\0" in line:
        raise UserError(f"{path}, row {row}: {has_nul(path, encoding)}")
    if len(separator) > 1:
        return row, line.split(separator)
    try:
        return row, next(csv.reader([line], delimiter=separator, escapechar=escape))
    except csv.Error:
        raise UserError(f"{path}, row {row}: expected a header of column names and a line end (LF or CRLF)") from None


def _wanted(
    path: Path,
    known: list[str],
    columns: list[str],
    optional: tuple[str, ...] = (),
    names: list[str] | None = None,
    separator: str | None = None,
) -> list[str]:
    """The names to read. Raises UserError for one that is missing or there twice, with the option to set."""
    for column in columns:
        if column not in known:
            others = [other for other in SEPARATORS if other in known[0]] if len(known) == 1 else []
            hint = f"; is the separator another one? Set `separator: {SEPARATORS[others[-1]]}`" if others else ""
            raise UserError(f"{path}: no column '{column}'{nearest(column, known)}; found {', '.join(known)}{hint}")
    wanted = list(dict.fromkeys(column for column in known if column in columns or column in optional))
    for column in wanted:
        if known.count(column) > 1:
            raise UserError(
                f"{path}: the column '{column}' is there {known.count(column)} times; "
                + ("name" if names else "remove its first row and name")
                + " all columns by `header: [...]`, each differently"
            )
    return wanted


def parquet_chunks(
    path: Path, columns: list[str], optional: tuple[str, ...] = (), rows: int = 1 << 20
) -> Generator[Chunk, None, None]:
    """Chunks of at most ``rows`` rows of a Parquet file.

    Args:
        columns: those wanted. Raises UserError if the file lacks one.
        optional: others, left out where the file lacks them.
    """
    row = 1
    try:
        file = pa.parquet.ParquetFile(path)
        wanted = _wanted(path, file.schema_arrow.names, columns, optional)
        with tqdm(total=file.metadata.num_rows, unit="row", unit_scale=True, desc=path.name, leave=False) as bar:
            for batch in file.iter_batches(rows, columns=wanted):
                yield Chunk.at(path, row, _plain(pa.Table.from_batches([batch])))
                row += len(batch)
                bar.update(len(batch))
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(
            f"{path}: not a Parquet file ({str(error).splitlines()[0]}); is the download complete?"
        ) from None


def _plain(table: pa.Table) -> pa.Table:
    """The table with the values of dictionaries instead of their codes."""
    for place, column in enumerate(table.columns):
        if pa.types.is_dictionary(column.type):
            table = table.set_column(place, table.column_names[place], column.cast(column.type.value_type))
    return table
