"""Bad rows of raw files: one pass collects them all; a conversion may go on without some of them."""

import csv
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recbole_conrec.utils.errors import UserError

SHOWN = 10  # bad rows that an error lists
KEPT = 1000  # bad rows beyond those that may be left out, after which reading stops


class Fault(NamedTuple):
    """What is wrong with one row of a file, numbered from 1."""

    path: Path
    row: int
    what: str


class BadRowsError(UserError):
    """Rows of a chunk that cannot be read; the message is about the first one.

    Attributes:
        mask: bool [rows of the chunk], true for the bad ones.
        faults: one for each of them, made when it is asked for.
    """

    def __init__(self, mask: np.ndarray, describe: Callable[[int], Fault]):
        first, *_ = places = np.flatnonzero(mask).tolist()
        path, row, what = describe(first)
        super().__init__(f"{path}, row {row}: {what}. Correct or remove that row")
        self.mask, self.faults = mask, map(describe, places)


class Faults:
    """The bad rows found so far.

    Args:
        allowed: the number of bad rows that may be left out.
    """

    def __init__(self, allowed: int = 0):
        self.allowed = allowed
        self.found: list[Fault] = []

    @property
    def full(self) -> bool:
        """Whether there are so many that reading on is of no use."""
        return len(self.found) > self.allowed + KEPT

    def add(self, faults: Iterable[Fault]) -> None:
        """Take faults in. Raises UserError if there are too many to read on."""
        for fault in faults:
            self.found.append(fault)
            if self.full:
                self.check()

    def check(self) -> None:
        """Raises UserError that lists the bad rows, if there are more than may be left out."""
        if len(self.found) <= self.allowed:
            return
        found = self._sorted()
        number = f"more than {len(found) - 1}" if self.full else f"{len(found)}"
        leave_out = "" if self.full else f", or leave out up to {len(found)} by --skip-bad={len(found)}"
        if len(found) == 1:
            raise UserError(
                f"{found[0].path}, row {found[0].row}: {found[0].what}. Correct or remove that row{leave_out}"
            )
        shown, last = [], None
        for fault in found[:SHOWN]:
            shown.append((f"{fault.path}, " if fault.path != last else "") + f"row {fault.row}: {fault.what}")
            last = fault.path
        more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise UserError(f"{number} bad rows: {'; '.join(shown)}{more}. Correct or remove them{leave_out}")

    def _sorted(self) -> list[Fault]:
        return sorted(self.found, key=lambda fault: (str(fault.path), fault.row))

    def write(self, path: Path) -> None:
        """Write the bad rows as CSV: file, row, fault."""
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["file", "row", "fault"])
            writer.writerows((str(fault.path), fault.row, fault.what) for fault in self._sorted())
