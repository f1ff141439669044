"""A column of times as whole seconds since 1970 (UTC), whatever its type; a year that cannot be is an error."""

from calendar import timegm
from collections.abc import Callable
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recbole_conrec.data.convert.chunk import Chunk, is_text
from recbole_conrec.data.years import UNITS, implausible, in_1970, likely_unit, year
from recbole_conrec.utils.cells import whole_numbers
from recbole_conrec.utils.errors import UserError


def times(
    chunk: Chunk,
    field: str,
    unit: str | None = None,
    *,
    relative: bool = False,
    whole: bool = False,
    option: str = "",
) -> pa.Array:
    """Seconds since 1970 (UTC), int64, rounded down.

    Args:
        unit: of numbers: 's', 'ms', 'us' or 'ns'. 'iso': dates, as Arrow's or as text such as 2024-01-31 or
            2024-01-31 23:59:59.5+01:00 (UTC without an offset). A text with '%': the format of dates as text, see
            datetime.strptime. None: what the column's type says, and seconds for numbers.
        whole: fractions of a unit are errors.
        relative: the times count from another moment than 1970, so 1970 is no sign of a wrong unit.
        option: what sets the unit, for errors; '' if nothing does.

    Raises UserError naming the rows without a time in a year from 1900 to 2242. Times of a type or in
    ms, us or ns that fall into 1970 are errors, too: something divided them by too much.
    """
    column = chunk.column(field)
    typed = pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)
    if typed and unit in UNITS:
        raise UserError(
            f"{chunk.path}: '{field}' is of type {column.type}, which has a unit of its own; "
            f"set `{option or 'unit'}: iso`"
        )
    if typed:
        chunk.refuse(field, pc.is_null(column), "a date or time")
        seconds, named = _of_type(column), "a date"
    elif unit in (None, *UNITS):
        seconds, named = (
            _counted(chunk, field, UNITS[unit or "s"], whole, option),
            f"a time in {unit or 's'} since 1970",
        )
    elif not is_text(column) and (unit == "iso" or not pa.types.is_integer(column.type)):
        raise chunk.wrong_type(field, f"dates as text; set `{option or 'unit'}` to s, ms, us or ns for numbers")
    else:
        seconds, named = _moments(chunk, field, column.cast(pa.string()), unit or "iso"), "a date"
    if unit is None and not typed and not relative and option and _are_days(seconds):
        raise UserError(
            f"{chunk.path}: '{field}' holds dates such as {int(seconds[0])}; set `{option}: '%Y%m%d'`, or "
            f"`{option}: s` if these are seconds"
        )
    bad = implausible(seconds)
    if not relative and (typed or unit in ("ms", "us", "ns")):
        bad |= in_1970(seconds)
    if bad.any():
        chunk.refuse(field, bad, _expected(chunk, field, bad, seconds, named, option))
    return pa.array(seconds.astype(np.int64))


def _expected(chunk: Chunk, field: str, bad: np.ndarray, seconds: np.ndarray, named: str, option: str) -> str:
    """What was expected of the first bad time, and the unit in which it would be right."""
    place = int(np.argmax(bad))
    expected = f"{named} in a year from 1900 to 2242, not {year(float(seconds[place]))}"
    try:
        right = likely_unit(float(chunk.column(field)[place].as_py()))
    except (TypeError, ValueError, OverflowError):
        right = None
    if right and option:
        expected += f" (set `{option}: {right}`)"
    elif right:
        expected += f" (it seems to be in {right})"
    elif option and in_1970(seconds[place]):
        expected += " (set `relative: true` if the times do not count from 1970)"
    return expected


def _are_days(numbers: np.ndarray) -> bool:
    """Whether all numbers can be read as days: 20240131 is 2024-01-31. As seconds all would be in August 1970."""
    month, day = numbers // 100 % 100, numbers % 100
    right = (numbers >= 1970_01_01) & (numbers <= 2100_12_31) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    return bool(len(numbers) and right.all())


def _of_type(column: pa.ChunkedArray) -> np.ndarray:
    """Seconds of a column of Arrow's timestamps or dates."""
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.int64()).to_numpy() // UNITS[column.type.unit]
    if pa.types.is_date32(column.type):
        return column.cast(pa.int32()).to_numpy().astype(np.int64) * 86_400
    return column.cast(pa.int64()).to_numpy() // 1000


def _counted(chunk: Chunk, field: str, per_second: int, whole: bool, option: str) -> np.ndarray:
    """Seconds of a column of numbers; whole numbers exactly, as int64, others as float64."""
    column = chunk.column(field)
    if pa.types.is_boolean(column.type):
        raise chunk.wrong_type(field, "times")
    if whole:
        return chunk.numbers(field, pa.int64()).to_numpy() // per_second
    if is_text(column):
        try:
            numbers = whole_numbers(pc.utf8_trim_whitespace(column))
        except pa.ArrowInvalid:
            numbers = None
        if numbers is not None and not numbers.null_count:
            return numbers.to_numpy() // per_second
        if option and (text := next(filter(_is_a_date, column.to_pylist()), None)):
            raise UserError(f"{chunk.path}: '{field}' holds dates such as {text!r}; set `{option}: iso`")
    elif pa.types.is_integer(column.type) and not pa.types.is_uint64(column.type):
        return chunk.numbers(field, pa.int64()).to_numpy() // per_second
    hint = f" (for dates as text set `{option}: iso` or a format such as '%b %d, %Y')" if option else ""
    return np.floor(chunk.numbers(field, hint=hint).to_numpy() / per_second)


def _moments(chunk: Chunk, field: str, column: pa.ChunkedArray, unit: str) -> np.ndarray:
    """Seconds of dates as text, each distinct text read once."""
    if unit == "iso":
        try:
            micros = column.cast(pa.timestamp("us"))
            if not micros.null_count:
                return micros.cast(pa.int64()).to_numpy() // 10**6
        except pa.ArrowInvalid:
            pass  # it has offsets from UTC, or is not a date at all
    parse: Callable[[str], int | None] = _iso if unit == "iso" else lambda text: _formatted(text, unit)
    texts = column.combine_chunks().dictionary_encode()
    seconds = pa.array([parse(text) for text in texts.dictionary.to_pylist()], pa.int64()).take(texts.indices)
    example = datetime(2024, 1, 31, 23, 59, 59).strftime("%Y-%m-%d %H:%M:%S" if unit == "iso" else unit)
    chunk.refuse(field, pc.is_null(seconds), f"a date or time like {example}")
    return seconds.to_numpy(zero_copy_only=False)


def _is_a_date(cell: str | None) -> bool:
    """Whether a cell is a date that is not written as a number."""
    return cell is not None and not cell.strip().isdecimal() and _iso(cell) is not None


def _iso(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        return None
    return timegm(moment.utctimetuple())


def _formatted(text: str, form: str) -> int | None:
    try:
        return timegm(datetime.strptime(text.strip(), form).utctimetuple())
    except (ValueError, OverflowError):
        return None
