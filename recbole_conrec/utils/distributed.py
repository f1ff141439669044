"""Evaluation on several processes that gives what one process gives, to the last digit.

Launched by `accelerate launch --multi_gpu --num_processes 2 ...`, on CPUs too: without that flag (or MPI) accelerate
1.15 starts one process on a CPU, whatever --num_processes says.
"""

from collections.abc import Callable

import torch
from accelerate import PartialState
from accelerate.utils import gather

from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import replacing


def process_state() -> PartialState:
    """This process among those launched together (one if none were). Call it before anything else of accelerate."""
    return PartialState(cpu=not torch.cuda.is_available())  # or processes without a GPU would not find each other


def my_batches(n: int, batch_size: int) -> list[range]:
    """The batches of instances 0..n-1 that this process evaluates; the processes take turns at those that one would.

    Batches stay whole, so that an instance is padded, and therefore rounded, as it would be on one process.
    """
    state = process_state()
    starts = range(0, n, batch_size)[state.process_index :: state.num_processes]
    return [range(start, min(start + batch_size, n)) for start in starts]


def gather_by_id(ids: torch.Tensor, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """What every process computed, on every process, in the order of the instances.

    Args:
        ids: int64 [n], the instances of this process (n differs between processes, and may be 0).
        values: [n, ...] each, of the same trailing shape and dtype on every process.

    Returns (ids [N] ascending, values [N, ...] ...). Raises UserError if an instance came twice: it would count twice.
    """
    state = process_state()
    tensors = [ids, *values]
    if state.num_processes > 1:
        counts = gather(torch.tensor([len(ids)], device=state.device)).tolist()
        tensors = [_gather_ragged(tensor, counts, state.device) for tensor in tensors]
    order = tensors[0].argsort(stable=True)
    ids, *ordered = (tensor[order] for tensor in tensors)
    twice = ids[1:][ids[1:] == ids[:-1]]
    if len(twice):
        raise UserError(f"evaluation: instance {int(twice[0])} was evaluated twice; give each process its `my_batches`")
    return ids, *ordered


def _gather_ragged(tensor: torch.Tensor, counts: list[int], device) -> torch.Tensor:
    """The rows of all processes, one after the other; collectives need equal shapes, so rows are filled up and cut."""
    filled = tensor.new_zeros((max(counts), *tensor.shape[1:]), device=device)
    filled[: len(tensor)] = tensor
    parts = gather(filled).split(max(counts))
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)]).to(tensor.device)


def write_once(path, write: Callable[[str], None]) -> None:
    """Write a file as a whole, see :func:`recbole_conrec.utils.files.replacing`.

    Of several processes the main one writes, and all wait for it.
    """
    if process_state().is_main_process:
        with replacing(path) as temporary:
            write(str(temporary))
    process_state().wait_for_everyone()
