"""``recbole-conrec predict``: every user's Predict Set, part by part, so that an interruption costs one part at most.

A part holds the sets of ``part_users`` users. The parts are distributed over the processes of ``accelerate launch``;
each is written under a temporary name and then renamed. When all are there, the first process builds the filter's
index and, last of all, the manifest: a folder without it does not load.
"""

import contextlib
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from pydantic import BeforeValidator, field_validator
from tqdm import tqdm

from recbole_conrec.data.dataset import NegativeFeedbackDataset
from recbole_conrec.filtering import folder as layout
from recbole_conrec.filtering.index import build_index, ids_and_vectors
from recbole_conrec.filtering.resume import check_folder, check_plan, is_whole, part_name, prepare
from recbole_conrec.filtering.sets import Sets, moment_or_seconds, moments, predict_sets
from recbole_conrec.options.schema import Count, Options, Text
from recbole_conrec.runs import lock
from recbole_conrec.runs.restore import TrainedRun
from recbole_conrec.tokenizer.pipeline import IdsOptions
from recbole_conrec.utils.distributed import process_state
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import replacing
from recbole_conrec.utils.id_files import NAMED, find, read_ids
from recbole_conrec.utils.version import __version__

# A part: one row per user. Lists hold an entry per item of the set, best first.
SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("t0", pa.int64()),  # seconds; later events were not seen
        ("activity", pa.int32()),  # likes and dislikes before t0
        ("item_ids", pa.list_(pa.string())),
        ("rows", pa.list_(pa.int32())),  # of the index's vectors
        ("sids", pa.list_(pa.string())),  # semantic IDs
        ("scores", pa.list_(pa.float32())),  # the model's
        ("embeddings", pa.list_(pa.list_(pa.float32()))),  # rebuilt from the codebooks
    ]
)
BATCH = 256  # users that are predicted at a time

Moment = Annotated[int | float | str, BeforeValidator(lambda value: str(value) if isinstance(value, date) else value)]


class SetOptions(Options):
    """Whose Predict Sets are made, as of when, and how they are written."""

    users: Text = "all"
    """`all`, or a text file with one user id per line."""
    at: Moment = "end"
    """Moment of the sets; later events are not seen: `end`, `test` or `valid` (each user's own cut), or one time
    (seconds since 1970, ISO date or date-time)."""
    size: Count = 40
    """Largest number of items in a set (ours)."""
    part_users: Count = 4096
    """Number of users per part."""
    overwrite: bool = False
    """Remove the sets of another prediction from the folder instead of raising an error."""

    @field_validator("at")
    @classmethod
    def _check_at(cls, at: int | float | str) -> int | float | str:
        try:
            moment_or_seconds(at)
        except UserError as error:
            raise ValueError(str(error)) from None
        return at


def predict(
    run: TrainedRun, out, options: SetOptions, workers: Callable[[Path, list[int]], None] | None = None
) -> dict:
    """Write the Predict Sets of users into the folder ``out``, or those files of it that are missing or damaged.

    Args:
        workers: write the parts of these numbers into a folder; default: this process, or those of the launcher.

    A set never holds more items than the catalogue. Returns the manifest (on every process). Raises UserError for an
    unknown user, a folder of another prediction, or one that holds anything else.
    """
    out = Path(out)
    check_folder(out)
    options, users, plan = _planned(run, options)
    state = process_state()
    if state.is_main_process:
        out.mkdir(parents=True, exist_ok=True)
    state.wait_for_everyone()
    with lock.hold(out) if state.is_main_process else contextlib.nullcontext():
        theta = prepare(out, plan, options.overwrite) if state.is_main_process else None
        state.wait_for_everyone()
        parts = -(-len(users) // options.part_users)
        left = _missing(out, plan, range(state.process_index, parts, state.num_processes))
        if workers is None:
            _write_parts(run, out, options, users, plan, left)
        elif left:
            workers(out, left)
        state.wait_for_everyone()
        if state.is_main_process and not (out / layout.MANIFEST).exists():
            layout.write_manifest(out, {**_finish(run, out, plan, parts), "theta": theta})
        state.wait_for_everyone()
    return layout.read_manifest(out)


def predict_parts(run: TrainedRun, out, options: SetOptions, numbers: Iterable[int]) -> int:
    """What a worker does: write those of these parts that are missing or damaged, into a folder that has a plan.

    Returns how many it wrote. Raises UserError if the folder has another plan, or none.
    """
    out = Path(out)
    options, users, plan = _planned(run, options)
    check_plan(out, plan)
    parts = -(-len(users) // options.part_users)
    if wrong := [number for number in numbers if number >= parts]:
        raise UserError(f"only_parts: there is no part {wrong[0]}; the parts are 0 to {parts - 1}")
    left = _missing(out, plan, numbers)
    _write_parts(run, out, options, users, plan, left)
    return len(left)


def _planned(run: TrainedRun, options: SetOptions) -> tuple[SetOptions, np.ndarray, dict]:
    """The options with a size that there can be, the users' internal ids [U], and the plan."""
    options = options.model_copy(update={"size": min(options.size, run.data.item_num - 1)})
    users = read_users(run.data, options.users)
    return options, users, _plan(run, users, options)


def _missing(out: Path, plan: dict, numbers: Iterable[int]) -> list[int]:
    return [number for number in numbers if not is_whole(out / layout.part_file(number), number, plan)]


def _write_parts(
    run: TrainedRun, out: Path, options: SetOptions, users: np.ndarray, plan: dict, left: list[int]
) -> None:
    t0 = moments(run.data, options.at)
    parts = {number: users[number * options.part_users : (number + 1) * options.part_users] for number in left}
    with tqdm(
        total=sum(map(len, parts.values())),
        desc=f"predict ({options.at})",
        unit="user",
        disable=not run.place.show_progress or not left,
    ) as bar:
        for number, those in parts.items():
            _write_part(run, out / layout.part_file(number), number, those, t0, plan, bar)


def _plan(run: TrainedRun, users: np.ndarray, options: SetOptions) -> dict:
    """What decides the content of the parts, as plain JSON."""
    return {
        "format": layout.FORMAT,
        "model": run.method,
        "dataset": run.dataset,
        "fingerprints": run.fingerprints,
        "at": str(options.at),
        "size": options.size,
        "part_users": options.part_users,
        "batch": BATCH,
        "users": len(users),
        "users_digest": layout.digest_of(users.tolist()),
    }


def read_users(data: NegativeFeedbackDataset, users: str) -> np.ndarray:
    """Internal ids, int64 [U], each once.

    Args:
        users: 'all', or a text file with one user id per line.

    Raises UserError naming the file, and the lines of unknown users.
    """
    if users == "all":
        return np.arange(1, data.user_num)
    if not Path(users).is_file():
        raise UserError(f"users: '{users}' is neither 'all' nor a file; expected a text file with one user id a line")
    lines = read_ids(users)
    known = data.id2token(data.uid_field, np.arange(1, data.user_num)).tolist()
    rows = find(lines, known)
    unknown = [
        f"line {number}: no user '{name}'" for number, name in enumerate(lines, 1) if name and rows[number - 1] < 0
    ]
    if unknown:
        more = f" and {len(unknown) - NAMED:,} more" if len(unknown) > NAMED else ""
        raise UserError(
            f"{users}: {', '.join(unknown[:NAMED])}{more} in the data set; remove these lines, or add events"
        )
    found = dict.fromkeys(int(row) + 1 for row, name in zip(rows, lines, strict=True) if name)
    if not found:
        raise UserError(f"{users}: it names no user; expected one user id per line")
    return np.array(list(found), dtype=np.int64)


def _write_part(
    run: TrainedRun, file: Path, number: int, users: np.ndarray, t0: np.ndarray, plan: dict, bar: tqdm
) -> None:
    schema = SCHEMA.with_metadata({"part": part_name(number, plan)})
    with (
        replacing(file) as temporary,
        parquet.ParquetWriter(temporary, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        for first in range(0, len(users), BATCH):
            batch = users[first : first + BATCH]
            writer.write_table(_table(run, predict_sets(run, batch, t0, plan["size"]), schema))
            bar.update(len(batch))


def _table(run: TrainedRun, sets: Sets, schema: pa.Schema) -> pa.Table:
    """Predict Sets as rows of a part, see SCHEMA."""
    data, ids = run.data, run.semantic_ids
    there = sets.items > 0
    ptr = pa.array(np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int32))
    items = sets.items[there]
    vectors = ids.embeddings(items)
    flat = pa.array(vectors.reshape(-1), type=pa.float32())
    each = pa.array(np.arange(len(items) + 1, dtype=np.int32) * vectors.shape[1])

    def lists(values):
        return pa.ListArray.from_arrays(ptr, values)

    columns = [
        pa.array(data.id2token(data.uid_field, sets.users).astype(str)),
        pa.array(sets.t0),
        pa.array(sets.activity.astype(np.int32)),
        lists(pa.array(data.id2token(data.iid_field, items).astype(str), type=pa.string())),
        lists(pa.array((items - 1).astype(np.int32))),
        lists(pa.array([ids.text(i) for i in items], type=pa.string())),
        lists(pa.array(sets.scores[there])),
        lists(pa.ListArray.from_arrays(each, flat)),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _finish(run: TrainedRun, out: Path, plan: dict, parts: int) -> dict:
    """Write tokenizer and index; returns the content of the manifest, without theta."""
    names = [layout.part_file(number) for number in range(parts)]
    run.semantic_ids.save(out / layout.TOKENIZER)
    counts = build_index(out, names, *ids_and_vectors(run))
    files = [
        *names,
        *(
            f"{name}/{file.name}"
            for name in (layout.INDEX, layout.TOKENIZER)
            for file in sorted((out / name).iterdir())
        ),
    ]
    fingerprints = plan["fingerprints"]
    return {
        "format": layout.FORMAT,
        "model": {"name": plan["model"], "run": fingerprints["run"], "weights": fingerprints["weights"]},
        "data": {
            "name": plan["dataset"],
            "fingerprint": fingerprints["data"],
            "at": plan["at"],
            "user_field": run.data.uid_field,
            "item_field": run.data.iid_field,
        },
        "tokenizer": {
            "fingerprint": fingerprints["semantic_ids"],
            "fields": list(IdsOptions.of(run.config).tokenizer.fields or run.data.options.item_text or []),
        },
        "code": {
            "version": __version__,
            "fingerprint": fingerprints["code"],
            "trained_with": run.record["fingerprints"]["code"],
        },
        "size": plan["size"],
        **counts,
        "plan": layout.digest_of(plan),
        "theta": None,
        "files": layout.measure(out, files),
    }
