"""Records of finished runs: ``result.json`` and ``outcomes.parquet`` in the run's folder.

A record is of one identity (identity.py), and it is complete or absent: both files are renamed into place, the JSON
last, with the Parquet's digest in it. To merge the records of several machines, copy these two files of each folder;
publish.py makes copies for others.
"""

import contextlib
import math
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from recbole_conrec.data.counts import training_dislikes
from recbole_conrec.data.events import NEGATIVE, RowStream
from recbole_conrec.runs.record_fields import RecordedConfig, fault
from recbole_conrec.utils.damage import read_object, set_aside
from recbole_conrec.utils.distributed import write_once
from recbole_conrec.utils.files import digest, write_json

RESULT, OUTCOMES = "result.json", "outcomes.parquet"
# Facts of an instance that are kept beside its outcomes, so that methods can be compared without the data.
FACTS = ("instance", "user", "item", "t0", "activity", "negatives", "popularity", "window")


@dataclass(frozen=True)
class Record:
    """One finished run.

    Attributes:
        folder: where its two files lie.
        result: the content of result.json: model, dataset, seed, metrics, cost, curve, config, versions, hardware ...
    """

    folder: Path
    result: dict

    @property
    def file(self) -> Path:
        """The file with the result."""
        return self.folder / RESULT

    @cached_property
    def config(self) -> RecordedConfig:
        """The options that tables and pages show."""
        return RecordedConfig.read(self.result["config"], "config")

    def outcomes(self) -> dict[str, np.ndarray]:
        """float64 [N] for each metric, NaN where an instance does not count."""
        table = parquet.read_table(self.folder / OUTCOMES)
        return {name: table[name].to_numpy() for name in table.column_names if name not in FACTS}

    def facts(self) -> dict[str, np.ndarray]:
        """int64 [N] for each of FACTS, see :func:`facts`; a published record lacks those that are rows of the data."""
        table = parquet.read_table(self.folder / OUTCOMES)
        return {name: table[name].to_numpy() for name in FACTS if name in table.column_names}


def facts(data) -> dict[str, np.ndarray]:
    """Facts of the test instances of a NegativeFeedbackDataset, int64 [N] each.

    ``instance``, ``user``, ``item`` (internal ids), ``t0`` (seconds); ``activity`` and ``negatives``: the user's events
    and dislikes before t0; ``popularity``: training dislikes of the item; ``window``: size of F.
    """
    part, log = data.splits["test"], data.log
    return {
        "instance": np.arange(len(part)),
        "user": part.user,
        "item": part.item,
        "t0": part.time,
        "activity": part.end - part.begin,
        "negatives": RowStream(log.feedback == NEGATIVE).count(part.begin, part.end),
        "popularity": training_dislikes(data)[part.item],
        "window": np.diff(data.truth("test").f_ptr),
    }


def write(folder: Path, result: dict, facts: dict[str, np.ndarray], outcomes: dict[str, np.ndarray]) -> None:
    """Write a record, so that a killed process leaves none rather than half of one."""
    table = pa.table({**{name: values.astype(np.int64) for name, values in facts.items()}, **outcomes})
    # facts are sorted or small numbers: their differences take half the space of a dictionary
    write_once(
        folder / OUTCOMES,
        lambda path: parquet.write_table(
            table,
            path,
            compression="zstd",
            write_statistics=False,  # of each column: nobody searches by them
            use_dictionary=list(outcomes),
            column_encoding=dict.fromkeys(facts, "DELTA_BINARY_PACKED"),
        ),
    )
    result = _finite({**result, "outcomes_sha256": digest(folder / OUTCOMES)})
    write_once(folder / RESULT, lambda path: write_json(path, result))


def _finite(content):
    """The same with None in place of NaN and infinity, which JSON does not have."""
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def read(folder: Path, identity: str | None = None) -> tuple[Record | None, str]:
    """The record in a folder.

    Returns (record, ''), or (None, why there is none): 'missing', or what is wrong with one that is corrupt.
    """
    if not (folder / RESULT).is_file():
        return None, "missing"
    try:
        result = read_object(folder / RESULT)
    except (OSError, ValueError) as error:
        return None, f"{folder / RESULT} is corrupt ({type(error).__name__}: {error})"
    if why := fault(result):
        return None, f"{folder / RESULT} is corrupt ({why})"
    if not (folder / OUTCOMES).is_file():
        return None, f"{folder / OUTCOMES} is missing"
    if digest(folder / OUTCOMES) != result["outcomes_sha256"]:
        return None, f"{folder / OUTCOMES} is corrupt (its digest is not the one in {RESULT})"
    if identity is not None and result["identity"] != identity:
        return None, f"{folder / RESULT} is of another run (its identity is not that of the folder)"
    return Record(folder, result), ""


def discard(folder: Path, why: str) -> None:
    """Set a record aside that :func:`read` finds damaged, both of its files; only the main process may."""
    set_aside(folder / RESULT, why.replace(f"{folder}{os.sep}", "").removeprefix(f"{RESULT} is "))
    with contextlib.suppress(FileNotFoundError):
        os.replace(folder / OUTCOMES, folder / f"{OUTCOMES}.damaged")
