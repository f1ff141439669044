"""Data sets that are installed with this package: a run finds them wherever it is started."""

import importlib.resources
from pathlib import Path

SHIPPED = ("movietweetings-100k",)


def data_folder(name: str, data_path) -> Path:
    """The folder that holds the folder ``name``: ``data_path``, or ours for a shipped data set that is not there."""
    if name in SHIPPED and not (Path(data_path) / name).exists():
        # `dataset` lies beside `properties`, in a checkout as where the package is installed
        return Path(str(importlib.resources.files("recbole_conrec.properties"))).parent / "dataset"
    return Path(data_path)
