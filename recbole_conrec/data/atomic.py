"""Reading RecBole's atomic files: tab-separated text under a `name:type` header.

RecBole's own reader interprets quotes, 'NA' and 'None', makes times 32-bit floats and is slow. This one keeps every
character and checks every row; its errors name the file, the row (line number, the header is row 1) and the fix.
"""

import codecs
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute, csv
from pydantic import AfterValidator
from recbole.utils import FeatureType
from tqdm import tqdm

from recbole_conrec.data.years import UNITS, implausible, likely_unit, year
from recbole_conrec.utils.cells import bare, number, whole_numbers
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.file_kinds import other_kind
from recbole_conrec.utils.files import is_there

_BLOCK = 2**24  # bytes of text parsed at a time
SHOWN = 20  # bad rows that an error lists
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
PADDING = "[PAD]"  # what RecBole calls its item and user 0
KEPT = 1000  # bad rows after which reading stops


def _known_encoding(name: str) -> str:
    try:
        if not codecs.lookup(name)._is_text_encoding:  # hex, rot13 ...
            raise LookupError(name)
    except LookupError:
        raise ValueError(f"'{name}' is unknown to Python; give one such as utf-8") from None
    return name


Encoding = Annotated[str, AfterValidator(_known_encoding)]
"""An option that names an encoding of text."""


def read_header(path: Path, separator: str = "\t", encoding: str = "utf-8") -> dict[str, FeatureType]:
    """The fields of an atomic file and their types, in its order. Raises UserError without a file or a valid header."""
    if not is_there(path):
        raise UserError(f"{path}: there is no such file; check `data_path` and `dataset`")
    with path.open(encoding=encoding) as file:
        try:
            head = file.readline().rstrip("\r\n").lstrip("\ufeff").split(separator)
        except UnicodeDecodeError as error:
            raise _undecodable(path, encoding, error) from None
    if "\0" in "".join(head):
        raise UserError(f"{path}: row 1: it has characters 0; is it UTF-16? Set `encoding: utf-16-le` or utf-16-be")
    if head == [""]:
        raise UserError(f"{path}: row 1: it is empty; expected a header of name:type, such as item_id:token")
    header: dict[str, FeatureType] = {}
    for column in head:
        name, _, kind = column.rpartition(":")
        if kind not in {t.value for t in FeatureType} or not name or (len(head) == 1 and ":" in name):
            other = next((sign for sign in "\t,;| " if sign in column and len(head) == 1), None)
            hint = f"; is its separator {other!r}? Set `field_separator`" if other else ""
            raise UserError(
                f"{path}: row 1: {column!r}; expected name:type, with type token, float, token_seq or float_seq{hint}"
            )
        if name in header:
            raise UserError(f"{path}: row 1: the field '{name}' is there twice; rename or remove one of them")
        header[name] = FeatureType(kind)
    return header


def read_columns(
    path: Path, fields: Collection[str] | None = None, separator: str = "\t", encoding: str = "utf-8"
) -> dict[str, "Column"]:
    """The given fields (None: all) of an atomic file, in the file's order; blank lines are left out.

    Args:
        separator: one character.

    Raises UserError naming a missing file or field, the first row with a wrong number of fields, or text that the
    encoding does not fit.
    """
    header = read_header(path, separator, encoding)
    for field in fields or ():
        if field not in header:
            raise UserError(f"{path}: there is no field '{field}'; it has {', '.join(header)}")

    bad: list[csv.InvalidRow] = []  # an exception cannot leave pyarrow's handler

    def refuse(row: csv.InvalidRow) -> str:
        bad.append(row)
        return "skip" if len(bad) < KEPT else "error"

    names, blocks = list(header), path.stat().st_size // _BLOCK
    try:
        reader = csv.open_csv(
            path,
            # Without threads rows are numbered, and read in order.
            read_options=csv.ReadOptions(
                use_threads=False, column_names=names, skip_rows=1, encoding=encoding, block_size=_BLOCK
            ),
            parse_options=csv.ParseOptions(
                delimiter=separator, quote_char=False, ignore_empty_lines=False, invalid_row_handler=refuse
            ),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
        batches = tqdm(reader, f"read {path.name}", total=blocks + 1, unit="block", leave=False, disable=blocks < 4)
        table = pa.Table.from_batches(batches, reader.schema)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        if "Could not skip" in str(error):  # a header without a line end
            return {name: Column(path, name, pa.chunked_array([], pa.string()), np.empty(0, int)) for name in names}
        if not bad:
            raise _undecodable(path, encoding, error) from None
    if bad:
        n, found, expected = bad[0].number, bad[0].actual_columns, bad[0].expected_columns
        raise UserError(
            f"{path}: row {n} has {found} fields instead of {expected}: {bad[0].text!r}. "
            f"Correct or remove that row{_more([row.number for row in bad[1:]])}"
        )
    rows = np.arange(2, len(table) + 2)
    blank = reduce(compute.and_, (compute.equal(values, "") for values in table.columns))
    if compute.any(blank).as_py():
        table, rows = table.filter(compute.invert(blank)), rows[~blank.to_numpy()]
    return {name: Column(path, name, table[name], rows) for name in names if fields is None or name in fields}


def text_frame(columns: dict[str, "Column"]) -> pd.DataFrame:
    """Columns of one file as a DataFrame of text, indexed by row number."""
    rows = next(iter(columns.values())).rows
    return pd.DataFrame({name: column.text.to_pandas().to_numpy() for name, column in columns.items()}, index=rows)


@dataclass(frozen=True, eq=False)
class Column:
    """One field of a file as text, and its values by type. Each method raises UserError naming the first bad row.

    Attributes:
        text: N strings, '' where empty. rows: int64 [N], their row numbers in the file.
    """

    path: Path
    name: str
    text: pa.ChunkedArray
    rows: np.ndarray

    def keep(self, kept: np.ndarray) -> "Column":
        """The rows for which `kept` (bool [N]) is true."""
        return Column(self.path, self.name, self.text.filter(pa.array(kept)), self.rows[kept])

    def stripped(self) -> "Column":
        """Without blanks and byte order marks around each text."""
        return Column(self.path, self.name, bare(self.text), self.rows)

    def ids(self) -> pd.Categorical:
        """As :meth:`tokens`, without blanks around them. An empty one, or RecBole's padding, is an error."""
        coded = self.tokens(empty=True)
        words = bare(pa.chunked_array([pa.array(coded.categories, pa.string())])).to_numpy()
        self._refuse(coded.codes < 0, "an id")
        wrong = np.flatnonzero([word in ("", PADDING) or bool(_CONTROL.search(word)) for word in words])
        if len(wrong):
            self._refuse(np.isin(coded.codes, wrong), "an id, without control characters")
        numbers, unique = pd.factorize(words)
        if len(unique) == len(words) and (unique == coded.categories).all():
            return coded
        return pd.Categorical.from_codes(numbers[coded.codes], dtype=pd.CategoricalDtype(unique), validate=False)

    def tokens(self, empty: bool = False) -> pd.Categorical:
        """Words as codes, the categories in order of appearance. With `empty`, '' becomes NaN; else it is an error."""
        coded = self.text.dictionary_encode().unify_dictionaries()
        if not coded.num_chunks:
            return pd.Categorical([])
        words = coded.chunk(0).dictionary.to_pandas().to_numpy(dtype=object)
        codes = np.concatenate([part.indices.to_numpy() for part in coded.chunks])
        missing = np.flatnonzero(words == "")
        if len(missing):
            if not empty:
                self._refuse(codes == missing[0], "an id")
            codes = np.where(codes == missing[0], -1, codes - (codes > missing[0]))
            words = np.delete(words, missing)
        return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(words), validate=False)

    def floats(self, empty: bool = False) -> np.ndarray:
        """Numbers: float64 [N], correctly rounded, finite. With `empty`, '' becomes NaN; else it is an error."""
        missing = compute.equal(self.text, "")
        try:
            text = compute.if_else(missing, pa.scalar(None, pa.string()), self.text)
            numbers = text.cast(pa.float64()).to_numpy()
        except pa.ArrowInvalid:
            numbers = np.array([_float(word) for word in self.text.to_pylist()])
        self._refuse(~np.isfinite(numbers) & ~(missing.to_numpy() & empty), "a number")
        return numbers

    def times(self, plausible: bool = False) -> np.ndarray:
        """Whole numbers: int64 [N], exact; '874965758' and '874965758.0' are the same.

        With `plausible`, a time that as seconds since 1970 is not in a year from 1900 to 2242 is an error. Small
        numbers may be an order.
        """
        try:
            numbers = whole_numbers(self.text).to_numpy()
        except pa.ArrowInvalid:
            numbers = self.floats()
            # A float64 holds every whole number up to 2**53.
            self._refuse((numbers != np.floor(numbers)) | (np.abs(numbers) > 2.0**53), "a whole number of seconds")
        bad = implausible(numbers) & plausible
        if bad.any():
            first = float(numbers[np.argmax(bad)])
            unit = likely_unit(first)
            divide = f"; it seems to be in {unit}: divide all by {UNITS[unit]:,}" if unit else ""
            self._refuse(bad, f"seconds since 1970 in a year from 1900 to 2242, not {year(first)}{divide}")
        return numbers.astype(np.int64)

    def sequences(self, separator: str, floats: bool = False) -> list[np.ndarray]:
        """The words (or numbers) between separators: N arrays; empty words are left out."""
        rows = [[word for word in text.split(separator) if word] for text in self.text.to_pylist()]
        if not floats:
            return [np.array(words, dtype=str) for words in rows]
        lengths = [len(words) for words in rows]
        flat = pa.chunked_array([pa.array([word for words in rows for word in words], pa.string())])
        numbers = Column(self.path, self.name, flat, np.repeat(self.rows, lengths)).floats()
        return np.split(numbers, np.cumsum(lengths)[:-1])

    def _refuse(self, bad: np.ndarray, expected: str) -> None:
        if bad.any():
            at = int(np.argmax(bad))
            raise UserError(
                f"{self.path}: row {self.rows[at]}: {self.name} is {self.text[at].as_py()!r}; expected {expected}. "
                f"Correct or remove that row{_more(self.rows[bad][1:].tolist())}"
            )


def _more(rows: list[int]) -> str:
    """The other rows with the same fault."""
    shown = f", and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    return f", and rows {', '.join(map(str, rows[:SHOWN]))}{shown}" if rows else ""


def _undecodable(path: Path, encoding: str, error: Exception) -> UserError:
    with path.open("rb") as file:
        start = file.read(8)
    if kind := other_kind(start):
        return UserError(f"{path}: not {encoding} text, but {kind}")
    if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return UserError(f"{path}: not {encoding} text, but utf-16; set `encoding: utf-16`")
    return UserError(f"{path}: not {encoding} text ({error}); set `encoding` to the file's".replace("\n", " "))


def _float(text: str) -> float:
    try:
        return number(text)
    except ValueError:
        return np.nan
