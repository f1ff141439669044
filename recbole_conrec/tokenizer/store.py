"""JSON beside safetensors: how all of a tokenizer is kept. No pickle; written under another name, then renamed."""

import json
import os
import tempfile
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from recbole_conrec.utils.errors import UserError


def write(stem: Path, state: dict, arrays: dict[str, np.ndarray]) -> None:
    """Write ``<stem>.safetensors``, then ``<stem>.json``: where the JSON is, both are whole."""
    stem = Path(stem)
    stem.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=stem.parent) as scratch:
        tensors, text = os.path.join(scratch, "tensors"), os.path.join(scratch, "text")
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, tensors)
        Path(text).write_text(json.dumps(state, ensure_ascii=False), encoding="utf-8")
        os.replace(tensors, stem.with_name(stem.name + ".safetensors"))
        os.replace(text, stem.with_name(stem.name + ".json"))


def read(stem: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """What :func:`write` wrote. Raises UserError naming the file that is missing or damaged."""
    stem = Path(stem)
    file = stem.with_name(stem.name + ".json")
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
        file = stem.with_name(stem.name + ".safetensors")
        return state, load_file(file)
    except FileNotFoundError:
        raise UserError(f"{file}: no such file; expected a folder written by SemanticIds.save") from None
    except (json.JSONDecodeError, SafetensorError) as error:
        raise UserError(f"{file}: damaged ({error}); delete the folder and make the IDs anew") from None
