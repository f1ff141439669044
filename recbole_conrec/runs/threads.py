"""A run's number of threads: with another one sums are rounded in another order, and training ends elsewhere."""

import contextlib
import os
from collections.abc import Iterator

import faiss
import torch
from threadpoolctl import threadpool_limits

from recbole_conrec.utils.processes import THREADS


@contextlib.contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Inside, torch, faiss, OpenMP and the BLAS libraries of NumPy and SciPy use this number of threads.

    Libraries that are loaded inside, and processes that are started there, read it from the environment.
    """
    before, variables = (torch.get_num_threads(), faiss.omp_get_max_threads()), dict(os.environ)
    with threadpool_limits(limits=threads):
        os.environ.update(dict.fromkeys(THREADS, str(threads)))
        torch.set_num_threads(threads)
        faiss.omp_set_num_threads(threads)
        try:
            yield
        finally:
            for name in THREADS:
                os.environ.pop(name)
                os.environ.update({name: variables[name]} if name in variables else {})
            torch.set_num_threads(before[0])
            faiss.omp_set_num_threads(before[1])
