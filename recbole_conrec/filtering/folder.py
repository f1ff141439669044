"""A folder of Predict Sets on disk: its files, and whether they are complete and undamaged.

manifest.json       written last: a folder without it is incomplete
plan.json           written first: which prediction the parts belong to
parts/part-00000.parquet ...    one row per user: the format for exchange
index/*.npy         the same sets for the filter, to be mapped into memory
tokenizer/          the semantic IDs and their encoder, for new items
workers/            (while workers write the parts, or if one has failed) their logs
valid/              (if calibrated) a folder of the same form: the sets as of the validation cut
"""

import hashlib
import json
from pathlib import Path

from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import digest, write_json

FORMAT = 1
MANIFEST, PLAN, PARTS, INDEX, TOKENIZER, VALID = ("manifest.json", "plan.json", "parts", "index", "tokenizer", "valid")
WORKERS = "workers"
REMEDY = "run the same `recbole-conrec predict` again: it replaces damaged files and keeps the others"


def part_file(number: int) -> str:
    """The name of a part inside the folder."""
    return f"{PARTS}/part-{number:05d}.parquet"


def digest_of(content) -> str:
    """sha256 (hex) of plain JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_manifest(folder: Path) -> dict:
    """The manifest. UserError if it is missing (the folder is incomplete), damaged, or of another format."""
    file = folder / MANIFEST
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        files, written = manifest["files"], manifest.pop("digest")
    except FileNotFoundError:
        unfinished = (folder / PLAN).exists()
        raise UserError(
            f"{folder}: not complete ({MANIFEST} is missing); run the same `recbole-conrec predict` again to resume it"
            if unfinished
            else f"{folder}: no folder of Predict Sets ({MANIFEST} is missing); `recbole-conrec predict` writes one"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{file}: damaged; {REMEDY}") from None
    if manifest.get("format") != FORMAT or not isinstance(files, dict):
        raise UserError(
            f"{file}: of format {manifest.get('format')}, expected {FORMAT}; run `recbole-conrec predict` "
            "again with --overwrite"
        )
    if digest_of(manifest) != written:
        raise UserError(f"{file}: damaged (its digest does not match its content); {REMEDY}")
    return manifest


def write_manifest(folder: Path, manifest: dict) -> None:
    """Write a manifest with the digest of its content, atomically."""
    write_json(folder / MANIFEST, {**manifest, "digest": digest_of(manifest)})


def measure(folder: Path, names) -> dict[str, dict]:
    """{name: {bytes, sha256}} of some files of the folder."""
    return {name: {"bytes": (folder / name).stat().st_size, "sha256": digest(folder / name)} for name in names}


def damage(folder: Path, manifest: dict, *, read: bool = True) -> dict[str, str]:
    """{file: what is wrong with it} of the manifest's files; ``read=False`` compares only their sizes."""
    found = {}
    for name, known in manifest["files"].items():
        file = folder / name
        if not file.is_file():
            found[name] = "missing"
        elif file.stat().st_size != known["bytes"]:
            found[name] = f"{file.stat().st_size} bytes instead of {known['bytes']}"
        elif read and digest(file) != known["sha256"]:
            found[name] = "its sha256 differs from the manifest's"
    return found


def check(folder: Path, manifest: dict, *, read: bool = True) -> None:
    """UserError naming every damaged file."""
    found = damage(folder, manifest, read=read)
    if found:
        files = ", ".join(f"{name} ({why})" for name, why in found.items())
        raise UserError(f"{folder}: damaged: {files}; {REMEDY}")
