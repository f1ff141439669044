"""What the subcommands do: from the words of a command line to a function of the package."""

import sys
from pathlib import Path
from typing import Any

from recbole_conrec.arguments import parse
from recbole_conrec.utils.errors import UserError


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
        from recbole_conrec.study.tuning_board import tuned

        return run_board(files, options, _console(), tuned)
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
    seen = inspect(NegativeFeedbackDataset(make_config("Pop", name, files, options, InspectOptions.model_fields)))
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
    config = make_config(own.model, own.dataset, files, options, type(own).model_fields)
    tokenize(config, NegativeFeedbackDataset(config), own, _console())
    return 0


def predict(argv: list[str]) -> int:
    from recbole_conrec.filtering.predict_command import PredictOptions, predict_command
    from recbole_conrec.options.layers import lay

    options = lay({}, _options(argv))  # --resources.gpus=1
    predict_command(*_of_run("predict", PredictOptions, options))
    return 0


def filter_candidates(argv: list[str]) -> int:
    from recbole_conrec.filtering.filter_command import FilterOptions, filter_command

    filter_command(FilterOptions.read(_options(argv), "filter"))
    return 0


def study_filter(argv: list[str]) -> int:
    from recbole_conrec.study.filter import FilterStudyOptions
    from recbole_conrec.study.filter_report import run_filter_study

    run_filter_study(*_of_run("study filter", FilterStudyOptions, _options(argv)), _console())
    return 0


def study_coverage(argv: list[str]) -> int:
    from recbole_conrec.data.dataset import NegativeFeedbackDataset
    from recbole_conrec.runs.config import make_config
    from recbole_conrec.study.coverage import CoverageOptions
    from recbole_conrec.study.coverage_report import run_coverage

    files, options = parse(argv)
    own, options = CoverageOptions.take(options, "study coverage")
    config = make_config(own.model, own.dataset, files, options, type(own).model_fields)
    run_coverage(config, NegativeFeedbackDataset(config), own, _console())
    return 0


def study_metrics(argv: list[str]) -> int:
    from recbole_conrec.leaderboard.commands import narrowed
    from recbole_conrec.study.metrics import MetricsOptions
    from recbole_conrec.study.metrics_report import run_metrics

    own, options = MetricsOptions.take(_options(argv), "study metrics")
    run_metrics(narrowed(own.leaderboard, [], options), Path(own.out), _console(), own.pools)
    return 0


def tune(argv: list[str]) -> int:
    from recbole_conrec.study import tuning, tuning_report

    files, options = parse(argv)
    own, options = tuning.TuneOptions.take(options, "tune")
    found = tuning.tune(own, files, options)
    if own.report:
        console = _console()
        console.print(tuning_report.show(found))
        console.print(f"written to {tuning_report.write(found, Path(own.out))}", soft_wrap=True, highlight=False)
    return 0


def explain(argv: list[str]) -> int:
    from recbole_conrec.runs.restore import find_run, load_run
    from recbole_conrec.runs.threads import pinned
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
        folder, where = find_run(own.model, own.dataset, files, options, ExplainOptions.model_fields)
    run = load_run(folder, where)
    with pinned(run.place.threads):
        run_explain(run, own, _console())
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


def push(argv: list[str]) -> int:
    from recbole_conrec.runs.hub import PushOptions, check, push
    from recbole_conrec.runs.restore import load_run

    own, where = _of_run("push", PushOptions, _options(argv))
    check(own)
    print(f"pushed to {push(load_run(own.run, where), own)}")
    return 0


def pull(argv: list[str]) -> int:
    from recbole_conrec.runs.hub import PullOptions, pull

    print(f"pulled into {pull(PullOptions.read(_options(argv), 'pull'))}/")
    return 0


def list_names(argv: list[str]) -> int:
    from recbole_conrec.names import KINDS, named
    from recbole_conrec.utils.names import nearest

    kind = _positional(argv, f"list {'|'.join(KINDS)}")
    if kind not in KINDS:
        raise UserError(f"list: there are no '{kind}'{nearest(kind, KINDS)}; there are {', '.join(KINDS)}")
    if argv[1:]:
        raise UserError(f"list: '{argv[1]}': expected nothing after '{kind}'")
    found = named(kind)
    width = max(map(len, found))
    for name, about in found.items():
        print(f"{name:<{width}}  {about}".rstrip())
    return 0


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
    from recbole_conrec.runs.identity import WHERE
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
