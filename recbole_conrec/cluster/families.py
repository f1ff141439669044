"""What runs of a method take where a board does not say it: by the method's family."""

import re

from recbole_conrec.cluster.resources import Resources
from recbole_conrec.dense.untrained import UntrainedRecommender
from recbole_conrec.generative.staged_recommender import StagedRecommender


def counts_only(network: type) -> bool:
    """Whether a method has nothing to train: its run takes seconds, most of them Python's imports."""
    return issubclass(network, UntrainedRecommender)


def default_resources(network: type, threads: int, launch: str | None) -> Resources:
    """What one run takes.

    Args:
        network: the method's class.
        threads: of the run.
        launch: what starts it in place of ``python``; with N processes it gets N GPUs.
    """
    if counts_only(network):
        return Resources(cpus=threads, gpus=0, memory="2GB")
    started = re.search(r"--num_processes[ =](\d+)", launch or "")
    processes = int(started[1]) if started else 1
    if issubclass(network, StagedRecommender):
        return Resources(cpus=threads * processes, gpus=processes, memory="8GB")
    return Resources(cpus=threads * processes, gpus=processes if processes > 1 else 0.25, memory="4GB")
