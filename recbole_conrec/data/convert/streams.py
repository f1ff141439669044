"""The bytes and lines of raw files: decompressed, as UTF-8, with a progress bar."""

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from tqdm import tqdm

from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.file_kinds import other_kind

BLOCK = 16 << 20  # bytes read at a time
_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file's bytes, decompressed if its name ends in .gz, with a progress bar over the bytes on disk.

    Raises UserError if a .gz file is cut short or is not one.
    """
    with (
        path.open("rb") as file,
        tqdm.wrapattr(
            file, "read", total=path.stat().st_size, desc=path.name, unit="B", unit_scale=True, leave=False
        ) as counted,
    ):
        try:
            yield cast(BinaryIO, gzip.GzipFile(fileobj=counted)) if path.suffix == ".gz" else counted
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise UserError(f"{path}: not a whole gzip file ({error}); download it again") from None


@contextmanager
def as_utf8(path: Path, encoding: str) -> Iterator[BinaryIO]:
    """The same as UTF-8. Raises UserError naming the row that does not fit the encoding; text that is said to be UTF-8
    is checked by those that read it.
    """
    with opened(path) as file:
        if codecs.lookup(encoding).name in ("utf-8", "utf-8-sig"):
            yield file
        else:
            yield cast(BinaryIO, _Decoded(file, path, encoding))


def lines(path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """Line numbers (from 1) and lines, without their ends; blank lines are skipped."""
    for number, line in raw_lines(path, encoding):
        try:
            yield number, line.decode()
        except UnicodeDecodeError as error:
            raise UserError(f"{path}, row {number}: {undecodable(path, encoding, error.reason)}") from None


def raw_lines(path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, bytes]]:
    """The same as UTF-8 that is not checked yet, for readers that go on after a bad line."""
    number, rest = 0, b""
    with as_utf8(path, encoding) as file:
        while block := file.read(BLOCK):
            *whole, rest = (rest + block).split(b"\n")
            for line in whole:
                number += 1
                if line.strip():
                    yield number, _end(line)
    if rest.strip():
        yield number + 1, _end(rest)


def _end(line: bytes) -> bytes:
    return line.rstrip(b"\r").removeprefix(codecs.BOM_UTF8)


def undecodable(path: Path, encoding: str, why: str) -> str:
    """What is wrong with text that its encoding does not fit, and what to set."""
    with opened(path) as file:
        start = file.read(6)
    if kind := other_kind(start, gzip="let its name end in .gz", parquet="let its name end in .parquet"):
        return f"not {encoding} text, but {kind}"
    head = start[:2]
    if head in _MARKS and codecs.lookup(encoding).name != "utf-16":
        return f"not {encoding} text, but {_MARKS[head]}; set `encoding: {_MARKS[head]}`"
    return f"not {encoding} text ({why}); the file is damaged, or its `encoding` is another one"


def has_nul(path: Path, encoding: str) -> str:
    """What is wrong with text that holds characters 0, as UTF-16 does that is read as another encoding."""
    with opened(path) as file:
        start = file.read(2)
    right = f"; set `encoding: utf-16-{'be' if start[:1] == bytes(1) else 'le'}`" if 0 in start else ""
    return f"not {encoding} text: it has characters 0{right}"


class _Changed(io.RawIOBase):
    """A file's bytes, changed block by block."""

    def __init__(self, file):
        self._file = file
        self._ready, self._over = b"", False

    def readable(self) -> bool:
        return True

    def change(self, block: bytes) -> bytes:
        """The next bytes; an empty block is the end of the file."""
        raise NotImplementedError

    def read(self, size: int = -1) -> bytes:
        parts = [self._ready]
        while not self._over and (size < 0 or not parts[-1]):
            block = self._file.read(BLOCK)
            self._over = not block
            parts.append(self.change(block))
        whole = b"".join(parts)
        given, self._ready = (whole, b"") if size < 0 else (whole[:size], whole[size:])
        return given


class Replaced(_Changed):
    """Each separator of several bytes becomes the ASCII unit separator."""

    def __init__(self, file, separator: bytes):
        super().__init__(file)
        self._separator = separator
        self._rest = b""  # read, but perhaps cut inside a separator

    def change(self, block: bytes) -> bytes:
        whole = (self._rest + block).replace(self._separator, b"\x1f")
        # an end that may be the start of a separator waits for the next block
        keep = next((n for n in range(len(self._separator) - 1, 0, -1) if whole.endswith(self._separator[:n])), 0)
        cut = len(whole) - keep if block else len(whole)
        self._rest = whole[cut:]
        return whole[:cut]


class _Decoded(_Changed):
    """Text of another encoding as UTF-8, without its byte order mark."""

    def __init__(self, file, path: Path, encoding: str):
        super().__init__(file)
        self._path, self._encoding = path, encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._row, self._first = 1, True

    def change(self, block: bytes) -> bytes:
        try:
            text = self._decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            row = self._row + error.object[: error.start].decode(self._encoding, "replace").count("\n")
            raise UserError(
                f"{self._path}, row {row}: {undecodable(self._path, self._encoding, error.reason)}"
            ) from None
        except UnicodeError:  # UTF-16 and UTF-32 without a mark
            raise UserError(
                f"{self._path}: not {self._encoding} text with a byte order mark; set `encoding` to "
                f"{self._encoding}-le or {self._encoding}-be, or to that of the file"
            ) from None
        self._row += text.count("\n")
        if self._first and text:
            text, self._first = text.removeprefix("\ufeff"), False
        return text.encode()
