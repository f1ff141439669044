"""Some rows of a raw file as columns, checked when they are read."""

from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recbole_conrec.data.atomic import PADDING
from recbole_conrec.data.convert.faults import BadRowsError, Fault
from recbole_conrec.data.convert.writing import clean, words
from recbole_conrec.utils.cells import bare, number, whole_numbers
from recbole_conrec.utils.errors import UserError

_NO_ID = pa.array(["", PADDING])
_NO_IDS = (pa.types.is_nested, pa.types.is_boolean, pa.types.is_temporal)  # types of columns that hold no ids
_EXACT = 2**53  # a float64 holds every whole number up to this one


@dataclass(frozen=True)
class Chunk:
    """Rows of a file as an Arrow table, with their numbers (from 1, a header counted): int64 [N]."""

    path: Path
    rows: np.ndarray
    table: pa.Table

    @classmethod
    def at(cls, path: Path, row: int, table: pa.Table) -> "Chunk":
        """The chunk of the rows ``row``, ``row + 1``, ..."""
        return cls(path, np.arange(row, row + len(table)), table)

    def __len__(self) -> int:
        return len(self.table)

    def keep(self, kept: np.ndarray) -> "Chunk":
        """The rows for which ``kept`` (bool [N]) is true."""
        return Chunk(self.path, self.rows[kept], self.table.filter(pa.array(kept)))

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
            column = column.cast(pa.float64())
            exact = pc.and_(pc.equal(column, pc.round(column)), pc.less_equal(pc.abs(column), _EXACT))
            self.refuse(field, pc.invert(exact), "a whole number below 2^53 or text as an id")
            column = column.cast(pa.int64())
        if any(is_kind(column.type) for is_kind in _NO_IDS):
            raise self.wrong_type(field, "text or whole numbers")
        try:
            text = bare(column.cast(pa.string()))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise self.wrong_type(field, "text or whole numbers") from None
        if pa.types.is_decimal(column.type):
            text = pc.replace_substring_regex(text, r"\.0+$", "")
            self.refuse(field, pc.match_substring(text, "."), "a whole number or text as an id")
        self.refuse(field, pc.or_(pc.is_null(text), pc.fill_null(pc.is_in(text, _NO_ID), False)), "an id")
        expected = "an id without tabs, line ends, other control characters and double quotes"
        self.refuse(field, pc.match_substring_regex(text, r'[\x00-\x1f\x7f"]'), expected)
        return text

    def numbers(
        self,
        field: str,
        kind: pa.DataType = pa.float64(),  # noqa: B008
        *,
        empty: bool = False,
        hint: str = "",
    ) -> pa.ChunkedArray:
        """Finite numbers of an Arrow type. Raises UserError naming the rows that have none.

        Whole numbers may be written '3.0'.

        Args:
            empty: a cell without a number is null, and no error.
            hint: what else to do about text that is no number.
        """
        column = self.column(field)
        if pa.types.is_nested(column.type) or pa.types.is_temporal(column.type) or pa.types.is_binary(column.type):
            raise self.wrong_type(field, "numbers")
        whole = pa.types.is_integer(kind)
        if is_text(column):
            text = pc.utf8_trim_whitespace(column)
            column = pc.if_else(pc.equal(text, ""), None, text)
        try:
            numbers = whole_numbers(column, kind) if is_text(column) and whole else column.cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            numbers = self._cast_slowly(field, column, kind, hint)
        if pa.types.is_floating(kind):
            self.refuse(field, pc.is_inf(numbers), "a finite number")
            numbers = pc.if_else(pc.is_nan(numbers), None, numbers)
        if not empty:
            self.refuse(field, pc.is_null(numbers), "a number")
        return numbers

    def text(self, field: str) -> list[str]:
        """Text for cells of an atomic file; see :func:`clean` and :func:`words`."""
        values = self.column(field).to_pylist()
        try:
            return [clean(words(value)) for value in values]
        except UnicodeDecodeError:
            raise UserError(f"{self.path}: '{field}' holds bytes that are not utf-8 text") from None

    def number_lists(self, field: str) -> list[str]:
        """Cells of numbers between blanks, for a float_seq. Raises UserError naming the rows with anything else."""
        cells = self.text(field)
        bad = np.array([not all(map(_is_finite, cell.split())) for cell in cells], dtype=bool)
        self.refuse(field, bad, "numbers between blanks")
        return cells

    def refuse(self, field: str, bad, expected: str) -> None:
        """Raise BadRowsError for the rows where ``bad`` (bool; null counts as false) is true."""
        mask = np.asarray(bad if isinstance(bad, np.ndarray) else pc.fill_null(bad, False)).astype(bool)
        if mask.any():
            raise BadRowsError(mask, lambda place: self._fault(field, place, expected))

    def _fault(self, field: str, place: int, expected: str) -> Fault:
        cell = self.table[field][place]
        try:
            value = repr(cell.as_py())
        except (OverflowError, ValueError):  # a time that Python has no date for
            value = f"{cell.type} {cell.value}"
        shown = value if len(value) <= 100 else f"{value[:100]}..."
        return Fault(self.path, int(self.rows[place]), f"'{field}' is {shown}; expected {expected}")

    def wrong_type(self, field: str, expected: str) -> UserError:
        """The error of a column whose type is wrong in every row."""
        return UserError(f"{self.path}: '{field}' is of type {self.column(field).type}; expected {expected}")

    def _cast_slowly(self, field: str, column: pa.ChunkedArray, kind: pa.DataType, hint: str) -> pa.ChunkedArray:
        """'3.0' as a whole number, or the error that names the rows."""
        whole = pa.types.is_integer(kind)
        limit = 2 ** (kind.bit_width - 1) if whole else None
        cells = column.to_pylist()
        values = [None if cell is None else _number(cell, limit) for cell in cells]
        bad = np.array([cell is not None and value is None for cell, value in zip(cells, values, strict=True)])
        self.refuse(field, bad, ("a whole number" if whole else "a number") + hint)
        return pa.chunked_array([pa.array(values, kind)])


def is_text(column: pa.ChunkedArray) -> bool:
    return pa.types.is_string(column.type) or pa.types.is_large_string(column.type)


def _is_finite(word: str) -> bool:
    value = _number(word, None)
    return value is not None and isfinite(value)


def _number(cell, limit: int | None) -> int | float | None:
    """A cell's number; None if it is not one. With a limit, a whole number from -limit to limit - 1."""
    try:
        if limit is None:
            return number(cell)
        value = _whole(cell)
    except (TypeError, ValueError, OverflowError):
        return None
    return value if -limit <= value < limit else None


def _whole(cell) -> int:
    """The whole number of '3', '3.0' or 3.0. Raises ValueError or OverflowError if it is not one."""
    real = number(cell)
    try:
        value = int(cell)
    except ValueError:
        value = int(real)
        cell = real
    if not isinstance(cell, str) and value != cell:
        raise ValueError(cell)
    return value
