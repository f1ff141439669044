"""Finding the files of an official download by name, in its folder or anywhere below."""

import os
from pathlib import Path

from recbole_conrec.utils.errors import UserError


def find(raw: Path, *patterns: str, what: str) -> Path:
    """The one file that fits a pattern (also with .gz at its end); earlier patterns have priority.

    Raises UserError, which says that ``what`` was looked for, if there is none or more than one.
    """
    return _only(raw, find_all(raw, *patterns, what=what), what)


def find_optional(raw: Path, *patterns: str, what: str) -> Path | None:
    """The same for a file that need not be there."""
    files = matching(raw, *patterns)
    return _only(raw, files, what) if files else None


def find_all(raw: Path, *patterns: str, what: str) -> list[Path]:
    """All files that fit the first pattern that any file fits, sorted by path. Raises UserError if there is none."""
    files = matching(raw, *patterns)
    if not files:
        raise UserError(f"{raw}: no file {' or '.join(patterns)} ({what}); unpack the official download there")
    return files


def matching(raw: Path, *patterns: str) -> list[Path]:
    """All files that fit the first pattern that any file fits, sorted by path. Links to folders are followed."""
    if not raw.is_dir():
        raise UserError(f"{raw}: no such folder; --raw is the folder into which you unpacked the download")
    folders = _folders(raw)
    for pattern in patterns:
        found = (path for folder in folders for ending in ("", ".gz") for path in folder.rglob(pattern + ending))
        files = {path.resolve(): path for path in found if path.is_file()}  # each once, however many links lead to it
        if files:
            return sorted(files.values())
    return []


def find_logs(raw: Path, pattern: str, what: str) -> list[Path]:
    """The files that fit a pattern of the user's, sorted by path; ``./`` at its beginning: not in folders below.

    Raises UserError if there is none, or if files of one name are in several folders of which the pattern names none:
    one of them may be a backup.
    """
    if not Path(pattern).name or Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise UserError(f"{what}.files: {pattern!r}; expected a pattern of files below {raw}, such as 'events/*.csv'")
    here = pattern.startswith("./")
    files = find_all(raw, pattern, what=what)
    if here:
        depth = len(Path(pattern).parts)
        files = [path for path in files if len(_below(path, raw).parts) == depth]
        if not files:
            raise UserError(f"{raw}: no file {pattern} ({what})")
    places: dict[Path, Path] = {}
    for path in files:
        inside = Path(*_below(path, raw).parts[-len(Path(pattern).parts) :])
        name = inside.with_name(inside.name.removesuffix(".gz"))
        twin = places.setdefault(name, path)
        if twin is not path and "**" not in Path(pattern).parts:
            raise UserError(
                f"{what}.files: {pattern} is {twin} and {path}; name the folder of one of them in `files`, or write "
                f"'./{pattern.removeprefix('./')}' for the one that is in {raw} itself"
                if not here
                else f"{what}.files: {pattern} is {twin} and {path}; name one of them in `files`"
            )
    return files


def _below(path: Path, raw: Path) -> Path:
    """The path of a file below ``raw``; links are resolved in both."""
    try:
        return path.relative_to(raw.resolve())
    except ValueError:  # behind a link to another place
        return path


def _only(raw: Path, files: list[Path], what: str) -> Path:
    if len(files) > 1:
        raise UserError(
            f"{raw}: {len(files)} files could be the {what}: {', '.join(map(str, files[:4]))}; let --raw be the folder "
            "of one of them"
        )
    return files[0]


def _folders(raw: Path) -> list[Path]:
    """``raw`` and the links to folders below it, into which ``rglob`` does not go; each folder once, so no loops."""
    folders, seen = [raw], {raw.resolve()}
    for folder, names, _ in os.walk(raw, followlinks=True):
        for path in (Path(folder, name) for name in sorted(names)):
            if not path.is_symlink():
                continue
            if path.resolve() in seen:
                names.remove(path.name)
            else:
                seen.add(path.resolve())
                folders.append(path)
    return folders
