"""Some rows of a raw file as columns, checked when they are read."""

from calendar import timegm
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recbole_conrec.data.convert.writing import clean
from recbole_conrec.utils.errors import UserError


@dataclass(frozen=True)
class Chunk:
    """Rows ``row``, ``row + 1``, ... of a file (numbered from 1, a header counted) as an Arrow table."""

    path: Path
    row: int
    table: pa.Table

    def __len__(self) -> int:
        return len(self.table)

    def has(self, field: str) -> bool:
        return field in self.table.column_names

    def column(self, field: str) -> pa.ChunkedArray:
        """A column as it is. Raises UserError naming the file's columns if there is none."""
        if not self.has(field):
            raise UserError(f"{self.path}: no column '{field}'; found {', '.join(self.table.column_names)}")
        return self.table[field]

    def ids(self, field: str) -> pa.ChunkedArray:
        """Ids as text, without blanks around them. Raises UserError for an id that is empty or that an atomic file
        cannot hold.
        """
        column = self.column(field)
        if pa.types.is_floating(column.type):
            self.refuse(field, pc.not_equal(column, pc.round(column)), "a whole number or text as an id")
            column = column.cast(pa.int64())
        text = pc.utf8_trim_whitespace(column.cast(pa.string()))
        self.refuse(field, pc.fill_null(pc.equal(text, ""), True), "an id")
        self.refuse(
            field, pc.match_substring_regex(text, r'[\t\r\n"]'), "an id without tabs, line ends and double quotes"
        )
        return text

    def numbers(self, field: str, kind: pa.DataType = pa.float64()) -> pa.ChunkedArray:  # noqa: B008
        """Numbers of an Arrow type. Raises UserError naming the row of the first cell that is not one, or is empty.

        Whole numbers may be written '3.0'.
        """
        column = self.column(field)
        if _is_text(column):
            text = pc.utf8_trim_whitespace(column)
            column = pc.if_else(pc.equal(text, ""), None, text)
        try:
            numbers = column.cast(kind)
        except pa.ArrowInvalid:
            numbers = self._cast_slowly(field, column, kind)
        self.refuse(field, pc.is_null(numbers, nan_is_null=True), "a number")
        return numbers

    def times(self, field: str, unit: str = "iso") -> pa.Array:
        """Seconds since 1970 (UTC), int64.

        Args:
            unit: of numbers: 's', 'ms', 'us' or 'ns', rounded down to seconds. 'iso': dates, as Arrow's timestamps or
                as text such as 2024-01-31 or 2024-01-31 23:59:59.5+01:00 (UTC without an offset).
        """
        if unit != "iso":
            per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
            if pa.types.is_floating(self.column(field).type) or (unit == "s" and _is_text(self.column(field))):
                return pa.array(np.floor(self.numbers(field).to_numpy() / per_second).astype(np.int64))
            return pa.array(self.numbers(field, pa.int64()).to_numpy() // per_second)
        column = self.column(field)
        self.refuse(field, pc.is_null(column), "a date or time")
        try:
            micros = column.cast(pa.timestamp("us")).cast(pa.int64()).to_numpy()
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            if not _is_text(column):
                raise UserError(f"{self.path}: '{field}' is of type {column.type}; expected dates") from None
            return self._moments(field, column)
        return pa.array(micros // 10**6)

    def _moments(self, field: str, column: pa.ChunkedArray) -> pa.Array:
        """Text that Arrow does not read as dates: it has offsets from UTC, or is not a date at all."""
        texts = column.combine_chunks().dictionary_encode()
        seconds = pa.array([_seconds(text) for text in texts.dictionary.to_pylist()], pa.int64()).take(texts.indices)
        self.refuse(field, pc.is_null(seconds), "a date or time like 2024-01-31 23:59:59")
        return seconds

    def text(self, field: str) -> list[str]:
        """Text for cells of an atomic file; see :func:`clean`. Lists are joined by blanks, null is ''."""
        values = self.column(field).to_pylist()
        return [clean(" ".join(map(str, value)) if isinstance(value, list) else value) for value in values]

    def refuse(self, field: str, bad, expected: str) -> None:
        """Raise UserError naming the first row where ``bad`` (bool; null counts as false) is true."""
        if pc.any(bad).as_py():
            place = pc.index(bad, True).as_py()
            value = self.table[field][place].as_py()
            raise UserError(
                f"{self.path}, row {self.row + place}: '{field}' is {value!r}; expected {expected}. "
                "Correct or remove that row"
            )

    def _cast_slowly(self, field: str, column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
        """'3.0' as a whole number, or the error that names the row."""
        values = np.array([_number(cell) for cell in column.to_pylist()])
        bad = np.isinf(values)
        if pa.types.is_integer(kind):
            bad |= values > np.floor(values)
        self.refuse(field, pa.array(bad), "a whole number" if pa.types.is_integer(kind) else "a number")
        return pa.chunked_array([pa.array(values, from_pandas=True).cast(kind)])


def _is_text(column: pa.ChunkedArray) -> bool:
    return pa.types.is_string(column.type) or pa.types.is_large_string(column.type)


def _number(cell) -> float:
    """A cell's number; NaN if it is empty, infinite if it is not a number."""
    try:
        return np.nan if cell is None else float(cell)
    except (TypeError, ValueError):
        return np.inf


def _seconds(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        return None
    return timegm(moment.utctimetuple())
