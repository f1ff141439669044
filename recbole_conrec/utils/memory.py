"""Running out of memory as a message."""

import contextlib

import torch

from recbole_conrec.utils.errors import UserError


@contextlib.contextmanager
def out_of_memory(doing: str, fix: str):
    """Running out of memory inside becomes one line: what was being done, and what to do about it."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UserError(f"no GPU memory left while {doing}; {fix}") from error
    except MemoryError as error:
        raise UserError(f"no memory left while {doing}; {fix}") from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # torch's CPU allocator has no exception of its own
            raise
        raise UserError(f"no memory left while {doing}; {fix}") from error
