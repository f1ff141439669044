"""The command line: arguments and subcommands, nothing else."""

import os
import signal
import sys
import warnings
from pathlib import Path

from recbole_conrec.utils.errors import UserError

TEXTS = {"user"}  # taken as they stand: in YAML 010 is 8
FLAGS = {"--dry-run", "--commands", "--overwrite"}  # options that may stand without a value
USAGE = """\
usage: run_recbole_conrec.py --model=NAME [--dataset=NAME] [--config_files="A.yaml B.yaml"] [--KEY=VALUE ...]
       run_recbole_conrec.py --leaderboard=NAME [--rows=A,B] [--seeds=3] [--dataset=NAME] [--jobs=N] [--dry-run]
       recbole-conrec SUBCOMMAND [--KEY=VALUE ...]

Train one model and print its table: --model=CoNRec, SASRec, BERT4Rec, Caser, FDSA, S3Rec, Pop, ItemSwing, any
sequential model of RecBole, or a class of your own (--model=package.module:Class). Any option of RecBole or of the
YAML files in properties/ can be given as --KEY=VALUE; dots reach into mappings: --window.length=3.
A leaderboard (paper, quick, beyond, or the path of a YAML) runs the rows that have no record yet; docs/leaderboard.md.

subcommands
{subcommands}"""


def main(argv: list[str] | None = None) -> int:
    """Run a command line. Returns the exit code: 0; 1 if a leaderboard is not complete; 2 for a mistake in the
    command, a file or an option; 75 if another process is at the same run; 130 if it was interrupted."""
    argv = sys.argv[1:] if argv is None else argv
    if not {"", os.getcwd()} & set(sys.path):  # as `python -m` has it: models may lie in the folder one works in
        sys.path.insert(0, os.getcwd())
    signal.signal(signal.SIGTERM, _interrupt)  # a scheduler's way to say stop: a board then ends its runs, too
    # RecBole's calls of pandas and torch functions that will change one day are no news to a user
    warnings.filterwarnings("ignore", category=FutureWarning, module="recbole")
    try:
        name = argv[0] if argv and not argv[0].startswith("-") else "run"
        if not argv or {"-h", "--help"} & set(argv):
            print(USAGE.format(subcommands="\n".join(f"  {key:<10} {text}" for key, (_, text) in SUBCOMMANDS.items())))
            return 0
        if name not in SUBCOMMANDS:
            from recbole_conrec.utils.names import nearest

            raise UserError(f"unknown subcommand '{name}'{nearest(name, SUBCOMMANDS)}; see --help")
        return SUBCOMMANDS[name][0](argv[1:] if argv[0] == name else argv) or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError) as error:
        print(f"error: {error.filename or error}: {error.strerror}; give another file or folder", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last finished epoch or stage", file=sys.stderr)
        return 130


def _interrupt(*_):
    raise KeyboardInterrupt


def parse(argv: list[str]) -> tuple[list[str], dict]:
    """['--a=1', '--b.c', 'x'] -> ([], {'a': 1, 'b.c': 'x'}); ``--config_files`` becomes the list of files."""
    from recbole_conrec.utils.yaml_files import parse_value

    options: dict = {}
    rest = list(argv)
    while rest:
        argument = rest.pop(0)
        key, equals, value = argument.partition("=")
        if argument in FLAGS:
            value = "true"
        elif not key.startswith("--") or not (equals or (rest and not rest[0].startswith("--"))):
            raise UserError(f"'{argument}': expected --KEY=VALUE")
        elif not equals:
            value = rest.pop(0)
        if key[2:] in options:
            raise UserError(f"'{key}' is given twice")
        options[key[2:]] = value
    files = options.pop("config_files", "").split()
    return files, {key: value if key in TEXTS else parse_value(value) for key, value in options.items()}


def _options(argv: list[str]) -> dict:
    """The options of a command that reads no YAML."""
    files, options = parse(argv)
    if files:
        raise UserError(f"--config_files={files[0]}: this command takes no --config_files; give --KEY=VALUE")
    return options


def run(argv: list[str]) -> int:
    import torch

    from recbole_conrec.evaluation.table import render
    from recbole_conrec.runs.runner import run as run_one
    from recbole_conrec.utils.distributed import process_state

    files, options = parse(argv)
    if "leaderboard" in options:
        from recbole_conrec.leaderboard.report import run_board

        return run_board(files, options, _console())
    result = run_one(options.pop("model", None), options.pop("dataset", None), files, options)
    if process_state().num_processes > 1:
        torch.distributed.destroy_process_group()
    if not process_state().is_main_process:  # of several, one talks
        return 0
    console = _console()
    console.print(render([result.record]))
    console.print(
        f"written to {result.run_dir}/ (result.json, outcomes.parquet, config.yaml, run.log and the weights)",
        soft_wrap=True,
        highlight=False,
    )
    return 0


def convert(argv: list[str]) -> int:
    from recbole_conrec.data.convert import CONVERTERS, convert

    names = "\n".join(f"  {name:<16} {c.description}" for name, c in CONVERTERS.items())
    name = _positional(
        argv, f"convert NAME --raw=FOLDER [--out=dataset/] [--dataset=NAME] [--overwrite=True]\n\n{names}"
    )
    options = _options(argv[1:])
    if "raw" not in options:
        raise UserError(f"convert {name}: --raw=FOLDER is needed, the folder into which the download was unpacked")
    folders = str(options.pop("raw")), str(options.pop("out", "dataset"))  # a folder may be called 2024
    if options.get("dataset") is not None:
        options["dataset"] = str(options["dataset"])
    _print_counts(convert(name, *folders, **options))
    return 0


def simulate(argv: list[str]) -> int:
    from recbole_conrec.data.simulation.simulate import simulate

    options = _options(argv)
    _known("simulate", options, simulate)
    if "name" in options:
        options["name"] = str(options["name"])
    _print_counts(simulate(Path(str(options.pop("out", "dataset"))), **options))
    return 0


def inspect(argv: list[str]) -> int:
    from recbole_conrec.data.dataset import NegativeFeedbackDataset
    from recbole_conrec.data.inspection.measure import inspect
    from recbole_conrec.data.inspection.report import draw, show
    from recbole_conrec.runs.config import make_config

    name = _positional(argv, "inspect DATASET [--out=FOLDER] [--KEY=VALUE ...]")
    files, options = parse(argv[1:])
    out = Path(str(options.pop("out", "saved")))
    seen = inspect(NegativeFeedbackDataset(make_config("Pop", name, files, options)))
    show(seen, _console())
    print(f"picture: {draw(seen, out)}")
    return 0


def tokenize(argv: list[str]) -> int:
    from recbole_conrec.data.dataset import NegativeFeedbackDataset
    from recbole_conrec.runs.config import make_config
    from recbole_conrec.tokenizer.report import tokenize

    files, options = parse(argv)
    out = options.pop("out", None)
    if isinstance(options.get("tokenizer"), str):  # --tokenizer=rqvae: the name alone
        options["tokenizer.name"] = options.pop("tokenizer")
    config = make_config(options.pop("model", "CoNRec"), options.pop("dataset", None), files, options)
    tokenize(config, NegativeFeedbackDataset(config), out, _console())
    return 0


def predict(argv: list[str]) -> int:
    from recbole_conrec.filtering import commands

    commands.predict(_options(argv))
    return 0


def filter_candidates(argv: list[str]) -> int:
    from recbole_conrec.filtering import commands

    commands.filter(_options(argv))
    return 0


def study(argv: list[str]) -> int:
    kinds = {"coverage": _study_coverage, "metrics": _study_metrics, "filter": _study_filter}
    name = _positional(argv, f"study {'|'.join(kinds)} [--KEY=VALUE ...]")
    if name not in kinds:
        raise UserError(f"study: there is no '{name}'; there are {', '.join(kinds)}")
    return kinds[name](argv[1:])


def _study_filter(argv: list[str]) -> int:
    from recbole_conrec.filtering import commands

    commands.study(_options(argv), _console())
    return 0


def _study_coverage(argv: list[str]) -> int:
    from recbole_conrec.data.dataset import NegativeFeedbackDataset
    from recbole_conrec.runs.config import make_config
    from recbole_conrec.study.coverage_report import run_coverage

    files, options = parse(argv)
    own = {key: options.pop(key) for key in ("neighbours", "min_dislikes") if key in options}
    for key, value in own.items():
        if not isinstance(value, int) or value < 0:
            raise UserError(f"study: {key} = {value!r}; expected a whole number, 0 or more")
    kinds = options.pop("interests", None)
    kinds = str(kinds).replace(" ", "").split(",") if kinds is not None and not isinstance(kinds, list) else kinds
    out = Path(str(options.pop("out", "saved")))
    config = make_config(options.pop("model", "CoNRec"), options.pop("dataset", None), files, options)
    run_coverage(config, NegativeFeedbackDataset(config), kinds, out, _console(), **own)
    return 0


def _study_metrics(argv: list[str]) -> int:
    from recbole_conrec.leaderboard.report import narrowed
    from recbole_conrec.study.metrics import study_metrics

    options = _options(argv)
    name, out = str(options.pop("leaderboard", "metrics")), Path(str(options.pop("out", "saved")))
    study_metrics(narrowed(name, [], options), _console(), out)
    return 0


def tune(argv: list[str]) -> int:
    from recbole_conrec.study.tuning import show
    from recbole_conrec.study.tuning import tune as tune_one

    files, options = parse(argv)
    model, dataset, search = (options.pop(key, None) for key in ("model", "dataset", "search"))
    metric, points = tune_one(model, dataset, files, options, search)
    _console().print(show(model, metric, points))
    return 0


def explain(argv: list[str]) -> int:
    from recbole_conrec.runs.restore import find_run, load_run
    from recbole_conrec.study import explain as room

    files, options = parse(argv)
    own = {key: options.pop(key) for key in ("instance", "split", "stage", "k") if key in options}
    user, folder, out = (options.pop(key, None) for key in ("user", "run", "out"))
    if user is None:
        raise UserError(
            "usage: recbole-conrec explain --user=ID (--run=FOLDER | --model=NAME [--dataset=NAME] "
            "[--KEY=VALUE ...]) [--instance=1] [--split=test] [--stage=NAME] [--k=20] [--out=PAGE.html]"
        )
    if folder is None:
        folder, options = find_run(options.pop("model", None), options.pop("dataset", None), files, options)
    run = load_run(str(folder), options)
    seen = room.explain(run, str(user), **own)
    console = _console()
    console.print(room.view(run, seen))
    if out is not None:
        room.write_html(run, seen, str(out))
        console.print(f"page: {out}", highlight=False, soft_wrap=True)
    return 0


def compare(argv: list[str]) -> int:
    from recbole_conrec.leaderboard.report import run_compare

    names = argv[:2]
    if len(names) != 2 or any(name.startswith("--") for name in names):
        raise UserError(
            "usage: recbole-conrec compare A B [--leaderboard=NAME] [--dataset=NAME] [--metric=HR@20] "
            "[--out=FILE.csv]; A and B are rows of the board, or folders of two runs"
        )
    return run_compare(names, *parse(argv[2:]), _console())


def publish(argv: list[str]) -> int:
    from recbole_conrec.leaderboard.report import run_publish

    return run_publish(*parse(argv), _console())


def _positional(argv: list[str], usage: str) -> str:
    if not argv or argv[0].startswith("-"):
        raise UserError(f"usage: recbole-conrec {usage}")
    return argv[0]


def _known(command: str, options: dict, function) -> None:
    import inspect as python_inspect

    from recbole_conrec.utils.names import nearest

    known = python_inspect.signature(function).parameters
    for key in options:
        if key not in known:
            raise UserError(f"{command}: unknown option '{key}'{nearest(key, known)}; its options: {', '.join(known)}")


def _print_counts(counts: dict) -> None:
    print(
        ", ".join(
            f"{name} {count:,}" if isinstance(count, int) else f"{name} {count}" for name, count in counts.items()
        )
    )


def _console():
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=100)


SUBCOMMANDS = {
    "run": (run, "the same as run_recbole_conrec.py"),
    "tune": (tune, "the small search of properties/search.yaml for one model, decided on validation"),
    "compare": (compare, "where two rows of a leaderboard differ, instance by instance"),
    "publish": (publish, "a leaderboard's records as files that may be passed on"),
    "explain": (explain, "one user's prompt, a run's answers to it, and how the reward judges them"),
    "tokenize": (tokenize, "make or load the semantic IDs of a data set, and report on them"),
    "inspect": (inspect, "what a data set holds under its protocol, with warnings and a picture"),
    "study": (study, "coverage: what the window holds; metrics: whether they tell the truth; filter: what it does"),
    "predict": (predict, "write users' Predict Sets by a trained run, and calibrate the filter"),
    "filter": (filter_candidates, "drop candidates by Predict Sets, without the model"),
    "convert": (convert, "an official download into RecBole's atomic files"),
    "simulate": (simulate, "write a log whose true dislikes are known"),
}
