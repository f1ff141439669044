"""The executor that a command line asks for."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from recbole_conrec.cluster.local import LocalExecutor
from recbole_conrec.cluster.on_ray import RayExecutor
from recbole_conrec.cluster.on_slurm import SlurmExecutor, SlurmOptions
from recbole_conrec.cluster.task import Executor
from recbole_conrec.options.schema import Count, Natural, Options, Text
from recbole_conrec.runs.config import VISIBLE_GPUS
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.yaml_files import read_yaml


def _known(cluster: str | None) -> str | None:
    if cluster not in (None, "ray", "slurm") and ":" not in str(cluster):
        raise ValueError(f"'{cluster}'; expected ray, slurm, or the address of a Ray cluster such as ray://HOST:10001")
    return cluster


class ClusterOptions(Options):
    """Where runs are executed; docs/scale.md."""

    jobs: Count = 1
    """Runs at a time on this machine, each in its own process and on the GPU with the most free memory."""
    cluster: Annotated[Text | None, AfterValidator(_known)] = None
    """ray (a Ray of this machine, or the one at RAY_ADDRESS), the address of a Ray cluster (ray://HOST:10001 or
    HOST:6379), or slurm; null: processes of this machine."""
    slurm: Text | None = None
    """YAML file with partition, time and the like for ``cluster: slurm``."""
    retries: Natural = 3
    """How often a run is started again whose worker or node has died, or whose time of Slurm is up."""
    shared_files: bool | None = None
    """Whether all nodes of a Ray cluster see this machine's files; null: found out."""

    def slurm_options(self) -> SlurmOptions:
        """Those of the YAML. Raises UserError for a mistake in it."""
        if self.slurm is None:
            return SlurmOptions()
        try:
            return SlurmOptions.read(read_yaml(self.slurm))
        except UserError as error:
            raise UserError(f"{self.slurm}: {error}") from None


def choose_executor(options: ClusterOptions, saved: Path, report: Callable[[str], None]) -> Executor:
    """The executor; a cluster is connected to.

    Args:
        saved: folder of runs.
        report: is called with one line about what a cluster does.

    Raises UserError for options that do not fit, or a cluster that does not answer.
    """
    check(options)
    if options.cluster is None:
        return LocalExecutor(options.jobs, VISIBLE_GPUS)
    if options.cluster == "slurm":
        return SlurmExecutor(options.slurm_options(), slurm_folder(saved), report, options.retries)
    address = None if options.cluster == "ray" else options.cluster
    return RayExecutor(address, report, options.retries, options.shared_files)


def check(options: ClusterOptions) -> None:
    """Raise UserError for options that are not read together."""
    if options.cluster is not None and "jobs" in options.model_fields_set:
        raise UserError(
            f"--jobs: with --cluster={options.cluster} the cluster decides how many run; remove one of them"
        )
    if options.slurm is not None and options.cluster != "slurm":
        raise UserError("--slurm is read with --cluster=slurm only; add that, or remove --slurm")


def slurm_folder(saved: Path) -> Path:
    """Where submitit keeps its files."""
    return saved / "slurm"
