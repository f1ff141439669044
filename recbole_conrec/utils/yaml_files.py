"""YAML read safely: values and files of options."""

import re
from pathlib import Path
from typing import Any

import yaml

from recbole_conrec.utils.errors import UserError

MOST = 100_000  # values in a file of options, aliases counted as often as they are used
DEEPEST = 100  # mappings and lists inside each other


class _Loader(yaml.SafeLoader):
    """Safe YAML in which 1e-3 is a number, as in RecBole's files (YAML 1.1 wants 1.0e-3), and a key comes once."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d[\d_]*)?\.?\d+[eE][-+]?\d+$"), list("-+0123456789.")
)


class _Unfit(yaml.MarkedYAMLError):
    """Valid YAML that no options are read from."""


def parse_value(text: str) -> Any:
    """One value as YAML: '3' -> 3, '[1, 2]' -> [1, 2], 'None' and '~' -> None, anything else a string.

    Raises UserError for a key that is given twice, and for values that refer to themselves or multiply.
    """
    if text == "None":
        return None
    try:
        return _load(text)
    except _Unfit as error:
        raise UserError(f"'{text if len(text) < 80 else text[:77] + '...'}': {error.problem}") from None
    except (yaml.YAMLError, ValueError):  # a ValueError: 2024-02-30 is no date, and therefore text
        return text


def read_yaml(path) -> dict:
    """A YAML mapping. Raises UserError naming the file and the line."""
    try:
        text = Path(path).read_text(encoding="utf-8") if isinstance(path, str) else path.read_text(encoding="utf-8")
        content = _load(text) or {}
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise UserError(f"{path}: {reason}; expected a YAML file of options") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not text in UTF-8; expected a YAML file of options") from None
    except _Unfit as error:
        line = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
        raise UserError(f"{path}{line}: {error.problem}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f", line {mark.line + 1}"
        why = " ".join(str(getattr(error, "problem", error)).split())
        raise UserError(f"{path}{where}: not valid YAML ({why})") from None
    except ValueError as error:  # of a value that looks like a date and is none
        raise UserError(f"{path}: not valid YAML ({error}); quote text that looks like a date or number") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a mapping 'option: value', found {type(content).__name__}")
    if strange := [key for key in content if not isinstance(key, str)]:
        raise UserError(f"{path}: '{strange[0]}' is no name of an option; expected a mapping 'option: value'")
    return content


def _load(text: str) -> Any:
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        _check(root, [MOST])
        return loader.construct_document(root)
    except RecursionError:
        raise _Unfit(problem="values are nested too deeply to be options") from None
    finally:
        loader.dispose()


def _check(node: yaml.Node, left: list[int], depth: int = 0) -> None:
    """Raise _Unfit for a key given twice, or for anchors that refer to themselves or multiply.

    Args:
        left: [how many more values there may be].
    """
    left[0] -= 1
    if left[0] < 0 or depth > DEEPEST:
        problem = f"more than {MOST:,} values, or {DEEPEST} inside each other; do anchors (&, *) refer to themselves?"
        raise _Unfit(problem=problem, problem_mark=node.start_mark)
    if isinstance(node, yaml.MappingNode):
        keys = set()
        for key, value in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
            if name in keys:
                raise _Unfit(problem=f"'{key.value}' is given twice; leave one out", problem_mark=key.start_mark)
            keys.update([name] if name else [])
            _check(key, left, depth + 1)
            _check(value, left, depth + 1)
    elif isinstance(node, yaml.SequenceNode):
        for one in node.value:
            _check(one, left, depth + 1)
