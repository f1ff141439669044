"""What a run takes of a machine: processors, shares of GPUs, memory."""

import re
from typing import Annotated

from pydantic import AfterValidator

from recbole_conrec.options.schema import NonNegative, Options, Positive, Text

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def in_bytes(text: str) -> int:
    """'4GB' or '500 MiB' as a number of bytes; units are powers of 1024. Raises ValueError for another text."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    if match is None or not float(match[1]):
        raise ValueError(f"'{text}' is no size; expected one such as 4GB or 500MB")
    return int(float(match[1]) * UNITS[match[2].upper()])


def _size(text: str) -> str:
    in_bytes(text)
    return text


def _whole_above_one(gpus: float | None) -> float | None:
    if gpus is not None and gpus > 1 and gpus != int(gpus):
        raise ValueError(f"{gpus}; expected a share of one GPU (0 to 1), or a whole number of GPUs")
    return gpus


class Resources(Options):
    """What one run takes; null: the default of the method's family."""

    cpus: Positive | None = None
    """Processors; default: the run's `threads`."""
    gpus: Annotated[NonNegative | None, AfterValidator(_whole_above_one)] = None
    """A share of one GPU, or a whole number of GPUs. Default: 0 for methods that only count, 0.25 for RecBole's loop, 1
    for methods trained in stages, and one for each process that `launch` starts."""
    memory: Annotated[Text, AfterValidator(_size)] | None = None
    """Memory, such as 4GB; default: 2GB, 4GB and 8GB, in the order of `gpus`."""

    @property
    def bytes(self) -> int:
        """Its memory in bytes; 0 where none is asked for."""
        return in_bytes(self.memory) if self.memory else 0

    def over(self, below: "Resources") -> "Resources":
        """These, with the ones of ``below`` where there are none."""
        return Resources(**{key: getattr(below, key) for key in Resources.model_fields} | self.given)

    @property
    def given(self) -> dict:
        """Those that somebody gave."""
        return {key: value for key in Resources.model_fields if (value := getattr(self, key)) is not None}
