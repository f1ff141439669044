"""JSON beside safetensors: how everything of a tokenizer is kept. No pickle."""

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import replacing, write_text


def write(stem: Path, state: dict, arrays: dict[str, np.ndarray]) -> None:
    """Write ``<stem>.safetensors``, then ``<stem>.json``: if the JSON is there, both are whole."""
    with replacing(stem.with_name(stem.name + ".safetensors")) as temporary:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary)
    write_text(stem.with_name(stem.name + ".json"), json.dumps(state, ensure_ascii=False))


def read(stem: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """What :func:`write` wrote. Raises UserError naming the file that is missing or damaged."""
    file = stem.with_name(stem.name + ".json")
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(state, dict):
            raise ValueError(f"found {type(state).__name__}, expected a mapping")
        file = stem.with_name(stem.name + ".safetensors")
        return state, load_file(file)
    except FileNotFoundError:
        raise UserError(f"{file}: no such file; expected a folder written by SemanticIds.save") from None
    except (ValueError, SafetensorError) as error:
        raise UserError(f"{file}: damaged ({error}); delete the folder and make the IDs again") from None
