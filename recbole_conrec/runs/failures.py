"""Why a run failed, kept in its folder until it is tried again: boards show it in place of figures."""

import contextlib
import time
from pathlib import Path

from recbole_conrec.utils.damage import read_object
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import write_json

FILE = "failed.json"
LONGEST = 300  # characters of a reason


def reason(error: BaseException) -> str:
    """An exception in one line; one that is no user's mistake with its type."""
    text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:LONGEST]


def note(folder: Path, why: str) -> None:
    """Keep why a run failed. Does nothing on a disk that cannot be written: that may be the reason."""
    with contextlib.suppress(OSError, UserError):
        write_json(folder / FILE, {"reason": " ".join(why.split())[:LONGEST], "time": int(time.time())})


def read(folder: Path) -> str:
    """Why the last attempt at a run failed; '' if it did not."""
    try:
        return str(read_object(folder / FILE)["reason"])
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, KeyError):
        return "for a reason that cannot be read"


def clear(folder: Path) -> None:
    """Forget it, as the run is tried again."""
    with contextlib.suppress(OSError):
        (folder / FILE).unlink()
