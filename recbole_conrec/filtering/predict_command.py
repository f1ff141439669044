"""The subcommand ``predict``: Predict Sets of a trained run and, for a target, a calibrated theta."""

from pathlib import Path
from typing import Any

from recbole_conrec.filtering import folder as layout
from recbole_conrec.filtering.calibrate import CalibrationOptions, calibrate
from recbole_conrec.filtering.predict import SetOptions, predict, predict_parts
from recbole_conrec.filtering.workers import WorkerOptions, Workers
from recbole_conrec.options.schema import Natural, Options, Several, Text
from recbole_conrec.runs.restore import TrainedRun, load_run
from recbole_conrec.runs.threads import pinned
from recbole_conrec.utils.distributed import process_state


class FolderOptions(Options):
    """What a prediction reads and writes."""

    run: Text
    """Folder of the trained run."""
    out: Text
    """Folder to which the sets are written."""


class PredictOptions(WorkerOptions, CalibrationOptions, SetOptions, FolderOptions):
    """Options of ``recbole-conrec predict``."""

    only_parts: Several[Natural] | None = None
    """Write these parts alone, by number, into a folder that is being written: what workers do."""


def predict_command(options: PredictOptions, where: dict) -> None:
    """Write Predict Sets, calibrate theta if there is a target, and print a summary; see docs/filtering.md.

    Args:
        where: options that say where to run, see :func:`recbole_conrec.runs.restore.load_run`.
    """
    run = load_run(options.run, where)
    with pinned(run.place.threads):
        if options.only_parts is None:
            _predict(run, options, where)
        else:
            written = predict_parts(run, options.out, options, options.only_parts)
            print(f"{written} of {len(options.only_parts)} parts written, the others were there")


def _predict(run: TrainedRun, options: PredictOptions, where: dict) -> None:
    out = Path(options.out)
    manifest = predict(run, out, options, _workers(run, options, options.at, out, where))
    if options.target is not None and options.at != "valid":
        out = out / layout.VALID
        workers = _workers(run, options, "valid", out, where)
        predict(run, out, options.model_copy(update={"at": "valid"}), workers)
    if not process_state().is_main_process:
        return
    empty = f", {manifest['empty']:,} users without a like or dislike" if manifest["empty"] else ""
    print(f"{manifest['users']:,} users, {manifest['predicted']:,} items predicted{empty}")
    if options.target is not None:
        print(summary(calibrate(run, options.out, options)))
    print(f"written to {options.out}/")


def _workers(run: TrainedRun, options: PredictOptions, at: Any, out: Path, where: dict) -> Workers | None:
    """Those that the options ask for; None: this process."""
    if not options.spread:
        return None
    given = {key: getattr(options, key) for key in ("run", "users", "size", "part_users")}
    return Workers(run, options, {**where, **given, "at": at, "out": str(out)}, print)


def summary(theta: dict) -> str:
    """One line about a calibrated theta (the manifest's ``theta``)."""
    target, share = next(iter(theta["target"].items()))
    what = "likes of validation" if target == "lost" else "candidates recommended before validation"
    if len(theta["values"]) == 1:
        return (
            f"theta {theta['values'][0]:.4f} with sets of {theta['size']}: drops {theta['above'][0]:.2%} of "
            f"{theta['n'][0]:,} {what} and {theta['removed']:.2%} of its dislikes"
        )
    groups = ", ".join(
        f"{value:.4f} from {bound} reactions on{'' if own else ' (of all users)'}"
        for value, bound, own in zip(theta["values"], [0, *theta["bounds"]], theta["own"], strict=True)
    )
    return (
        f"theta {groups}, with sets of {theta['size']}: drops at most {share:.2%} of the {what} and "
        f"{theta['removed']:.2%} of its dislikes"
    )
