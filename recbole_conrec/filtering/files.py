"""Filter a file of candidates: the same rows, with columns ``keep`` and ``score``, block by block."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import compute, csv, parquet

from recbole_conrec.filtering.online import DIGITS, NegativeFilter
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import replacing
from recbole_conrec.utils.id_files import NAMED, bare

KINDS = {".parquet": "Parquet", ".csv": "CSV", ".jsonl": "JSON lines", ".ndjson": "JSON lines"}
ROWS = 65_536  # per block
ADDED = ("keep", "score")  # columns


def filter_file(
    negative: NegativeFilter,
    candidates,
    out,
    *,
    user_field: str | None = None,
    item_field: str | None = None,
    drop: bool = False,
) -> tuple[dict[str, int], dict[str, list[str]]]:
    """Filter pairs of a user and an item, one per row; other columns are copied (those of a CSV as text).

    Args:
        candidates, out: Parquet, CSV (with a header) or JSON lines, by suffix: .parquet, .csv, .jsonl or .ndjson.
        user_field, item_field: columns of the ids; None: named as in the data set.
        drop: leave out the rows that are not kept; otherwise every row stays, and ``keep`` marks the kept ones.

    Returns the filter's counts, and the first ids of 'users' and 'items' that it does not know. Raises UserError naming
    the file, and the row where there is one.
    """
    source, target = Path(candidates), Path(out)
    reader, writer = READERS[_kind(source, "candidates")], WRITERS[_kind(target, "out")]
    if not source.is_file():
        raise UserError(f"{source}: no such file; expected candidates as Parquet, CSV or JSON lines")
    if source.resolve() == target.resolve():
        raise UserError(f"--out: {target} is the file of candidates itself; give another name")
    named = negative.manifest["data"]
    fields = user_field or named["user_field"], item_field or named["item_field"]
    before, write = 0, None
    unknown: dict[str, list[str]] = {"users": [], "items": []}
    with replacing(target) as temporary, ExitStack() as stack:
        for block in reader(source):
            users, items = (_ids(source, block, field, before) for field in fields)
            users, items = _bare(users, negative.users.rows), _bare(items, negative.item_rows)
            keep, scores = negative.filter(users, items)
            if np.isnan(scores).any():
                _remember(unknown["users"], users, negative.users.rows(users, "user"))
                _remember(unknown["items"], items, negative.item_rows(items))
            before += block.num_rows
            done = block.append_column("keep", pa.array(keep))
            done = done.append_column("score", pa.array(scores, mask=np.isnan(scores)))
            try:
                write = write or stack.enter_context(writer(temporary, done.schema))
                write.write_batch(done.filter(pa.array(keep)) if drop else done)
            except (pa.ArrowException, ValueError, TypeError) as error:  # (TypeError: a type without a JSON form)
                raise UserError(
                    f"{source}: rows {before - block.num_rows + 1} to {before} do not fit into {target} "
                    f"({_first_line(error)})"
                ) from None
        if write is None:
            raise UserError(f"{source}: it holds no rows; expected a user and an item per row")
    return negative.counts(), unknown


def _bare(ids: np.ndarray, rows: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """``ids`` in which a text that ``rows`` does not find has lost the blanks around it."""
    if ids.dtype.kind != "O":
        return ids
    unknown = rows(ids) < 0
    if not unknown.any():
        return ids
    ids = ids.copy()
    ids[unknown] = [bare(name) for name in ids[unknown]]
    return ids


def _remember(names: list[str], ids: np.ndarray, rows: np.ndarray) -> None:
    """Add the first unknown ids (row -1) that are not yet among ``names``, up to as many as a message names."""
    for name in ids[rows < 0]:
        if len(names) == NAMED:
            return
        if str(name) not in names:
            names.append(str(name))


def _kind(file: Path, option: str) -> str:
    if file.suffix not in KINDS:
        raise UserError(f"--{option}: '{file}' ends in none of {', '.join(KINDS)}; rename or convert the file")
    return KINDS[file.suffix]


def _ids(file: Path, block: pa.RecordBatch, field: str, before: int) -> np.ndarray:
    """A column of ids, texts or whole numbers [rows of the block].

    Args:
        before: rows of the file before this block.

    Raises UserError if the column is missing, of another type, or empty in a row, or if the file has a column of the
    names that are added.
    """
    names = block.schema.names
    if field not in names:
        raise UserError(
            f"{file}: there is no column '{field}'; it has {', '.join(names)}; give --user_field=NAME or "
            "--item_field=NAME"
        )
    if names.count(field) > 1:
        raise UserError(f"{file}: there are {names.count(field)} columns '{field}'; keep one of them")
    for name in ADDED:
        if name in names:
            raise UserError(f"{file}: it has a column '{name}' already, which the filter adds; rename it")
    column = block[field]
    column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    if not (
        pa.types.is_string(column.type)
        or pa.types.is_large_string(column.type)
        or pa.types.is_integer(column.type)
        or pa.types.is_null(column.type)
    ):
        raise UserError(f"{file}: column '{field}' is of type {column.type}; expected texts or whole numbers")
    empty = column.is_null()
    if not pa.types.is_integer(column.type) and not column.null_count:
        empty = compute.equal(compute.utf8_trim_whitespace(column), "")
    if compute.any(empty).as_py():
        row = before + empty.index(True).as_py() + 1
        raise UserError(f"{file}: row {row}: '{field}' is empty; expected a user and an item in each row")
    return column.to_numpy(zero_copy_only=False)


def _parquet(file: Path) -> Iterator[pa.RecordBatch]:
    try:
        with parquet.ParquetFile(file) as opened:
            yield from opened.iter_batches(batch_size=ROWS)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{file}: cannot be read as Parquet ({_first_line(error)})") from None


def _csv(file: Path) -> Iterator[pa.RecordBatch]:
    try:
        with csv.open_csv(file) as opened:
            names = opened.schema.names
        text = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
        with csv.open_csv(file, convert_options=text) as opened:
            yield from opened
    except pa.ArrowException as error:
        raise UserError(f"{file}: cannot be read as CSV ({_first_line(error)})") from None


def _json_lines(file: Path) -> Iterator[pa.RecordBatch]:
    rows: list[dict] = []
    number = 0
    try:
        with file.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):  # noqa: B007  (for the error)
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError(f"found {type(row).__name__}")
                rows.append(row)
                if len(rows) == ROWS:
                    yield _batch(rows)
                    rows = []
        if rows:
            yield _batch(rows)
    except (ValueError, OverflowError, pa.ArrowException) as error:
        raise UserError(f"{file}: row {number}: expected one JSON object per line ({_first_line(error)})") from None


def _batch(rows: list[dict]) -> pa.RecordBatch:
    """A column for each key; in a column that mixes whole numbers and texts, as ids may, the numbers become texts."""
    columns = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name) for row in rows]
        if {type(value) for value in values} >= {int, str}:
            values = [value if value is None else str(value) for value in values]
        columns[name] = pa.array(values)
    return pa.RecordBatch.from_pydict(columns)


class _JsonLines:
    """A writer with the methods of pyarrow's."""

    def __init__(self, file: Path, schema: pa.Schema):
        self._file = file.open("w", encoding="utf-8")

    def write_batch(self, batch: pa.RecordBatch) -> None:
        for row in batch.to_pylist():
            row["score"] = None if row["score"] is None else round(row["score"], DIGITS)
            self._file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


READERS: dict[str, Callable[[Path], Iterator[pa.RecordBatch]]] = {
    "Parquet": _parquet,
    "CSV": _csv,
    "JSON lines": _json_lines,
}
WRITERS = {
    "Parquet": lambda file, schema: parquet.ParquetWriter(file, schema, compression="zstd"),
    "CSV": lambda file, schema: csv.CSVWriter(file, schema, write_options=csv.WriteOptions(quoting_style="needed")),
    "JSON lines": _JsonLines,
}
