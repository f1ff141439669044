"""Typed options: pydantic models whose errors are one line that a user can act on.

    class Window(Options):
        unit: Literal["days", "seconds", "events"]
        \"\"\"What the length counts.\"\"\"
        length: Positive | None = 7
        \"\"\"How long it is; null: no limit.\"\"\"

    Window.read({"unit": "days", "lenght": 3}, "window")
    # UserError: window: unknown option 'lenght'; did you mean 'length'? Its options: unit, length

A model is defined beside the code that reads it. The sentence below a field documents it, in the code and in the
reference page of all options. Values are strict: a text is no number, true is no number, NaN and infinity are
refused.
"""

import types
import typing
import warnings
from typing import Annotated, Any, ClassVar, Literal

import annotated_types
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from typing_extensions import Self

from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.names import nearest

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Number = int | float
Positive = Annotated[int | float, Field(gt=0)]
NonNegative = Annotated[int | float, Field(ge=0)]
Share = Annotated[int | float, Field(ge=0, le=1)]
T = typing.TypeVar("T")
Several = Annotated[tuple[T, ...], Field(strict=False)]  # a YAML list, kept as a tuple: Several[str]
# a name or a path on the command line, where 2024 is read as a number
Text = Annotated[str, BeforeValidator(lambda v: str(v) if isinstance(v, int | float) and v is not True else v)]


class Options(BaseModel):
    """Base class of typed options; see the module."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
    RENAMED: ClassVar[dict[str, str]] = {}
    """Old name of an option -> its name now; the old one works with a warning for one version."""

    @classmethod
    def read(cls, given: Any, where: str = "") -> Self:
        """The options in a mapping, checked. None counts as an empty mapping.

        Args:
            where: the option (or command) whose value the mapping is; named in errors.

        Raises UserError naming the option at fault, what was expected, and the nearest name of an unknown one.
        """
        if given is None:
            given = {}
        if isinstance(given, dict):
            given = cls._renamed(given, where)
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise UserError("; ".join(_lines(cls, given, error, where)[:3])) from None

    @classmethod
    def take(cls, given: dict[str, Any], where: str = "") -> tuple[Self, dict[str, Any]]:
        """As :meth:`read`, from a mapping that holds other options as well: (these options, the others)."""
        own = {*cls.model_fields, *cls.RENAMED}
        others = {key: value for key, value in given.items() if key not in own}
        return cls.read({key: value for key, value in given.items() if key in own}, where), others

    @classmethod
    def of(cls, config: Any) -> Self:
        """These options out of a RecBole Config (or a dict), which holds many more; absent ones take their defaults."""
        return cls.read({name: config[name] for name in cls.model_fields if name in config})

    @classmethod
    def _renamed(cls, given: dict, where: str) -> dict:
        for old, new in cls.RENAMED.items():
            if old in given and new not in given:
                path = f"{where}.{old}" if where else old
                message = f"'{path}' is now called '{new}'; the old name will be removed in the next version"
                warnings.warn(message, FutureWarning, stacklevel=3)
                given = {(new if key == old else key): value for key, value in given.items()}
        return given


def describe(annotation: Any, metadata: typing.Iterable = ()) -> str:
    """What a value of this type is, in words: 'a whole number of at least 1', 'one of days, seconds, events'."""
    if typing.get_origin(annotation) is Annotated:
        inner, *more = typing.get_args(annotation)
        return describe(inner, [*more, *metadata])
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    limits = _limits(metadata)
    if origin is Literal:
        return f"one of {', '.join(map(_yaml, arguments))}" if len(arguments) > 1 else _yaml(arguments[0])
    if origin in (typing.Union, types.UnionType):
        kinds = [one for one in arguments if not (one is int and float in arguments)]  # a whole number is a number
        return " or ".join(dict.fromkeys(describe(kind, metadata) for kind in kinds))
    if origin in (list, tuple, set):
        inner = [argument for argument in arguments if argument is not Ellipsis]
        if origin is tuple and Ellipsis not in arguments:
            each = list(dict.fromkeys(describe(one) for one in inner))
            return f"a list of {len(inner)} values ({f'each {each[0]}' if len(each) == 1 else ', '.join(each)})"
        return f"a list{limits} (each {describe(inner[0])})" if inner else "a list"
    if origin is dict or annotation is dict:
        return "a mapping"
    simple = {int: f"a whole number{limits}", float: f"a number{limits}", bool: "true or false", str: "text"}
    if annotation in simple:
        return simple[annotation]
    if annotation in (None, types.NoneType):
        return "null"
    if isinstance(annotation, type) and issubclass(annotation, Options):
        return f"a mapping of {', '.join(annotation.model_fields)}"
    return getattr(annotation, "__name__", str(annotation)).lower()


def _limits(metadata: typing.Iterable) -> str:
    words, parts = {"ge": "of at least", "gt": "above", "le": "at most", "lt": "below"}, []
    found = [limit for one in metadata for limit in getattr(one, "metadata", [one])]
    for name, kind in (
        ("ge", annotated_types.Ge),
        ("gt", annotated_types.Gt),
        ("le", annotated_types.Le),
        ("lt", annotated_types.Lt),
    ):
        parts += [f"{words[name]} {getattr(limit, name)}" for limit in found if isinstance(limit, kind)]
    return f" {' and '.join(dict.fromkeys(parts))}" if parts else ""


def _yaml(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _lines(cls: type[Options], given: Any, error: ValidationError, where: str) -> list[str]:
    """What is wrong, one line for each option; of the branches of a union only the one that got furthest."""
    found: dict[str, str] = {}
    errors = error.errors(include_url=False)
    for one in sorted(errors, key=lambda one: one["type"] != "extra_forbidden"):  # what is missing may be misspelt
        at, line = _line(cls, given, one, where)
        found[at] = max(found.get(at, ""), line, key=len)
    inner = {at for at in found for other in found if other != at and other.startswith((f"{at}.", f"{at}["))}
    return [line for at, line in found.items() if at not in inner]


def _line(cls: type[Options], given: Any, error: Any, where: str) -> tuple[str, str]:
    """Where one of pydantic's errors lies, and the line that says so."""
    model: type[Options] = cls
    annotation: Any = cls
    metadata: typing.Iterable = ()
    value, path = given, []
    for place, part in enumerate(error["loc"]):
        last = place == len(error["loc"]) - 1
        if isinstance(value, dict) and (part in value or (last and error["type"] in ("missing", "extra_forbidden"))):
            model = _model_in(annotation) or model
            field = model.model_fields.get(part) if _model_in(annotation) else None
            annotation, metadata = (field.annotation, field.metadata) if field else (_item_type(annotation), ())
            path.append(str(part))
            value = value.get(part)
        elif isinstance(value, list | tuple) and isinstance(part, int) and part < len(value):
            entry = value[part]
            name = entry.get("name") if isinstance(entry, dict) else None  # a named entry is known by its name
            path[-1:] = [
                f"{path[-1]}.{name}" if path and isinstance(name, str) else f"{path[-1] if path else ''}[{part}]"
            ]
            annotation, metadata, value = _item_type(annotation), (), entry
        elif isinstance(part, int) and not isinstance(value, dict | list | tuple):  # one value in place of a list
            annotation, metadata = _item_type(annotation), ()
        # any other part names a branch of a union
    at = ".".join([where, *path] if where else path)
    if error["type"] in ("extra_forbidden", "invalid_key"):
        known = list(model.model_fields)
        parent = ".".join([where, *path[:-1]] if where else path[:-1])
        head = f"{parent}: " if parent else ""
        return at, f"{head}unknown option '{path[-1]}'{nearest(path[-1], known)}; its options: {', '.join(known)}"
    if error["type"] == "missing":
        return at, f"{at} is needed; expected {describe(annotation, metadata)}"
    if error["type"] == "value_error":
        return at, f"{at}: {error['ctx']['error']}" if at else str(error["ctx"]["error"])
    expected, hint = describe(annotation, metadata), ""
    if error["type"] == "finite_number":
        expected = expected.replace("a number", "a finite number")
    if isinstance(value, str) and error["type"] == "literal_error":
        hint = nearest(value, [str(one) for one in _choices(annotation)])
    return at, f"{at}: {value!r}; expected {expected}{hint}"


def _arguments(annotation: Any) -> list:
    if typing.get_origin(annotation) is Annotated:
        return _arguments(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [one for argument in typing.get_args(annotation) for one in _arguments(argument)]
    return [annotation]


def _model_in(annotation: Any) -> type[Options] | None:
    """The Options among the types that an annotation allows."""
    models = (one for one in _arguments(annotation) if isinstance(one, type) and issubclass(one, Options))
    return next(models, None)


def _item_type(annotation: Any) -> Any:
    """The type of an entry of a list or of a mapping's value."""
    for one in _arguments(annotation):
        arguments = [argument for argument in typing.get_args(one) if argument is not Ellipsis]
        if typing.get_origin(one) in (list, tuple, set) and arguments:
            return arguments[0]
        if typing.get_origin(one) is dict:
            return arguments[1]
    return Any


def _choices(annotation: Any) -> list:
    literals = (one for one in _arguments(annotation) if typing.get_origin(one) is Literal)
    return [value for one in literals for value in typing.get_args(one)]
