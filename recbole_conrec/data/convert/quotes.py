"""Text after a closing quote: CSV readers guess what it means, and so damage the cell; here it is an error."""

import csv
import io
import re
import sys
from pathlib import Path

from recbole_conrec.data.convert.streams import as_utf8
from recbole_conrec.utils.errors import UserError


class Watched(io.RawIOBase):
    """A file's bytes as they are read, and whether a quote among them may be misplaced.

    Attributes:
        suspicious: a quote follows a backslash, or is between characters other than separators and quotes.
    """

    def __init__(self, file, separator: str):
        self._file, self._last = file, b""
        other = b'[^"\r\n' + re.escape(separator).encode() + b"]"
        self._sign = re.compile(rb'\\"|' + other + b'"' + other)
        self.suspicious = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self.suspicious = self.suspicious or bool(self._sign.search(self._last + block))
        self._last = block[-2:]
        return block


def check_quotes(path: Path, separator: str, encoding: str) -> None:
    """Raises UserError for the first quoted cell of a CSV file that continues after its closing quote."""
    csv.field_size_limit(sys.maxsize)
    with as_utf8(path, encoding) as file, io.TextIOWrapper(file, "utf-8", newline="", errors="replace") as text:
        rows = csv.reader(text, delimiter=separator, strict=True)
        row = 1
        try:
            for _ in rows:
                row += 1
        except csv.Error:
            raise UserError(
                f"{path}, row {row}: a quote inside of a quoted cell. If '\\' comes before such quotes, set "
                "`escape: '\\'`; else write them twice"
            ) from None
