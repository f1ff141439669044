"""The subcommand ``predict``: Predict Sets of a trained run and, for a target, a calibrated theta."""

from pathlib import Path

from recbole_conrec.filtering import folder as layout
from recbole_conrec.filtering.calibrate import CalibrationOptions, calibrate
from recbole_conrec.filtering.predict import SetOptions, predict
from recbole_conrec.options.schema import Options, Text
from recbole_conrec.runs.restore import TrainedRun, load_run
from recbole_conrec.runs.threads import pinned
from recbole_conrec.utils.distributed import process_state


class FolderOptions(Options):
    """What a prediction reads and writes."""

    run: Text
    """Folder of the trained run."""
    out: Text
    """Folder to which the sets are written."""


class PredictOptions(CalibrationOptions, SetOptions, FolderOptions):
    """Options of ``recbole-conrec predict``."""


def predict_command(options: PredictOptions, where: dict) -> None:
    """Write Predict Sets, calibrate theta if there is a target, and print a summary; see docs/filtering.md.

    Args:
        where: options that say where to run, see :func:`recbole_conrec.runs.restore.load_run`.
    """
    run = load_run(options.run, where)
    with pinned(run.place.threads):
        _predict(run, options)


def _predict(run: TrainedRun, options: PredictOptions) -> None:
    manifest = predict(run, options.out, options)
    if options.target is not None and options.at != "valid":
        predict(run, Path(options.out) / layout.VALID, options.model_copy(update={"at": "valid"}))
    if not process_state().is_main_process:
        return
    empty = f", {manifest['empty']:,} users without a like or dislike" if manifest["empty"] else ""
    print(f"{manifest['users']:,} users, {manifest['predicted']:,} items predicted{empty}")
    if options.target is not None:
        print(summary(calibrate(run, options.out, options)))
    print(f"written to {options.out}/")


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
