"""A stretch of a raw file as columns, checked when they are read."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recbole_conrec.data.convert.writing import clean
from recbole_conrec.errors import UserError


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
        """Ids as text, cut of blanks around them. Raises UserError for an empty one, or one with a tab or line end."""
        column = self.column(field)
        if pa.types.is_floating(column.type):
            self._refuse(field, column, pc.not_equal(column, pc.round(column)), "a whole number or text as an id")
            column = column.cast(pa.int64())
        text = pc.utf8_trim_whitespace(column.cast(pa.string()))
        self._refuse(field, column, pc.fill_null(pc.equal(text, ""), True), "an id")
        self._refuse(field, column, pc.match_substring_regex(text, r"[\t\r\n]"), "an id without tabs and line ends")
        return text

    def numbers(self, field: str, kind: pa.DataType = pa.float64(), scale: int = 1,  # noqa: B008
                empty: bool = False) -> pa.ChunkedArray:
        """Numbers, multiplied by ``scale``. Raises UserError naming the row of the first that is not one.

        Args:
            kind: the Arrow type wanted. Whole numbers may be written '3.0'.
            scale: e.g. 1000 to be divided by: pass a negative value to divide (rounding down).
            empty: let empty cells be null.
        """
        column = self.column(field)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            text = pc.utf8_trim_whitespace(column)
            column = pc.if_else(pc.equal(text, ""), None, text)
        try:
            numbers = column.cast(kind)
        except pa.ArrowInvalid:
            numbers = self._cast_slowly(field, column, kind)
        if not empty:
            self._refuse(field, self.column(field), pc.is_null(numbers, nan_is_null=True), "a number")
        if scale == 1:
            return numbers
        values = numbers.to_numpy()
        return pa.chunked_array([pa.array(values * scale if scale > 0 else values // -scale)])

    def text(self, field: str) -> list[str]:
        """Text for cells of an atomic file; see :func:`clean`. Lists are joined by blanks, null is ''."""
        values = self.column(field).to_pylist()
        return [clean(" ".join(map(str, value)) if isinstance(value, list) else value) for value in values]

    def _cast_slowly(self, field: str, column, kind: pa.DataType) -> pa.ChunkedArray:
        """'3.0' as a whole number, or the error that names the row."""
        wanted = "a whole number" if pa.types.is_integer(kind) else "a number"
        values = np.empty(len(column), dtype=np.float64)
        for place, value in enumerate(column.to_pylist()):
            try:
                values[place] = np.nan if value is None else float(value)
            except (TypeError, ValueError):
                values[place] = np.inf
        bad = np.isinf(values)
        if pa.types.is_integer(kind):
            bad |= values != np.floor(values, where=~np.isnan(values), out=values.copy())
            bad &= ~np.isnan(values)
        self._refuse(field, self.column(field), pa.array(bad), wanted)
        return pa.chunked_array([pa.array(values, from_pandas=True).cast(kind)])

    def _refuse(self, field: str, column, bad, expected: str) -> None:
        """Raise UserError for the first row where ``bad`` is true."""
        rows = np.flatnonzero(bad.to_numpy(zero_copy_only=False) if isinstance(bad, pa.Array) else bad.to_numpy())
        if len(rows):
            value = column[int(rows[0])].as_py()
            raise UserError(f"{self.path}, row {self.row + int(rows[0])}: '{field}' is {value!r}; expected {expected}. "
                            f"Mend or remove that row")
