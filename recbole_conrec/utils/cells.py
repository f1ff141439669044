"""Cells of text files as Arrow columns of text: their numbers, and the ids without what surrounds them."""

import pyarrow as pa
import pyarrow.compute as pc

MARK = "\ufeff"  # a byte order mark; inside of a file where files that begin with it were put together


def whole_numbers(text: pa.ChunkedArray, kind: pa.DataType = pa.int64()) -> pa.ChunkedArray:  # noqa: B008
    """Decimal digits as whole numbers. Raises ArrowInvalid for anything else, hexadecimal ones (0x10) included."""
    if pc.any(pc.match_substring(text, "x", ignore_case=True)).as_py():
        raise pa.ArrowInvalid("not a decimal number")
    return text.cast(kind)


def number(cell) -> float:
    """A cell's number. Raises ValueError for what is none; Python's 1_000 is none."""
    if isinstance(cell, str) and "_" in cell:
        raise ValueError(cell)
    return float(cell)


def bare(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts without blanks and byte order marks around them."""
    text = pc.utf8_trim_whitespace(text)
    if pc.any(pc.match_substring(text, MARK)).as_py():
        text = pc.utf8_trim_whitespace(pc.utf8_trim(text, MARK))
    return text
