"""The subcommands predict, filter and study filter: their options, and what they print."""

from pathlib import Path

from recbole_conrec.filtering import folder as layout
from recbole_conrec.utils.errors import UserError

PREDICT = {
    "run": None,
    "out": None,
    "users": "all",
    "at": "end",
    "size": 40,
    "part_users": 4096,
    "lost": None,
    "rate": None,
    "groups": 1,
    "overwrite": False,
}
FILTER = {
    "sets": None,
    "candidates": None,
    "out": None,
    "theta": None,
    "new_items": None,
    "user_field": None,
    "item_field": None,
    "drop": False,
    "verify": True,
}
STUDY = {"run": None, "out": None, "size": 40, "lists": 100, "shown": 20, "overwrite": False}


def predict(options: dict) -> None:
    """Write Predict Sets and, if there is a target, calibrate; see docs/filtering.md."""
    from recbole_conrec.filtering.calibrate import calibrate, check_target
    from recbole_conrec.filtering.predict import predict
    from recbole_conrec.utils.distributed import process_state

    own, where = _take("predict", PREDICT, options, needs=("run", "out"), others=True)
    target = {name: own.pop(name) for name in ("lost", "rate", "groups")}
    calibrated = target["lost"] is not None or target["rate"] is not None
    if calibrated:
        check_target(**target)
    elif target["groups"] != 1:
        raise UserError("predict: --groups is about calibration; give --lost=0.05 or --rate=0.1, too")
    run = _load(own.pop("run"), where)
    manifest = predict(run, **own)
    if calibrated and own["at"] != "valid":
        predict(run, **{**own, "out": Path(own["out"]) / layout.VALID, "at": "valid"})
    if not process_state().is_main_process:
        return
    empty = f", {manifest['empty']:,} users without a like or dislike" if manifest["empty"] else ""
    print(f"{manifest['users']:,} users, {manifest['predicted']:,} items predicted{empty}")
    if calibrated:
        print(_told(calibrate(run, own["out"], **target)))
    print(f"written to {own['out']}/")


def filter(options: dict) -> None:
    """Filter a file of candidates; see docs/filtering.md."""
    from recbole_conrec.filtering.files import filter_file
    from recbole_conrec.filtering.online import NegativeFilter

    own, _ = _take("filter", FILTER, options, needs=("sets", "candidates", "out"))
    theta = own.pop("theta")
    if theta is not None and (not isinstance(theta, int | float) or isinstance(theta, bool) or not -1 <= theta <= 1):
        raise UserError(f"--theta: {theta!r} must be a number, a cosine from -1 to 1")
    negative = NegativeFilter.load(own.pop("sets"), theta=theta, verify=own.pop("verify"))
    new_items = own.pop("new_items")
    if new_items is not None:
        print(f"{add_items(negative, new_items):,} new items in {new_items}")
    counts = filter_file(negative, **own)
    print(
        f"{counts['candidates']:,} candidates, {counts['dropped']:,} dropped"
        f"{_unknown(counts, 'users')}{_unknown(counts, 'items')}; written to {own['out']}"
    )


def add_items(negative, file) -> int:
    """Make the items of an atomic ``.item`` file known to a filter; returns how many are new. Its texts are made of the
    fields that the catalogue's were made of."""
    from recbole_conrec.data import atomic
    from recbole_conrec.data.items import ItemText

    path = Path(file)
    ids, fields = negative.manifest["data"]["item_field"], negative.manifest["tokenizer"]["fields"]
    text = atomic.text_frame(atomic.read_columns(path, [ids, *fields] if fields else None))
    return negative.add_items(text[ids].tolist(), ItemText(text, ids, path).join(text[ids].to_numpy(), fields))


def study(options: dict, console) -> None:
    """What the filter of a run does at every threshold; see docs/filtering.md."""
    from recbole_conrec.study.filter import study
    from recbole_conrec.study.filter_report import write_report

    own, where = _take("study filter", STUDY, options, needs=("run",), others=True)
    folder = own.pop("run")
    out = Path(own.pop("out") or Path(folder) / "filter")
    write_report(study(_load(folder, where), out, **own), out, console)


def _load(folder, where: dict):
    from recbole_conrec.runs.restore import load_run

    return load_run(folder, where)


def _take(command: str, known: dict, options: dict, needs, others: bool = False) -> tuple[dict, dict]:
    """The command's own options with its defaults, and the others (where to run), if it takes any."""
    from recbole_conrec.utils.names import nearest

    unknown = {key: value for key, value in options.items() if key not in known}
    if unknown and not others:
        key = next(iter(unknown))
        raise UserError(f"{command}: unknown option '{key}'{nearest(key, known)}; its options: {', '.join(known)}")
    own = {**known, **{key: value for key, value in options.items() if key in known}}
    for name in needs:
        if own[name] is None:
            raise UserError(f"{command}: --{name} is needed; its options: {', '.join(known)}")
    for name in {"run", "out", "sets", "candidates", "new_items"} & set(own):
        own[name] = None if own[name] is None else str(own[name])
    for name in {"overwrite", "drop", "verify"} & set(own):
        if not isinstance(own[name], bool):
            raise UserError(f"{command}: --{name}={own[name]} must be True or False")
    return own, unknown


def _told(theta: dict) -> str:
    target, share = next(iter(theta["target"].items()))
    what = "likes of validation" if target == "lost" else "candidates recommended before validation"
    if len(theta["values"]) == 1:
        return (
            f"theta {theta['values'][0]:.4f} with sets of {theta['size']}: drops {theta['above'][0]:.2%} of "
            f"{theta['n'][0]:,} {what} and {theta['removed']:.2%} of its dislikes"
        )
    bounds = [0, *theta["bounds"]]
    told = ", ".join(
        f"{value:.4f} from {bound} reactions on{'' if own else ' (of all)'}"
        for value, bound, own in zip(theta["values"], bounds, theta["own"], strict=True)
    )
    return (
        f"theta {told}, with sets of {theta['size']}: drops at most {share:.2%} of the {what} and "
        f"{theta['removed']:.2%} of its dislikes"
    )


def _unknown(counts: dict, kind: str) -> str:
    return f", {counts[f'unknown_{kind}']:,} of unknown {kind} (kept)" if counts[f"unknown_{kind}"] else ""
