"""Files of one object per line: JSON, and the Python literals of older releases."""

import ast
import json
from collections.abc import Generator, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json

from recbole_conrec.data.convert import streams
from recbole_conrec.data.convert.chunk import Chunk
from recbole_conrec.data.convert.faults import BadRowsError, Fault, Faults
from recbole_conrec.data.convert.streams import has_nul, lines, opened, raw_lines, undecodable
from recbole_conrec.data.convert.writing import is_whole, words
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.names import nearest

ROWS = 100_000  # objects read at a time


def objects(
    path: Path, encoding: str = "utf-8", *, faults: Faults | None = None, literals: bool = False, skip: int = 0
) -> Iterator[tuple[int, dict]]:
    """(row number, object) of the rows after the first ``skip``; with ``literals`` Python literals are read, too.

    Bad rows go to ``faults``; without ``faults`` the first one is an error.
    """
    for number, line in islice(raw_lines(path, encoding), skip, None):
        try:
            content = _parse(line, literals)
        except UnicodeDecodeError as error:
            content = undecodable(path, encoding, error.reason)
        except _TwiceError as error:
            content = str(error)
        except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
            shown = line[:80].decode(errors="replace")
            reason = (
                "a list over several lines" if line.strip() == b"[" else getattr(error, "msg", type(error).__name__)
            )
            content = (
                has_nul(path, encoding)
                if b"\0" in line
                else f"neither JSON nor a Python literal: {shown!r}"
                if literals
                else f"not JSON ({reason}); expected one object per line"
            )
        if isinstance(content, dict):
            yield number, content
            continue
        if not isinstance(content, str) or line[:1] == b'"':
            shown = line[:80].decode(errors="replace")
            content = f"expected an object with named fields, found {shown!r}"
        _take(faults, Fault(path, number, content))


def _take(faults: Faults | None, fault: Fault) -> None:
    if faults is None:
        raise BadRowsError(np.ones(1, dtype=bool), lambda _: fault)
    faults.add([fault])


def _parse(line: bytes, literals: bool) -> Any:
    try:
        return json.loads(line.decode(), object_pairs_hook=_once)
    except json.JSONDecodeError:
        if not literals:
            raise
        tree = ast.parse(line.decode().strip(), mode="eval")
        for node in ast.walk(tree):
            if isinstance(node, ast.Dict):
                _once([(str(key.value), None) for key in node.keys if isinstance(key, ast.Constant)])
        return ast.literal_eval(tree)


class _TwiceError(ValueError):
    """An object has a field twice; which value is meant is unknown."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose fields are there once."""
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _TwiceError(f"the field '{twice}' is there twice; expected one value")
    return made


def literal_lines(path: Path, faults: Faults | None = None) -> Iterator[tuple[int, dict]]:
    """(row number, object) of a file with one JSON object or, in older releases, one Python literal per line."""
    yield from objects(path, faults=faults, literals=True)
    if faults is not None:
        faults.check()


def literal_chunks(
    path: Path, fields: dict[str, pa.DataType], faults: Faults | None = None
) -> Generator[Chunk, None, None]:
    """The same as :func:`json_chunks` for a file that :func:`literal_lines` reads; slower."""
    yield from _typed_chunks(path, objects(path, faults=faults, literals=True), fields, faults)


def _typed_chunks(
    path: Path, rows: Iterator[tuple[int, dict]], fields: dict[str, pa.DataType], faults: Faults | None
) -> Generator[Chunk, None, None]:
    while part := list(islice(rows, ROWS)):
        try:
            table = _table(part, fields)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError):
            good = []
            for number, row in part:
                fault = _wrong_field(path, number, row, fields)
                if fault is None:
                    good.append((number, row))
                else:
                    _take(faults, fault)
            part, table = good, _table(good, fields)
        yield Chunk(path, np.array([number for number, _ in part], dtype=np.int64), table)
    if faults is not None:
        faults.check()


def _table(part: list[tuple[int, dict]], fields: dict[str, pa.DataType]) -> pa.Table:
    return pa.table({field: pa.array([row.get(field) for _, row in part], kind) for field, kind in fields.items()})


def _wrong_field(path: Path, number: int, row: dict, fields: dict[str, pa.DataType]) -> Fault | None:
    for field, kind in fields.items():
        try:
            pa.array([row.get(field)], kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError):
            return Fault(path, number, f"'{field}' is {row[field]!r}; expected {kind}")
    return None


def json_chunks(
    path: Path, fields: dict[str, pa.DataType], faults: Faults | None = None
) -> Generator[Chunk, None, None]:
    """Chunks of a JSON lines file: the given fields (null where a line has none); other fields are ignored.

    Bad rows go to ``faults``, which are checked at the end of the file; without ``faults`` the first one is an error.
    """
    options = pa.json.ParseOptions(explicit_schema=pa.schema(list(fields.items())), unexpected_field_behavior="ignore")
    row = 1  # blank lines are not counted
    with opened(path) as file:
        try:
            for batch in pa.json.open_json(file, pa.json.ReadOptions(block_size=streams.BLOCK), options):
                yield Chunk.at(path, row, pa.Table.from_batches([batch]).select(list(fields)))
                row += len(batch)
        except pa.ArrowInvalid:
            # Arrow stops at a bad row, and may not name it
            yield from _typed_chunks(path, objects(path, faults=faults, skip=row - 1), fields, faults)


def is_json(path: Path) -> bool:
    """Whether a file's first line is JSON (an empty file is)."""
    _, line = next(lines(path), (1, "{}"))
    try:
        return isinstance(json.loads(line), dict)
    except json.JSONDecodeError:
        return False


class FieldChunks:
    """Chunks of JSON lines with every value as text, whatever its type: ids above int64, fields in few rows.

    Args:
        columns: the fields to read.
        texts: those of them that are read as text: lists and mappings become their words (:func:`words`). In another
            field they are faults.
        numbers: those that are read as numbers: true is 1, false is 0.

    Attributes:
        seen: the fields that some row had.
    """

    def __init__(self, columns: list[str], texts: set[str], numbers: set[str], encoding: str, faults: Faults):
        self.columns, self.texts, self.numbers = columns, texts, numbers
        self.encoding, self.faults = encoding, faults
        self.seen: set[str] = set()
        self.others: list[str] = []  # the fields of the first row

    def read(self, path: Path) -> Generator[Chunk, None, None]:
        """The chunks of one file."""
        rows = objects(path, self.encoding, faults=self.faults)
        while part := list(islice(rows, ROWS)):
            self.others = self.others or list(part[0][1])
            numbers, cells = [], []
            for number, row in part:
                try:
                    cells.append([self._cell(row.get(column), column) for column in self.columns])
                    numbers.append(number)
                except TypeError as error:
                    self.faults.add([Fault(path, number, str(error))])
                except UnicodeEncodeError as error:
                    what = f"{error.object[:80]!r} is no text: {error.object[error.start]!r} is half a character"
                    self.faults.add([Fault(path, number, what)])
                self.seen.update(column for column in self.columns if column in row)
            self.check(str(path), [column for column in self.columns if column not in self.texts | self.numbers])
            arrays = [pa.array([row[place] for row in cells], pa.string()) for place in range(len(self.columns))]
            yield Chunk(path, np.array(numbers, dtype=np.int64), pa.table(arrays, names=self.columns))
        self.faults.check()

    def check(self, where: str, columns: list[str] | None = None) -> None:
        """Raises UserError for a field (of ``columns``; None: of all) that no row so far has had."""
        for column in self.columns if columns is None else columns:
            if column not in self.seen:
                hint = nearest(column, self.others)
                found = f"; found {', '.join(self.others)}" if self.others else ": the files are empty"
                raise UserError(f"{where}: no row has a field '{column}'{hint}{found}")

    def _cell(self, value: Any, column: str) -> str | None:
        """Raises TypeError for a nested value where one is not text, UnicodeEncodeError for half a character."""
        if value is None or value != value:  # NaN, as tables with gaps are written
            return None
        if isinstance(value, bool) and column not in self.texts | self.numbers:
            raise TypeError(f"'{column}' is {str(value).lower()}; expected text or a number")
        if isinstance(value, list | dict):
            if column not in self.texts:
                raise TypeError(f"'{column}' is {str(value)[:80]}; expected a single value")
            value = words(value)
        if isinstance(value, bool) and column in self.numbers:
            value = int(value)
        text = str(int(value) if is_whole(value) else value)
        if not text.isascii():
            text.encode()
        return text
