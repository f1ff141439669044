"""The search over a method's options: properties/search.yaml, equally large for every method."""

import importlib.resources
from functools import cache

from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.names import nearest
from recbole_conrec.utils.yaml_files import read_yaml

MOST = 3  # points; comparing methods is fair only if none gets more than the others


def search_space(model: str, file: str | None = None) -> list[dict]:
    """The points of a method's search: the first value of each option, and every other value with the others at their
    first.

    Args:
        file: a YAML file in the form of ``properties/search.yaml``, {method: {option: [values]}}, in its place.

    Raises UserError for a method that is not in the file, a value that is no list, or more than 3 points.
    """
    spaces, where = (_shipped(), "properties/search.yaml") if file is None else (read_yaml(file), file)
    if model not in spaces:
        raise UserError(
            f"{where}: there is no search for '{model}'{nearest(model, spaces)}; write one, such as "
            f"'{model}: {{learning_rate: [0.001, 0.003]}}', to a file and give it as --search=FILE"
        )
    space = spaces[model]
    if not isinstance(space, dict) or not space or not all(isinstance(v, list) and v for v in space.values()):
        raise UserError(f"{where}: {model}: {space!r}; expected a mapping of options to lists of values")
    start = {option: values[0] for option, values in space.items()}
    points = [start, *({**start, option: value} for option, values in space.items() for value in values[1:])]
    if len(points) > MOST:
        raise UserError(f"{where}: {model} has {len(points)} points; expected at most {MOST}, as for every method")
    return points


def search_points(model: str) -> int:
    """How many points the shipped search of a method has; 0 for a method without one."""
    return len(search_space(model)) if model in _shipped() else 0


@cache
def _shipped() -> dict:
    return read_yaml(importlib.resources.files("recbole_conrec.properties") / "search.yaml")
