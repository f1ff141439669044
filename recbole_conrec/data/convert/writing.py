"""Writing RecBole atomic files: clean text, whole data sets or none."""

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import yaml

from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import replacing_folder

_NAMES = (
    "a abbr article aside b big blockquote body br button center cite code col dd del div dl dt em embed fieldset font "
    "footer form h1 h2 h3 h4 h5 h6 head header hr html i iframe img input ins label legend li link main map mark meta "
    "nav noscript object ol optgroup option p param path pre q s samp script section select small source span strike "
    "strong style sub sup svg table tbody td textarea tfoot th thead time title tr tt u ul var video wbr"
)
_ATTRIBUTE = r"""\s+[\w:.-]+(?:\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>]+))?"""
_TAGS = re.compile(rf"<!--.*?-->|</?(?:{'|'.join(_NAMES.split())})(?:{_ATTRIBUTE})*\s*/?>", re.IGNORECASE | re.DOTALL)
_BLANKS = re.compile(r"[\s\x00-\x1f\x7f]+")


def clean(text) -> str:
    """Text for one cell of an atomic file.

    Tabs, line ends (Unicode's too) and runs of blanks become one blank. A double quote becomes a single one: RecBole's
    reader would take it for the start of a quoted cell and swallow the rows that follow.
    """
    return _BLANKS.sub(" ", str(text).replace('"', "'")).strip() if text is not None else ""


def words(value) -> str:
    """The text of a value that may be nested: the words of a list, and names and words of a mapping, joined by blanks.

    What is empty or NaN is left out. Raises UnicodeDecodeError for bytes that are not UTF-8.
    """
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        named = ((name, words(one)) for name, one in value.items())
        return " ".join(f"{name} {text}" for name, text in named if text)
    if isinstance(value, list | tuple):
        return " ".join(filter(None, map(words, value)))
    return str(int(value)) if is_whole(value) else str(value)


def is_whole(value) -> bool:
    """Whether it is a number such as 2.0 in place of 2, as tables with gaps are written."""
    return isinstance(value, float) and value.is_integer() and abs(value) < 2**53


def plain_text(text: str) -> str:
    """HTML as plain text: its tags removed, then its entities resolved, however often they were escaped.

    Only what is a tag of HTML goes: 'x < y, y > z' and 'I <3 tea' keep their words.
    """
    text = _TAGS.sub(" ", text)
    while "&" in text and (resolved := html.unescape(text)) != text:
        text = resolved
    return text


@contextmanager
def new_dataset(out, name: str, *, overwrite: bool = False, option: str = "name") -> Iterator[Path]:
    """A temporary folder that becomes ``out/name`` if the block succeeds, and is removed otherwise.

    Raises UserError if ``out/name`` exists and ``overwrite`` is false; ``option`` is the command's for the name.
    """
    target = Path(out) / name
    if target.exists() and not overwrite:
        raise UserError(f"{target}: exists already; pass --overwrite to replace it, or another --{option}")
    with replacing_folder(target) as folder:
        yield folder
        folder.chmod(0o755)  # temporary folders are private


def protocol_options(
    negative: str,
    positive: str,
    item_text: list[str],
    item_category: str | None = None,
    *,
    days: int | None = None,
    events: int | None = None,
) -> dict:
    """The options of a data set's YAML.

    Args:
        negative, positive: the feedback rules.
        days: length of the window; the split is by time.
        events: length of the window instead, for data without usable times; the split is per user.
    """
    return {
        "feedback": {"negative": negative, "positive": positive},
        "item_text": item_text,
        **({"item_category": item_category} if item_category else {}),
        "split": {"by": "time" if days else "user", "ratio": [0.7, 0.1, 0.2]},
        "window": {"unit": "days", "length": days} if days else {"unit": "events", "length": events},
    }


def write_rows(path: Path, columns: dict[str, pa.Array]) -> None:
    """Write one atomic file: header -> column. Text must be clean already (see :func:`clean`)."""
    with AtomicFile(path, list(columns)) as file:
        file.write(pa.table(list(columns.values()), names=list(columns)))


class AtomicFile:
    """An open atomic file to which tables are appended, in constant memory."""

    def __init__(self, path: Path, header: list[str]):
        self._file = path.open("wb")
        self._file.write(("\t".join(header) + "\n").encode())

    def write(self, table: pa.Table) -> None:
        """Append rows; the table's columns are in the header's order. A null is an empty cell."""
        options = pa.csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
        pa.csv.write_csv(table, self._file, options)

    def __enter__(self) -> "AtomicFile":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()


def write_yaml(path: Path, options: dict, comment: str) -> None:
    """Write options as YAML under one line of comment."""
    body = yaml.safe_dump(options, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
    path.write_text(f"# {comment}\n{body}", encoding="utf-8")
