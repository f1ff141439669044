"""Reading RecBole's atomic files: tab-separated text under a `name:type` header.

RecBole's own reader takes quotes, 'NA' and 'None' for markup, makes times 32-bit floats and is slow. This one keeps
every character, checks every row, and names the file, the row (line number, the header is row 1) and the mend.
"""

import hashlib
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv
from recbole.utils import FeatureType

from recbole_conrec.errors import UserError


def digest(path: Path) -> str:
    """sha256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        state = hashlib.sha256()
        while block := file.read(2**20):
            state.update(block)
    return state.hexdigest()


def read_header(path: Path, separator: str = "\t", encoding: str = "utf-8") -> dict[str, FeatureType]:
    """The fields of an atomic file and their types, in file order. UserError if there is no such file or header."""
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; check `data_path` and `dataset`")
    with path.open(encoding=encoding) as file:
        try:
            head = file.readline().rstrip("\r\n").lstrip("\ufeff").split(separator)
        except UnicodeDecodeError as error:
            raise _undecodable(path, encoding, error) from None
    header = {}
    for column in head:
        name, _, kind = column.rpartition(":")
        if kind not in {t.value for t in FeatureType} or not name:
            raise UserError(f"{path}: row 1: '{column}' must read name:type, with type token, float or their _seq")
        header[name] = FeatureType(kind)
    return header


def read_strings(
    path: Path, fields: Collection[str] | None = None, separator: str = "\t", encoding: str = "utf-8"
) -> pd.DataFrame:
    """The given fields (None: all) as text, '' where empty, indexed by row number; blank lines are left out.

    UserError names a missing file or field, the first row with a wrong number of fields, or undecodable text.
    """
    header = read_header(path, separator, encoding)
    for field in fields or ():
        if field not in header:
            raise UserError(f"{path}: there is no field '{field}'; it has {', '.join(header)}")
    if len(separator) != 1:
        raise UserError(f"field_separator '{separator}' must be a single character")

    bad = []  # an exception cannot leave pyarrow's handler

    def refuse(row):
        bad.append(row)
        return "error"

    names = list(header)
    try:
        table = csv.read_csv(
            path,
            # Without threads rows are numbered, and read in order.
            read_options=csv.ReadOptions(use_threads=False, column_names=names, skip_rows=1, encoding=encoding),
            parse_options=csv.ParseOptions(
                delimiter=separator, quote_char=False, ignore_empty_lines=False, invalid_row_handler=refuse
            ),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                include_columns=[name for name in names if fields is None or name in fields],
                strings_can_be_null=False,
            ),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        if bad:
            n, found, expected = bad[0].number, bad[0].actual_columns, bad[0].expected_columns
            raise UserError(
                f"{path}: row {n} has {found} fields instead of {expected}: {bad[0].text!r}. Correct or remove that row"
            ) from None
        raise _undecodable(path, encoding, error) from None
    frame = table.to_pandas()
    frame.index = np.arange(2, len(frame) + 2)
    suspects = frame[(frame.iloc[:, 0] == "").to_numpy()]
    blank = suspects.index[(suspects == "").all(axis=1)]
    return frame.drop(index=blank) if len(blank) else frame


def _undecodable(path: Path, encoding: str, error: Exception) -> UserError:
    return UserError(f"{path}: cannot be read as {encoding} text ({error}); name its `encoding`".replace("\n", " "))


def _first_bad(bad: np.ndarray, column: pd.Series, path: Path, expected: str) -> None:
    if bad.any():
        at = int(np.argmax(bad))
        raise UserError(
            f"{path}: row {column.index[at]}: {column.name} is {column.iloc[at]!r}; expected {expected}. "
            "Correct or remove that row"
        )


def parse_tokens(column: pd.Series, path: Path) -> pd.Series:
    """Ids as text, none of them empty (UserError)."""
    _first_bad((column == "").to_numpy(), column, path, "an id")
    return column


def parse_floats(column: pd.Series, path: Path, empty: bool = True) -> pd.Series:
    """Text -> float64 [N]; `empty` lets '' become NaN. UserError names the first value that is not a number."""
    missing = (column == "").to_numpy()
    values = column.where(~missing, "nan").to_numpy(dtype=object)
    try:  # correctly rounded, which pandas.to_numeric is not
        numbers = pa.array(values, pa.string()).cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        numbers = np.array([_float(value) for value in values])
    _first_bad(~np.isfinite(numbers) & ~(missing & empty), column, path, "a number")
    return pd.Series(numbers, column.index, name=column.name)


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def parse_times(column: pd.Series, path: Path) -> pd.Series:
    """Text -> int64 [N], exactly: '874965758' and '874965758.0' alike. UserError for what is not a whole number."""
    values = column.to_numpy(dtype=object)
    try:
        return pd.Series(pa.array(values, pa.string()).cast(pa.int64()).to_numpy(), column.index, name=column.name)
    except pa.ArrowInvalid:
        numbers = parse_floats(column, path, empty=False)
    # A float64 holds every whole number up to 2**53.
    inexact = (numbers != np.floor(numbers)) | (numbers.abs() > 2.0**53)
    _first_bad(inexact.to_numpy(), column, path, "a whole number of seconds (or an order)")
    return numbers.astype(np.int64)


def split_sequences(column: pd.Series, separator: str, floats: bool, path: Path) -> pd.Series:
    """Text -> one array per row: the words (or numbers) between separators, empty ones left out."""
    words = [[word for word in text.split(separator) if word] for text in column]
    if not floats:
        return pd.Series([np.array(row, dtype=str) for row in words], column.index, name=column.name)
    flat = pd.Series([word for row in words for word in row], dtype=object, name=column.name)
    flat.index = np.repeat(column.index, [len(row) for row in words])
    numbers = parse_floats(flat, path, empty=False).to_numpy()
    ends = np.cumsum([len(row) for row in words])
    return pd.Series(np.split(numbers, ends[:-1]), column.index, name=column.name)
