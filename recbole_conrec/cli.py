"""The command line: arguments and subcommands, nothing else."""

import sys
import warnings

from recbole_conrec.errors import UserError

USAGE = """\
usage: run_recbole_conrec.py --model=NAME [--dataset=NAME] [--config_files="A.yaml B.yaml"] [--KEY=VALUE ...]
       recbole-conrec SUBCOMMAND [--KEY=VALUE ...]

Train one model and print its table: --model=CoNRec, SASRec, BERT4Rec, Caser, FDSA, S3Rec, Pop, ItemSwing, any
sequential model of RecBole, or a class of your own (--model=package.module:Class). Any option of RecBole or of the
YAML files in properties/ can be given as --KEY=VALUE; dots reach into mappings: --window.length=3.

subcommands
{subcommands}"""


def main(argv: list[str] | None = None) -> int:
    """Run a command line. Returns the exit code: 0, or 2 for a mistake in the command, a file or an option."""
    argv = sys.argv[1:] if argv is None else argv
    # RecBole's calls of pandas and torch functions that will change one day are no news to a user
    warnings.filterwarnings("ignore", category=FutureWarning, module="recbole")
    try:
        name = argv[0] if argv and not argv[0].startswith("-") else "run"
        if not argv or {"-h", "--help"} & set(argv):
            print(USAGE.format(subcommands="\n".join(f"  {key:<10} {text}" for key, (_, text) in SUBCOMMANDS.items())))
            return 0
        if name not in SUBCOMMANDS:
            from recbole_conrec.config import nearest

            raise UserError(f"unknown subcommand '{name}'{nearest(name, SUBCOMMANDS)}; see --help")
        return SUBCOMMANDS[name][0](argv[1:] if argv[0] == name else argv) or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def parse(argv: list[str]) -> tuple[list[str], dict]:
    """['--a=1', '--b.c=x'] -> ([], {'a': 1, 'b.c': 'x'}); ``--config_files`` becomes the list of files."""
    from recbole_conrec.config import parse_value

    options: dict = {}
    for argument in argv:
        key, equals, value = argument.partition("=")
        if not key.startswith("--") or not equals:
            raise UserError(f"'{argument}': expected --KEY=VALUE")
        if key[2:] in options:
            raise UserError(f"'{key}' is given twice")
        options[key[2:]] = value
    files = options.pop("config_files", "").split()
    return files, {key: parse_value(value) for key, value in options.items()}


def run(argv: list[str]) -> int:
    from rich.console import Console

    from recbole_conrec.evaluation.table import render
    from recbole_conrec.runner import run as run_one

    files, options = parse(argv)
    result = run_one(options.pop("model", None), options.pop("dataset", None), files, options)
    console = Console() if sys.stdout.isatty() else Console(width=100)
    console.print(render([result.record]))
    console.print(f"written to {result.run_dir}/ (result.json, config.yaml, outcomes.npz, model.safetensors, run.log)",
                  soft_wrap=True, highlight=False)
    return 0


SUBCOMMANDS = {"run": (run, "the same as run_recbole_conrec.py")}
