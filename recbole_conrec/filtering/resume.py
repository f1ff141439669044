"""Which files of an earlier, interrupted prediction can be kept, and which have to be written again."""

import json
import re
import shutil
import sys
from itertools import islice
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from recbole_conrec.filtering import folder as layout
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import remove_leftovers, write_json
from recbole_conrec.utils.id_files import some

OWN = re.compile(
    r"(valid/)?(manifest\.json|plan\.json|lock|parts/part-\d{5,}\.parquet|index/\w+\.npy"
    r"|workers/parts-\d{5,}/(terminal|run)\.log|slurm/\S+|tokenizer/(semantic_ids|features)\.(json|safetensors))"
)
"""The files of a folder of Predict Sets."""


def check_folder(out: Path) -> None:
    """Raise UserError if ``out`` is not empty and not a folder of Predict Sets: it is a run's, or a user's own."""
    if (out / layout.PLAN).exists() or (out / layout.MANIFEST).exists() or not out.is_dir():
        return
    others = foreign(out)
    if others:
        raise UserError(
            f"--out: {out} is no folder of Predict Sets; it holds {some(others)}; give a new or an empty folder"
        )


def foreign(out: Path) -> list[str]:
    """The files below ``out`` that no prediction writes (of the first 10,000); hidden ones do not count."""
    files = (file.relative_to(out) for file in islice(out.rglob("*"), 10_000) if not file.is_dir())
    return sorted(str(file) for file in files if not file.name.startswith(".") and not OWN.fullmatch(file.as_posix()))


def prepare(out: Path, plan: dict, overwrite: bool) -> dict | None:
    """Make the folder ready for the parts of a plan: write the plan, remove what is damaged.

    The manifest goes if any of its files is damaged; it is written again when the folder is complete.

    Args:
        plan: what decides the content of the sets (plain JSON).
        overwrite: remove the sets of another plan instead of raising an error.

    Returns the theta that was calibrated for this plan, if any: the same plan makes the same sets, so it stays valid.
    Raises UserError if the folder holds sets of another plan, or, with ``overwrite``, if something else is where these
    would be removed.
    """
    before = _read_plan(out / layout.PLAN)
    differing = [key for key in plan if before and before.get(key) != plan[key]]
    unplanned = before is None and ((out / layout.PARTS).exists() or (out / layout.MANIFEST).exists())
    if (differing or unplanned) and not overwrite:
        why = "without a plan" if unplanned else "with another " + _differences(differing, before or {}, plan)
        raise UserError(f"{out}: it holds Predict Sets made {why}; give another --out, or --overwrite")
    if differing or unplanned:
        ours = (layout.PARTS, layout.INDEX, layout.TOKENIZER, layout.VALID)
        others = [name for name in foreign(out) if Path(name).parts[0] in ours]
        if others:
            raise UserError(
                f"{out}: --overwrite would remove {some(others)}, which no prediction wrote; move them first"
            )
        (out / layout.MANIFEST).unlink(missing_ok=True)
        for name in ours:
            shutil.rmtree(out / name, ignore_errors=True)
    for folder in (out, *(out / name for name in (layout.PARTS, layout.INDEX, layout.TOKENIZER))):
        remove_leftovers(folder)  # of predictions that were killed
    if before != plan:
        write_json(out / layout.PLAN, plan)
    return _keep_manifest(out, plan)


def check_plan(out: Path, plan: dict) -> None:
    """Raise UserError unless the folder has this plan."""
    before = _read_plan(out / layout.PLAN)
    if before is None:
        raise UserError(f"{out}: it has no {layout.PLAN}; start `predict` without only_parts")
    if differing := [key for key in plan if before.get(key) != plan[key]]:
        raise UserError(f"{out}: its parts are made with another {_differences(differing, before, plan)}")


def _read_plan(file: Path) -> dict | None:
    """The plan of the folder; None without one, {} for a damaged one, which is removed (other files are then checked
    one by one).
    """
    try:
        plan = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
        if not isinstance(plan, dict | None):
            raise ValueError
    except ValueError:
        file.unlink()
        return {}
    return plan


def _keep_manifest(out: Path, plan: dict) -> dict | None:
    """Remove the manifest, and the files that it names as damaged, unless all are whole. Returns its theta."""
    if not (out / layout.MANIFEST).exists():
        return None
    try:
        manifest = layout.read_manifest(out)
    except UserError:
        manifest = {"plan": None}
    if manifest["plan"] != layout.digest_of(plan):  # it is damaged, or the plan beside it was
        (out / layout.MANIFEST).unlink()
        return None
    damaged = layout.damage(out, manifest)
    for name, why in damaged.items():
        print(f"{out / name}: {why}; it is written again", file=sys.stderr)
        (out / name).unlink(missing_ok=True)
    if damaged:
        (out / layout.MANIFEST).unlink()
    return manifest["theta"]


def _differences(differing: list[str], before: dict, plan: dict) -> str:
    """'size (8, now 5), fingerprint of the code'."""
    names = []
    for key in differing:
        if key == "fingerprints":
            old = before.get(key) or {}
            names += [f"fingerprint of the {name}" for name, value in plan[key].items() if old.get(name) != value]
        else:
            names.append(f"{key} ({before.get(key)}, now {plan[key]})")
    return ", ".join(names)


def part_name(number: int, plan: dict) -> bytes:
    """What a part keeps in its metadata: the plan that it belongs to, and its number."""
    return f"{layout.digest_of(plan)} {number}".encode()


def is_whole(file: Path, number: int, plan: dict) -> bool:
    """Whether this part exists, belongs to the plan, and can be read to its end (Parquet has a checksum per page)."""
    if not file.exists():
        return False
    try:
        with parquet.ParquetFile(file, page_checksum_verification=True) as part:
            named = (part.schema_arrow.metadata or {}).get(b"part")
            for _ in part.iter_batches():
                pass
    except (OSError, pa.ArrowException):
        return False
    return named == part_name(number, plan)
