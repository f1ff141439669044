"""The command line: arguments and subcommands, nothing else."""

import contextlib
import errno
import logging
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import disk_fault
from recbole_conrec.utils.processes import end_with_parent

TEXTS = {"user"}  # kept as text: in YAML 010 is 8
USERS = (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError)  # errors that a path brings about
EMPTY = {"gpu_id"}  # options that may be empty: no GPU
FLAGS = {"--dry-run", "--commands", "--overwrite"}  # options that may stand without a value
USAGE = """\
usage: run_recbole_conrec.py --model=NAME [--dataset=NAME] [--config_files="A.yaml B.yaml"] [--KEY=VALUE ...]
       run_recbole_conrec.py --leaderboard=NAME [--methods=A,B] [--seeds=3] [--dataset=NAME] [--jobs=N] [--dry-run]
       recbole-conrec SUBCOMMAND [--KEY=VALUE ...]

Train one model and print its table: --model=CoNRec, SASRec, BERT4Rec, Caser, FDSA, S3Rec, Pop, ItemSwing, any
sequential model of RecBole, or a class of your own (--model=package.module:Class). Any option of RecBole or of the
YAML files in properties/ can be given as --KEY=VALUE; dots reach into mappings: --window.length=3.
A leaderboard (paper, quick, beyond, or the path of a YAML) runs the methods without a record; docs/leaderboard.md.

subcommands
{subcommands}"""


def main(argv: list[str] | None = None) -> int:
    """Run a command line. Returns the exit code: 0; 1 if a leaderboard is not complete; 2 for a mistake in the
    command, a file, an option or the disk; 75 if another process is at the same run; 130 if it was interrupted; 141 if
    nobody reads its output any more.
    """
    argv = sys.argv[1:] if argv is None else argv
    if not {"", os.getcwd()} & set(sys.path):  # as `python -m` has it: models may lie in the folder one works in
        sys.path.insert(0, os.getcwd())
    signal.signal(signal.SIGTERM, _interrupt)  # how a scheduler stops a job: a board then ends its runs, too
    end_with_parent()
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"  # the source line does not help the user
    # RecBole's deprecation warnings do not concern the user
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"recbole\.")
    logging.raiseExceptions = False  # no traceback of a log on a full disk: the next file that is written says so
    try:
        code = _dispatch(argv)
        if sys.stdout:
            sys.stdout.flush()
        return code
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # `| head` has read enough
        _close_output()
        return 128 + signal.SIGPIPE
    except OSError as error:
        fault = disk_fault(error)
        if not (isinstance(error, USERS) or fault or error.errno in (errno.ENAMETOOLONG, errno.ELOOP)):
            raise
        fix = f"{fault.remedy}, and run the same command again" if fault else "give another file or folder"
        print(f"error: {error.filename or 'output'}: {error.strerror or error}; {fix}", file=sys.stderr)
        if fault:
            _close_output()
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last finished epoch or stage", file=sys.stderr)
        return 130


def _dispatch(argv: list[str]) -> int:
    name = argv[0] if argv and not argv[0].startswith("-") else "run"
    if not argv or {"-h", "--help"} & set(argv):
        print(USAGE.format(subcommands="\n".join(f"  {key:<10} {text}" for key, (_, text) in SUBCOMMANDS.items())))
        return 0
    if name not in SUBCOMMANDS:
        from recbole_conrec.utils.names import nearest

        raise UserError(f"unknown subcommand '{name}'{nearest(name, SUBCOMMANDS)}; see --help")
    return SUBCOMMANDS[name][0](argv[1:] if argv[0] == name else argv) or 0


def _close_output() -> None:
    """Let nothing more be written where it cannot be: Python flushes its output once more when it ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
        if not value.strip() and key[2:] not in EMPTY:
            raise UserError(f"'{key}=' has no value; give one, or null where an option may have none")
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

    from recbole_conrec.evaluation.table import render, shown
    from recbole_conrec.runs.runner import run as run_one
    from recbole_conrec.utils.distributed import process_state
    from recbole_conrec.utils.yaml_files import read_yaml

    files, options = parse(argv)
    asked = "topk" in options or any("topk" in read_yaml(file) for file in files)
    if "leaderboard" in options:
        from recbole_conrec.leaderboard.commands import run_board

        return run_board(files, options, _console())
    result = run_one(None, None, files, options)
    if process_state().num_processes > 1:
        torch.distributed.destroy_process_group()
    if not process_state().is_main_process:  # only the main process prints
        return 0
    console = _console()
    topk = result.record["config"]["topk"] if asked else ()
    console.print(render([result.record], shown(result.record, topk)))
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
    _print_counts(convert(name, **_options(argv[1:])))
    return 0


def simulate(argv: list[str]) -> int:
    from recbole_conrec.data.simulation.simulate import SimulateOptions, simulate

    _print_counts(simulate(SimulateOptions.read(_options(argv), "simulate")))
    return 0


def inspect(argv: list[str]) -> int:
    from recbole_conrec.data.dataset import NegativeFeedbackDataset
    from recbole_conrec.data.inspection.measure import inspect
    from recbole_conrec.data.inspection.report import InspectOptions, draw, show
    from recbole_conrec.runs.config import make_config

    name = _positional(argv, "inspect DATASET [--out=FOLDER] [--KEY=VALUE ...]")
    files, options = parse(argv[1:])
    own, options = InspectOptions.take(options, "inspect")
    seen = inspect(NegativeFeedbackDataset(make_config("Pop", name, files, options)))
    show(seen, _console())
    print(f"picture: {draw(seen, Path(own.out))}")
    return 0


def tokenize(argv: list[str]) -> int:
    from recbole_conrec.data.dataset import NegativeFeedbackDataset
    from recbole_conrec.runs.config import make_config
    from recbole_conrec.tokenizer.report import TokenizeOptions, tokenize

    files, options = parse(argv)
    own, options = TokenizeOptions.take(options, "tokenize")
    if isinstance(options.get("tokenizer"), str):  # --tokenizer=rqvae: the name alone
        options["tokenizer.name"] = options.pop("tokenizer")
    config = make_config(own.model, own.dataset, files, options)
    tokenize(config, NegativeFeedbackDataset(config), own, _console())
    return 0


def predict(argv: list[str]) -> int:
    from recbole_conrec.filtering.predict_command import PredictOptions, predict_command

    predict_command(*_of_run("predict", PredictOptions, _options(argv)))
    return 0


def filter_candidates(argv: list[str]) -> int:
    from recbole_conrec.filtering.filter_command import FilterOptions, filter_command

    filter_command(FilterOptions.read(_options(argv), "filter"))
    return 0


def study(argv: list[str]) -> int:
    kinds = {"coverage": _study_coverage, "metrics": _study_metrics, "filter": _study_filter}
    name = _positional(argv, f"study {'|'.join(kinds)} [--KEY=VALUE ...]")
    if name not in kinds:
        raise UserError(f"study: there is no '{name}'; there are {', '.join(kinds)}")
    return kinds[name](argv[1:])


def _study_filter(argv: list[str]) -> int:
    from recbole_conrec.study.filter import FilterStudyOptions
    from recbole_conrec.study.filter_report import run_filter_study

    run_filter_study(*_of_run("study filter", FilterStudyOptions, _options(argv)), _console())
    return 0


def _study_coverage(argv: list[str]) -> int:
    from recbole_conrec.data.dataset import NegativeFeedbackDataset
    from recbole_conrec.runs.config import make_config
    from recbole_conrec.study.coverage import CoverageOptions
    from recbole_conrec.study.coverage_report import run_coverage

    files, options = parse(argv)
    own, options = CoverageOptions.take(options, "study coverage")
    config = make_config(own.model, own.dataset, files, options)
    run_coverage(config, NegativeFeedbackDataset(config), own, _console())
    return 0


def _study_metrics(argv: list[str]) -> int:
    from recbole_conrec.leaderboard.commands import narrowed
    from recbole_conrec.study.metrics import MetricsOptions
    from recbole_conrec.study.metrics_report import run_metrics

    own, options = MetricsOptions.take(_options(argv), "study metrics")
    run_metrics(narrowed(own.leaderboard, [], options), Path(own.out), _console())
    return 0


def tune(argv: list[str]) -> int:
    from recbole_conrec.study import tuning

    files, options = parse(argv)
    own, options = tuning.TuneOptions.take(options, "tune")
    _console().print(tuning.show(tuning.tune(own, files, options)))
    return 0


def explain(argv: list[str]) -> int:
    from recbole_conrec.runs.restore import find_run, load_run
    from recbole_conrec.study.explain import ExplainOptions
    from recbole_conrec.study.explain_report import run_explain

    files, options = parse(argv)
    if options.get("run") is not None:
        if files:
            raise UserError(f"--config_files={files[0]}: --run decides the options; leave one of the two out")
        own, where = _of_run("explain", ExplainOptions, options)
        folder = Path(str(own.run))
    else:
        own, options = ExplainOptions.take(options, "explain")
        folder, where = find_run(own.model, own.dataset, files, options)
    run_explain(load_run(folder, where), own, _console())
    return 0


def compare(argv: list[str]) -> int:
    from recbole_conrec.leaderboard.commands import run_compare

    names = argv[:2]
    if len(names) != 2 or any(name.startswith("--") for name in names):
        raise UserError(
            "usage: recbole-conrec compare A B [--leaderboard=NAME] [--dataset=NAME] [--metric=HR@20] "
            "[--out=FILE.csv]; A and B are methods of the board, or folders of two runs"
        )
    return run_compare(names, *parse(argv[2:]), _console())


def publish(argv: list[str]) -> int:
    from recbole_conrec.leaderboard.commands import run_publish

    return run_publish(*parse(argv), _console())


def _positional(argv: list[str], usage: str) -> str:
    if not argv or argv[0].startswith("-"):
        raise UserError(f"usage: recbole-conrec {usage}")
    return argv[0]


def _of_run(command: str, kind, options: dict) -> tuple[Any, dict]:
    """The options of a command about a finished run, typed, and those that say where to run.

    Args:
        kind: the class of the command's own options.

    Raises UserError for an option that seems to be a misspelt one of these; load_run refuses the run's own.
    """
    from recbole_conrec.runs.records import WHERE
    from recbole_conrec.utils.names import nearest

    for key in options:
        if key not in {*kind.model_fields, *WHERE} and (hint := nearest(key, [*kind.model_fields, *WHERE])):
            raise UserError(f"{command}: unknown option '{key}'{hint}; its options: {', '.join(kind.model_fields)}")
    return kind.take(options, command)


def _print_counts(counts: dict) -> None:
    print(
        ", ".join(
            f"{name} {count:,}" if isinstance(count, int) else f"{name} {count}" for name, count in counts.items()
        )
    )


def _console():
    from rich.console import Console

    # names are printed as they are: [x] is no markup of rich, and :x: no emoji
    width = None if sys.stdout and sys.stdout.isatty() else 100
    return Console(width=width, markup=False, emoji=False)


SUBCOMMANDS = {
    "run": (run, "the same as run_recbole_conrec.py"),
    "tune": (tune, "the small search of properties/search.yaml for one model, decided on validation"),
    "compare": (compare, "where two methods of a leaderboard differ, instance by instance"),
    "publish": (publish, "a leaderboard's records as files that may be passed on"),
    "explain": (explain, "one user's prompt, a run's answers to it, and how the reward judges them"),
    "tokenize": (tokenize, "make or load the semantic IDs of a data set, and report on them"),
    "inspect": (inspect, "what a data set holds under its protocol, with warnings and a picture"),
    "study": (study, "coverage: what the window holds; metrics: do they rank by true quality; filter: what it does"),
    "predict": (predict, "write users' Predict Sets by a trained run, and calibrate the filter"),
    "filter": (filter_candidates, "drop candidates by Predict Sets, without the model"),
    "convert": (convert, "an official download into RecBole's atomic files"),
    "simulate": (simulate, "write a log whose true dislikes are known"),
}
