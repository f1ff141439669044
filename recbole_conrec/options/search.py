"""What is searched of a method's options: properties/search.yaml, a user's file or key, or RecBole's hyperopt file.

SASRec:
  learning_rate: {low: 0.0003, high: 0.01, log: true}
  MAX_ITEM_LIST_LENGTH: {values: [10, 20, 50]}
"""

import importlib.resources
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import Field, model_validator

from recbole_conrec.options.schema import Number, Options, Positive
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.names import nearest
from recbole_conrec.utils.yaml_files import parse_value, read_yaml

POINTS = 3  # settings that the shipped defaults of a method with a search are the best of
OTHERS = "default"  # key of the space of RecBole's models that have none of their own
HYPEROPT = ("choice", "uniform", "quniform", "loguniform")
EXAMPLE = "{learning_rate: {low: 0.0003, high: 0.01, log: true}, MAX_ITEM_LIST_LENGTH: {values: [10, 20, 50]}}"


class Range(Options):
    """Numbers from a range."""

    low: Number
    """The smallest; where this and `high` are whole, the numbers are."""
    high: Number
    """The largest."""
    log: bool = False
    """Drawn evenly by their logarithm."""
    step: Positive | None = None
    """Distance between two numbers; null: any, or 1 of whole numbers."""

    @model_validator(mode="after")
    def _ordered(self):
        if self.low >= self.high:
            raise ValueError(f"low {self.low} is not below high {self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log: true needs a low above 0, and no step")
        return self

    @property
    def whole(self) -> bool:
        """Whether it holds whole numbers."""
        return all(isinstance(value, int) for value in (self.low, self.high, self.step or 1))

    def holding(self, value: Any, where: str) -> "Range":
        """The range stretched to hold a value. Raises UserError for one that it cannot hold."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(f"{where}: a range is for numbers, and the default is {value!r}; give `values`")
        low, high = min(self.low, value), max(self.high, value)
        steps = 0.0 if self.step is None else (value - self.low) / self.step
        if abs(steps - round(steps)) > 1e-9 or (self.log and low <= 0):
            raise UserError(f"{where}: the default {value!r} is not in the range {self._text()}; give another range")
        return self.model_copy(update={"low": low, "high": high})

    def _text(self) -> str:
        parts = {"step": self.step} if self.step else {"log": True} if self.log else {}
        return str({"low": self.low, "high": self.high, **parts})


class Choice(Options):
    """One of some values."""

    values: Annotated[tuple[Any, ...], Field(min_length=1, strict=False)]
    """What is tried: numbers, texts, null, lists or mappings."""

    def holding(self, value: Any, where: str) -> "Choice":
        """The choice with a value among its values, as the first."""
        others = [one for one in self.values if type(one) is not type(value) or one != value]
        return Choice(values=(value, *others))


Dimension: TypeAlias = Range | Choice
Space: TypeAlias = dict[str, Dimension]


def read_space(given: Any, where: str) -> Space:
    """{option: dimension} of a mapping {option: {low, high, log, step}, {values} or a list of values}.

    Raises UserError naming the option at fault.
    """
    if not isinstance(given, Mapping) or not given:
        raise UserError(f"{where}: {given!r}; expected options and what is tried of each, such as {EXAMPLE}")
    return {str(option): _dimension(value, f"{where}.{option}") for option, value in given.items()}


def _dimension(given: Any, where: str) -> Dimension:
    if isinstance(given, list | tuple):
        given = {"values": given}
    if not isinstance(given, Mapping):
        raise UserError(f"{where}: {given!r}; expected {{low, high}}, with log or step, or {{values: [...]}}")
    return (Choice if "values" in given else Range).read(dict(given), where)


def search_space(model: str, given: Any = None, others: bool = False) -> Space:
    """What is searched of a method's options.

    Args:
        given: a mapping {option: dimension}; a YAML file with one, or with one for each of several methods; a file of
            RecBole's hyperopt; None: properties/search.yaml.
        others: whether the method may have the space of RecBole's models that have none of their own.

    Raises UserError for a method without a space, and for a mistake in one.
    """
    if isinstance(given, Mapping):
        return read_space(given, "space")
    if given is not None and (lines := _hyperopt_lines(given)):
        return read_space(dict(_hyperopt(line, f"{given}, line {n}") for n, line in lines), str(given))
    spaces, where = (_shipped(), "properties/search.yaml") if given is None else (read_yaml(given), str(given))
    if model in spaces:
        return read_space(spaces[model], f"{where}: {model}")
    if given is None and others:
        return read_space(spaces[OTHERS], f"{where}: {OTHERS}")
    if given is not None and not any(_of_method(value) for value in spaces.values()):
        return read_space(spaces, where)
    known = [name for name in spaces if name != OTHERS]
    raise UserError(
        f"{where}: there is no search for '{model}'{nearest(model, known)}; write one, such as "
        f"'{model}: {EXAMPLE}', to a file and give it as --space=FILE"
    )


def _of_method(value: Any) -> bool:
    """Whether a value of a file is the space of a method rather than what is tried of an option."""
    return isinstance(value, Mapping) and any(
        isinstance(one, list | Mapping) for key, one in value.items() if key != "values"
    )


def search_points(model: str) -> int:
    """How many settings the shipped defaults of a method are the best of; 0 for a method that was not searched."""
    return POINTS if model in _shipped() and model != OTHERS else 0


@cache
def _shipped() -> dict:
    return read_yaml(importlib.resources.files("recbole_conrec.properties") / "search.yaml")


# -- RecBole's files -------------------------------------------------------------------------------------------------
def _hyperopt_lines(file: Any) -> list[tuple[int, str]]:
    """The lines of a file in RecBole's form, `learning_rate loguniform -8,0`, with their numbers; [] of another one."""
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []  # which read_yaml reports
    lines = [(n, line.strip()) for n, line in enumerate(text.splitlines(), 1)]
    lines = [(n, line) for n, line in lines if line and not line.startswith("#")]
    return lines if all(len(line.split()) > 2 and line.split()[1] in HYPEROPT for _, line in lines) else []


def _hyperopt(line: str, where: str) -> tuple[str, dict]:
    """(option, dimension) of a line of RecBole's; its logarithms are natural ones."""
    option, kind, *rest = line.split()
    value = parse_value(" ".join(rest) if kind == "choice" else f"[{','.join(''.join(rest).split(','))}]")
    numbers = isinstance(value, list) and all(isinstance(one, int | float) for one in value)
    if kind == "choice" and isinstance(value, list):
        return option, {"values": value}
    if kind == "quniform" and numbers and len(value) == 3:
        return option, {"low": value[0], "high": value[1], "step": value[2]}
    if kind == "uniform" and numbers and len(value) == 2:
        return option, {"low": float(value[0]), "high": float(value[1])}
    if kind == "loguniform" and numbers and len(value) == 2:
        return option, {"low": math.exp(value[0]), "high": math.exp(value[1]), "log": True}
    raise UserError(
        f"{where}: '{line}'; expected OPTION and choice [A,B], uniform LOW,HIGH, quniform LOW,HIGH,STEP or "
        "loguniform LOW,HIGH"
    )
