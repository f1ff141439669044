"""Many records in one Parquet file, for others: without paths and rows of the data, which may rarely be passed on.

A file has the columns ``record`` (the run's folder), ``name``, ``text`` and ``values``. A row is either a result.json
(name ``result``, in ``text``) or one column of its outcomes.parquet, float64 in ``values``. Columns that an earlier
record of the file has, too, such as the facts of the instances, are kept once: ``text`` then names that record.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from recbole_conrec.runs.identity import WHERE
from recbole_conrec.runs.record_fields import fault
from recbole_conrec.runs.records import FACTS, Record
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import replacing

ROWS_OF_DATA = ("item", "t0")  # with the user's number they would be rows of the data set
RESULT = "result"
SCHEMA = pa.schema([(name, pa.string()) for name in ("record", "name", "text")] + [("values", pa.list_(pa.float64()))])


@dataclass(frozen=True)
class PublishedRecord(Record):
    """A record of a file.

    Attributes:
        folder: the file, and the name of the run's folder in it.
        columns: float64 [N] of each metric and fact.
    """

    columns: dict[str, np.ndarray]

    @property
    def file(self) -> Path:
        return self.folder.parent

    def outcomes(self) -> dict[str, np.ndarray]:
        return {name: values for name, values in self.columns.items() if name not in FACTS}

    def facts(self) -> dict[str, np.ndarray]:
        return {name: self.columns[name].astype(np.int64) for name in FACTS if name in self.columns}


def shared_result(result: dict) -> dict:
    """A result.json without the options that say where to run."""
    return {**result, "config": {key: value for key, value in result["config"].items() if key not in WHERE}}


def shared_facts(record: Record) -> dict[str, np.ndarray]:
    """The facts of a record's instances that are no rows of the data."""
    return {name: values for name, values in record.facts().items() if name not in ROWS_OF_DATA}


def write(file: Path, records: Iterable[tuple[str, Record]]) -> None:
    """Write records, given as (name of the run's folder, record); an older file is replaced."""
    rows: list[tuple[str, str, str | None, np.ndarray | None]] = []
    seen: dict[tuple[str, bytes], str] = {}
    for run, record in records:
        rows.append((run, RESULT, json.dumps(shared_result(record.result), sort_keys=True), None))
        for name, values in {**shared_facts(record), **record.outcomes()}.items():
            values = np.ascontiguousarray(values, dtype=np.float64)
            first = seen.setdefault((name, hashlib.sha256(values.tobytes()).digest()), run)
            rows.append((run, name, None, values) if first == run else (run, name, first, None))
    table = pa.table([list(column) for column in zip(*rows, strict=True)], schema=SCHEMA)
    with replacing(file) as temporary:
        parquet.write_table(
            table,
            temporary,
            compression="zstd",
            compression_level=19,
            row_group_size=len(rows),
            data_page_size=2**26,  # one page: the results repeat each other, and so do the few values of a metric
            dictionary_pagesize_limit=2**22,
            write_statistics=False,
        )


def read(file: Path) -> dict[str, PublishedRecord]:
    """The records of a file by their identities.

    Raises UserError for a file that is missing or was not written by :func:`write`.
    """
    file = Path(file)
    try:
        table = parquet.read_table(file)
        if table.schema.names != SCHEMA.names:
            raise ValueError(f"its columns are {', '.join(table.schema.names)}")
        return _records(file, table)
    except FileNotFoundError:
        raise UserError(f"{file}: no such file; expected records that 'recbole-conrec publish' wrote") from None
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{file}: no file of records ({reason}); expected one of 'recbole-conrec publish'") from None


def _records(file: Path, table: pa.Table) -> dict[str, PublishedRecord]:
    results: dict[str, dict] = {}
    columns: dict[str, dict[str, np.ndarray]] = {}
    values = table["values"].combine_chunks()
    heads = (table[name].to_pylist() for name in ("record", "name", "text"))
    for row, (run, name, text) in enumerate(zip(*heads, strict=True)):
        if name == RESULT:
            results[run], columns[run] = json.loads(text), {}
            if why := fault(results[run]):
                raise ValueError(f"{run}: {why}")
        else:
            columns[run][name] = columns[text][name] if text else values[row].values.to_numpy(zero_copy_only=False)
    return {result["identity"]: PublishedRecord(file / run, result, columns[run]) for run, result in results.items()}
