"""Ids that people write down: text files with one id a line, and how such ids are found among those of the data.

Marks at the beginning of a file (BOM) and blanks around an id are no part of it.
"""

import codecs
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from recbole_conrec.utils.errors import UserError

NAMED = 5  # most ids that a message names


def read_ids(path) -> list[str]:
    """The lines of a text file of ids, '' for an empty one; empty lines at the end are left out.

    UTF-8, with or without a mark at its beginning, or UTF-16 with one. Raises UserError naming a file that cannot be
    read.
    """
    file = Path(path)
    try:
        raw = file.read_bytes()
        utf16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = raw.decode("utf-16" if utf16 else "utf-8-sig")
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise UserError(f"{file}: {reason}; expected a text file with one id a line") from None
    except UnicodeDecodeError:
        raise UserError(f"{file}: not text in UTF-8; expected one id a line") from None
    lines = [bare(line) for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def bare(name: str) -> str:
    """An id without a mark (BOM) before it and blanks around it."""
    return name.strip().lstrip("\ufeff").strip()


def find(wanted: Iterable[str], known: Sequence[str]) -> np.ndarray:
    """The place of each wanted id among the known ones: int64, -1 for an unknown id; the first of equal ones.

    An id that is not found letter by letter is found if only the blanks around it differ.
    """
    place: dict[str, int] = {}
    for index, name in enumerate(known):
        place.setdefault(name, index)
    for index, name in enumerate(known):
        place.setdefault(bare(name), index)
    return np.array([place.get(name, place.get(bare(name), -1)) for name in wanted], dtype=np.int64)


def some(names: Sequence[str]) -> str:
    """The first ids for a message: "'a', 'b', ... (7 in all)"."""
    shown = ", ".join(f"'{name}'" for name in names[:NAMED])
    return shown if len(names) <= NAMED else f"{shown}, ... ({len(names):,} in all)"
