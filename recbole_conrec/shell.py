"""Help, completion and the options of every subcommand, by typer; the values themselves are read by arguments.py.

The options come from catalogue.json, so that a page of help imports no torch. Any other --KEY=VALUE passes through.
"""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from recbole_conrec.names import catalogue, named
from recbole_conrec.subcommands import COMMANDS, Command

HELP = """A benchmark for negative-feedback recommendation.

Without a subcommand: `run`, as in recbole-conrec --model=CoNRec or recbole-conrec --leaderboard=quick. An option is
given as --KEY=VALUE; dots reach into mappings: --window.length=3. recbole-conrec SUBCOMMAND --help has its options.
"""
VALUES = {"model": "models", "dataset": "datasets", "leaderboard": "boards"}
"""Options whose values can be completed, and what with."""
VERSION = typer.Option("--version", help="Show the version and exit.")


class _Open(TyperCommand):
    """A command that leaves the reading of its words to the function that it calls, but for --help."""

    def parse_args(self, ctx, args):
        if {"-h", "--help"} & set(args):
            return super().parse_args(ctx, ["--help"])
        if not ctx.resilient_parsing:
            ctx.args = list(args)
            return ctx.args
        return super().parse_args(ctx, args)


def application() -> typer.Typer:
    """The command line as a typer application."""
    settings: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
    app = typer.Typer(help=HELP, rich_markup_mode=None, context_settings=settings)
    app.callback()(_with_version)
    groups: dict[str, typer.Typer] = {"": app}
    for name, command in COMMANDS.items():
        group, _, last = name.rpartition(" ")
        if group not in groups:
            about = "studies: " + ", ".join(one.rpartition(" ")[2] for one in COMMANDS if one.startswith(f"{group} "))
            groups[group] = typer.Typer(help=about, rich_markup_mode=None)
            app.add_typer(groups[group], name=group)
        more = f"Besides these: {command.also}." if command.also else None
        groups[group].command(
            last,
            cls=_Open,
            help=f"{command.about[0].upper()}{command.about[1:]}.\n\nExample: {command.example}",
            short_help=command.about,
            epilog=more,
            options_metavar=f"{command.positional} [--KEY=VALUE ...]".strip(),
            context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
        )(_function(name, command))
    return app


def _with_version(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    pass


def _function(name: str, command: Command) -> Callable:
    """A function with the command's options as parameters, as typer reads them."""

    def call(ctx: typer.Context, **_: Any) -> None:
        raise typer.Exit(command.run(ctx.args) or 0)

    parameters = [inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    for option, kind, default, text in catalogue()["options"].get(name, ()):
        note = "required" if default == "required" else f"default: {default}" if default else ""
        about = f"{text} [{'; '.join(filter(None, (kind, note)))}]"
        complete = _completion(VALUES[option]) if option in VALUES else None
        declared = typer.Option(f"--{option}", help=about, metavar="", show_default=False, autocompletion=complete)
        parameters.append(
            inspect.Parameter(
                option.replace(".", "_"),
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[str | None, declared],
            )
        )
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def _completion(kind: str) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [name for name in named(kind) if name.startswith(incomplete)]

    return complete
