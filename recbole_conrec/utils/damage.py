"""Files of earlier attempts that cannot be read back: named, set aside, and what they held is done again."""

import contextlib
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from recbole_conrec.utils.distributed import process_state


def set_aside(path, why) -> None:
    """Rename a damaged file to NAME.damaged, with a warning; of several processes the main one does."""
    if not process_state().is_main_process:
        return
    kept = Path(f"{path}.damaged")
    with contextlib.suppress(FileNotFoundError):
        os.replace(path, kept)
    warnings.warn(
        f"{path} is damaged ({one_line(why)}); it is now {kept.name}, and its work is done again", stacklevel=2
    )


def one_line(why) -> str:
    """The first line of an error or text; an error without one is named by its type."""
    lines = str(why).splitlines()
    return lines[0] if lines and lines[0] else type(why).__name__


def read_object(path) -> dict[str, Any]:
    """The JSON object in a file. Raises ValueError for anything else, NaN and infinity included."""

    def refuse(name: str):
        raise ValueError(f"{name} is no number")

    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=refuse)
    except RecursionError:
        raise ValueError("values are nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError("expected an object")
    return content


def check_tensors(path, wanted: dict[str, tuple[int, ...]] | None = None) -> None:
    """Raise ValueError unless the safetensors file is whole and holds the tensors ``wanted``, by name and shape."""
    try:
        with safe_open(str(path), framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ValueError(one_line(error)) from None
    strange = next((name for name, shape in (wanted or {}).items() if shapes.get(name) != tuple(shape)), None)
    if strange is not None:
        raise ValueError(f"tensor {strange} is missing or has another shape")


def has_tensors(path, wanted: dict[str, tuple[int, ...]] | None = None) -> bool:
    """Whether there is such a file, see :func:`check_tensors`; one that is not whole is set aside."""
    if not Path(path).exists():
        return False
    try:
        check_tensors(path, wanted)
    except ValueError as error:
        set_aside(path, error)
        return False
    return True


def shapes(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor of a state dict."""
    return {name: tuple(value.shape) for name, value in tensors.items()}
