"""YAML read safely: values and files of options."""

import re
from pathlib import Path

import yaml

from recbole_conrec.utils.errors import UserError


class _Loader(yaml.SafeLoader):
    """Safe YAML in which 1e-3 is a number, as in RecBole's files (YAML 1.1 wants 1.0e-3)."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d[\d_]*)?\.?\d+[eE][-+]?\d+$"), list("-+0123456789.")
)


def parse_value(text: str):
    """One value as YAML: '3' -> 3, '[1, 2]' -> [1, 2], 'None' and '~' -> None, anything else a string."""
    if text == "None":
        return None
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError:
        return text


def read_yaml(path) -> dict:
    """A YAML mapping. Raises UserError naming the file and the line."""
    try:
        text = Path(path).read_text(encoding="utf-8") if isinstance(path, str) else path.read_text(encoding="utf-8")
        content = yaml.load(text, _Loader) or {}
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise UserError(f"{path}: {reason}; expected a YAML file of options") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not text in UTF-8; expected a YAML file of options") from None
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = "" if line is None else f", line {line + 1}"
        raise UserError(f"{path}{where}: not valid YAML ({getattr(error, 'problem', error)})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a mapping 'option: value', found {type(content).__name__}")
    return content
