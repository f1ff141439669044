"""Names that a user gives: the nearest known ones, and what a dotted path names."""

import difflib
import importlib
from collections.abc import Callable, Iterable
from typing import Any

from recbole_conrec.utils.errors import UserError


def nearest(name: str, known: Iterable[str]) -> str:
    """'; did you mean ...' with up to three known names like this one, in whatever case; '' if there is none."""
    by_lower: dict[str, str] = {}
    for one in known:
        by_lower.setdefault(one.lower(), one)
    close = [by_lower[found] for found in difflib.get_close_matches(name.lower(), list(by_lower), n=3, cutoff=0.6)]
    return f"; did you mean {' or '.join(repr(c) for c in close)}" if close else ""


def load_function(path: str, where: str = "") -> Callable:
    """The function (or another callable) at ``package.module:name``. Raises UserError as :func:`load`."""
    found = load(path, where)
    if not callable(found):
        raise UserError(f"{_at(path, where)}: {type(found).__name__} is no function")
    return found


def load(path: str, where: str = "") -> Any:
    """The object at ``package.module:name``. Raises UserError, which names the option ``where``, if there is none."""
    at = _at(path, where)
    module, _, name = path.partition(":")
    if not name:
        raise UserError(f"{at} is no dotted path: expected 'package.module:name'")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):  # the module exists; something that it imports does not
            raise _broken(at, module, error) from error
        raise UserError(f"{at}: there is no module '{error.name}' to import; is its package installed?") from None
    except Exception as error:  # whatever a module does when it is imported
        raise _broken(at, module, error) from error
    if not hasattr(found, name):
        raise UserError(f"{at}: module '{module}' has no '{name}'")
    return getattr(found, name)


def _at(path: str, where: str) -> str:
    return f"{where}: '{path}'" if where else f"'{path}'"


def _broken(at: str, module: str, error: Exception) -> UserError:
    return UserError(f"{at}: importing '{module}' failed: {type(error).__name__}: {error}")
