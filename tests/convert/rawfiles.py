"""What the converters' tests share: raw files in, atomic files out."""

import gzip
from pathlib import Path

import pandas as pd
import yaml

from recbole_conrec.data import convert as converters
from recbole_conrec.data.atomic import read_columns, text_frame


def convert(name: str, raw, out, /, **options) -> dict[str, int]:
    """The package's function, with the two folders first."""
    return converters.convert(name, raw=str(raw), out=str(out), **options)


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    """Write raw files; a name that ends in .gz is compressed."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return folder


def read(out: Path, name: str, suffix: str) -> pd.DataFrame:
    """An atomic file as text, read as a run reads it."""
    return text_frame(read_columns(out / name / f"{name}.{suffix}")).reset_index(drop=True)


def rows(frame: pd.DataFrame) -> list[tuple]:
    return list(frame.itertuples(index=False, name=None))


def options(out: Path, name: str) -> dict:
    return yaml.safe_load((out / name / f"{name}.yaml").read_text())
