"""``recbole-conrec predict``: every user's Predict Set, part by part, so that nothing done is done twice.

A part is the sets of so many users. Parts are dealt out to the processes of ``accelerate launch``; each is written
under another name and then renamed. When all are there the first process builds the filter's index and, last of all,
the manifest: a folder without it does not load.
"""

import contextlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from tqdm import tqdm

from recbole_conrec.filtering import folder as layout
from recbole_conrec.filtering.index import build_index, ids_and_vectors
from recbole_conrec.filtering.sets import Sets, moments, predict_sets
from recbole_conrec.runs import lock
from recbole_conrec.tokenizer import parse
from recbole_conrec.utils.distributed import process_state
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import replacing, write_json
from recbole_conrec.utils.version import __version__

SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("t0", pa.int64()),
        ("activity", pa.int32()),
        ("item_ids", pa.list_(pa.string())),
        ("rows", pa.list_(pa.int32())),
        ("sids", pa.list_(pa.string())),
        ("scores", pa.list_(pa.float32())),
        ("embeddings", pa.list_(pa.list_(pa.float32()))),
    ]
)
BATCH = 256  # users that are predicted at a time


def predict(
    run, out, users="all", at="end", *, size: int = 40, part_users: int = 4096, overwrite: bool = False
) -> dict:
    """Write the Predict Sets of users into the folder ``out``, or what is missing or damaged of them.

    Args:
        run: :class:`recbole_conrec.runs.restore.TrainedRun`.
        users: 'all', or a text file with one user id a line.
        at: as of when, see :func:`recbole_conrec.filtering.sets.moments`.
        size: items in a set, at most.
        part_users: users in a part.
        overwrite: remove what another prediction left there, instead of an error.

    Returns the manifest (on every process). Raises UserError for an unknown user, or a folder of another prediction.
    """
    _check_counts(size=size, part_users=part_users)
    out = Path(out)
    chosen = read_users(run.data, users)
    plan = {
        "format": layout.FORMAT,
        "model": run.config["row"],
        "dataset": run.config["dataset"],
        "fingerprints": run.fingerprints,
        "at": str(at),
        "size": size,
        "part_users": part_users,
        "batch": BATCH,
        "users": len(chosen),
        "users_digest": layout.digest_of(chosen.tolist()),
    }
    state = process_state()
    t0 = moments(run.data, at)
    if state.is_main_process:
        out.mkdir(parents=True, exist_ok=True)
    state.wait_for_everyone()
    with lock.hold(out) if state.is_main_process else contextlib.nullcontext():
        if state.is_main_process:
            theta = _open(out, plan, overwrite)
        state.wait_for_everyone()
        parts = [chosen[first : first + part_users] for first in range(0, len(chosen), part_users)]
        mine = range(state.process_index, len(parts), state.num_processes)
        left = [n for n in mine if not _is_whole(out / layout.part_file(n), n, plan)]
        bar = tqdm(
            total=sum(len(parts[n]) for n in left),
            desc=f"predict ({at})",
            unit="user",
            disable=not run.config["show_progress"] or not left,
        )
        with bar:
            for number in left:
                _write_part(run, out / layout.part_file(number), number, parts[number], t0, plan, bar)
        state.wait_for_everyone()
        if state.is_main_process and not (out / layout.MANIFEST).exists():
            layout.write_manifest(out, {**_finish(run, out, plan, len(parts)), "theta": theta})
        state.wait_for_everyone()
    return layout.read_manifest(out)


def read_users(data, users) -> np.ndarray:
    """Internal ids, int64: all, or those of a file with one id a line (a repeated one counts once)."""
    if users == "all":
        return np.arange(1, data.user_num)
    file = Path(str(users))
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError):
        raise UserError(
            f"--users: '{users}' is neither 'all' nor a file that can be read (UTF-8); expected one user id a line"
        ) from None
    known = data.field2token_id[data.uid_field]
    for number, name in enumerate(lines, start=1):
        if name and (name not in known or known[name] == 0):
            raise UserError(f"{file}: line {number}: no user '{name}' in the data set; remove the line, or add events")
    found = list(dict.fromkeys(known[name] for name in lines if name))
    if not found:
        raise UserError(f"{file}: it names no user; expected one user id a line")
    return np.array(found, dtype=np.int64)


def _check_counts(**counts) -> None:
    for name, value in counts.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError(f"{name}: {value!r} must be a whole number of at least 1")


def _open(out: Path, plan: dict, overwrite: bool) -> dict | None:
    """Make sure that what lies in the folder is of this plan, and take away the manifest if any of it is damaged."""
    file = out / layout.PLAN
    try:
        before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
        if not isinstance(before, dict | None):
            raise ValueError
    except ValueError:
        before = {}  # damaged: what else is there will be checked by itself
        file.unlink()
    differing = [key for key in plan if before and before.get(key) != plan[key]]
    strange = before is None and ((out / layout.PARTS).exists() or (out / layout.MANIFEST).exists())
    if (differing or strange) and not overwrite:
        why = "without a plan" if strange else "with another " + _name(differing, before, plan)
        raise UserError(f"{out}: it holds Predict Sets made {why}; give another --out, or --overwrite")
    if differing or strange:
        (out / layout.MANIFEST).unlink(missing_ok=True)
        for name in (layout.PARTS, layout.INDEX, layout.TOKENIZER, layout.VALID):
            shutil.rmtree(out / name, ignore_errors=True)
    for leftover in (out / layout.PARTS).glob(".part-*"):
        leftover.unlink()
    if before != plan:
        write_json(file, plan)
    if not (out / layout.MANIFEST).exists():
        return None
    try:
        manifest = layout.read_manifest(out)
    except UserError:
        manifest = {"plan": None}
    if manifest["plan"] != layout.digest_of(plan):  # damaged, or the plan beside it was
        (out / layout.MANIFEST).unlink()
        return None
    damaged = layout.damage(out, manifest)
    for name, why in damaged.items():
        print(f"{out / name}: {why}; it is written anew", file=sys.stderr)
        if (out / name).exists():
            (out / name).unlink()
    if damaged:
        (out / layout.MANIFEST).unlink()
    return manifest["theta"]  # the same plan makes the same sets, for which it was chosen


def _name(differing: list[str], before: dict, plan: dict) -> str:
    told = []
    for key in differing:
        if key == "fingerprints":
            told += [
                f"fingerprint of the {name}"
                for name, value in plan[key].items()
                if (before.get(key) or {}).get(name) != value
            ]
        else:
            told.append(f"{key} ({before.get(key)}, now {plan[key]})")
    return ", ".join(told)


def _is_whole(file: Path, number: int, plan: dict) -> bool:
    """Is this part there, of this plan, and readable to its end (Parquet keeps a checksum of each page)?"""
    if not file.exists():
        return False
    try:
        with parquet.ParquetFile(file, page_checksum_verification=True) as part:
            named = (part.schema_arrow.metadata or {}).get(b"part")
            for _ in part.iter_batches():
                pass
    except (OSError, pa.ArrowException):
        return False
    return named == _part_name(number, plan)


def _part_name(number: int, plan: dict) -> bytes:
    return f"{layout.digest_of(plan)} {number}".encode()


def _write_part(run, file: Path, number: int, users: np.ndarray, t0: np.ndarray, plan: dict, bar) -> None:
    schema = SCHEMA.with_metadata({"part": _part_name(number, plan)})
    with (
        replacing(file) as temporary,
        parquet.ParquetWriter(temporary, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        for first in range(0, len(users), BATCH):
            batch = users[first : first + BATCH]
            writer.write_table(_table(run, predict_sets(run, batch, t0, plan["size"]), schema))
            bar.update(len(batch))


def _table(run, sets: Sets, schema) -> pa.Table:
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


def _finish(run, out: Path, plan: dict, parts: int) -> dict:
    """Tokenizer, index and what the manifest says of everything."""
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
            "fields": list(parse(run.config["tokenizer"]).fields or run.config["item_text"] or []),
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
