"""The sections of a mapping of ``convert generic``, as typed options."""

import re
from datetime import datetime, timezone
from typing import Annotated, Literal

from pydantic import AfterValidator

from recbole_conrec.data.atomic import Encoding
from recbole_conrec.options.schema import Options, Several, Text
from recbole_conrec.utils.errors import UserError


def _names_a_field(name: str) -> str:
    if not re.fullmatch(r"\w+", name) or name in ("user_id", "item_id", "timestamp"):
        raise ValueError(
            f"{name!r}; expected letters, digits and '_', and another name than user_id, item_id and timestamp"
        )
    return name


def _is_a_separator(text: str) -> str:
    text = text.replace("\\t", "\t")  # as '\t' is written in single quotes
    if not text or set(text) & set('"\r\n'):
        raise ValueError(f"{text!r}; expected one or more characters that are no quote or line end")
    return text


def _is_a_sign(text: str) -> str:
    if len(text) != 1 or not text.isascii() or text in '"\r\n':
        raise ValueError(f"{text!r}; expected a single sign such as '\\'")
    return text


def _is_a_unit(text: str) -> str:
    day = datetime(2021, 2, 17, tzinfo=timezone.utc)
    try:
        if "%" in text and datetime.strptime(day.strftime(text), text).date() == day.date():
            return text
    except ValueError:
        pass
    raise ValueError(
        f"{text!r}; expected s, ms, us, ns, iso, or a format of whole dates such as '%b %d, %Y' (see Python's strptime)"
    )


Type = Literal["token", "float", "token_seq", "float_seq"]
FieldName = Annotated[Text, AfterValidator(_names_a_field)]


ONLY = {"separator": ("csv",), "escape": ("csv",), "header": ("csv",), "encoding": ("csv", "json")}
"""Option of a section -> the formats that have it."""


class ColumnField(Options):
    """A field that does not have its column's name."""

    column: str
    """Name of the column."""
    type: Type
    """Type of the field."""


class Section(Options):
    """What the sections ``events``, ``items`` and ``users`` of the mapping share."""

    files: str
    """Pattern of the files below --raw; several files follow each other by name."""
    format: Literal["csv", "json", "parquet"] | None = None
    """Format of the files; null: by the ending of the first one."""
    separator: Annotated[str, AfterValidator(_is_a_separator)] = ","
    """Text between two cells; with several characters, nothing is quoted; csv only."""
    escape: Annotated[str, AfterValidator(_is_a_sign)] | None = None
    """The sign before a quote that belongs to a quoted cell; null: such quotes are written twice; csv only."""
    encoding: Encoding = "utf-8"
    """Encoding of the files; csv and json."""
    header: Several[Text] | None = None
    """Names of all columns, if the files have no header; csv only."""
    fields: dict[FieldName, Type | ColumnField] | None = None
    """Other columns to keep: field -> type, or {column, type} if the column has another name."""

    @property
    def keys(self) -> list[str]:
        """The columns of ids and times."""
        return []

    def check_format(self, found: str, where: str) -> None:
        """Raises UserError for an option that is given and that files of this format do not have."""
        for option in sorted(self.model_fields_set & set(ONLY)):
            if found not in ONLY[option]:
                raise UserError(f"{where}.{option}: the files are {found}; it is for {' and '.join(ONLY[option])} only")


class EventsSection(Section):
    """The section ``events``."""

    user: str
    """Column of the user."""
    item: str
    """Column of the item."""
    time: str | None = None
    """Column of the time; null: the place of a row is its time."""
    unit: Literal["s", "ms", "us", "ns", "iso"] | Annotated[str, AfterValidator(_is_a_unit)] | None = None
    """Unit of the times; iso: dates and times as text; '%b %d, %Y' ...: text in a format of strptime; null: what the
    column's type says, and s for numbers."""
    relative: bool = False
    """Whether the times count from an unknown moment, so that times in 1970 are no mistake."""

    @property
    def keys(self) -> list[str]:
        return [self.user, self.item, *([self.time] if self.time else [])]


class ItemsSection(Section):
    """The section ``items``."""

    item: str
    """Column of the item."""

    @property
    def keys(self) -> list[str]:
        return [self.item]


class UsersSection(Section):
    """The section ``users``."""

    user: str
    """Column of the user."""

    @property
    def keys(self) -> list[str]:
        return [self.user]
