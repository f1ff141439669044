"""Writing RecBole atomic files: clean text, whole data sets or none."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import yaml

from recbole_conrec.utils.errors import UserError

_BLANKS = re.compile(r"[\s\x00-\x1f\x7f]+")


def clean(text) -> str:
    """Text for one cell of an atomic file.

    Tabs, line ends (Unicode's too) and runs of blanks become one blank; a double quote becomes a single one, because
    RecBole's reader takes it for the start of a quoted cell and swallows the rows that follow.
    """
    return _BLANKS.sub(" ", str(text).replace('"', "'")).strip() if text is not None else ""


@contextmanager
def new_dataset(out, name: str, overwrite: bool = False, option: str = "name") -> Iterator[Path]:
    """A folder that becomes ``out/name`` if the body ends without an error, and vanishes otherwise.

    Raises UserError if ``out/name`` exists and ``overwrite`` is not set; ``option`` is the command's for the name.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[\w.+-]+", name) or name.startswith("."):
        raise UserError(f"--{option}: data set name '{name}': expected letters, digits, '-', '_', '.' or '+'")
    if not isinstance(overwrite, bool):
        raise UserError(f"--overwrite: {overwrite!r}; expected true or false")
    out = Path(out)
    target = out / name
    if target.exists() and not overwrite:
        raise UserError(f"{target}: exists already; pass --overwrite to replace it, or another --{option}")
    out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=out))
    try:
        yield folder
        folder.chmod(0o755)  # mkdtemp's folders are private
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{name}.old.", dir=out))
            target.rename(old / name)
            folder.rename(target)
            shutil.rmtree(old)
        else:
            folder.rename(target)
    finally:
        if folder.exists():
            shutil.rmtree(folder)


def write_rows(path: Path, columns: dict[str, pa.Array]) -> None:
    """Write one atomic file: header -> column. Text must be clean already (see :func:`clean`)."""
    with AtomicFile(path, list(columns)) as file:
        file.write(pa.table(list(columns.values()), names=list(columns)))


class AtomicFile:
    """An open atomic file to which tables are appended, in constant memory."""

    def __init__(self, path: Path, header: list[str]):
        self.header = header
        self.rows = 0
        self._file = open(path, "wb")
        self._file.write(("\t".join(header) + "\n").encode())

    def write(self, table: pa.Table) -> None:
        """Append rows; the table's columns are in the header's order. A null is an empty cell."""
        options = pa.csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
        pa.csv.write_csv(table, self._file, options)
        self.rows += len(table)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()


def write_yaml(path: Path, options: dict, comment: str) -> None:
    """Options as YAML under one line of comment."""
    body = yaml.safe_dump(options, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
    path.write_text(f"# {comment}\n{body}", encoding="utf-8")
