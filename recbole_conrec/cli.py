"""The command line: which subcommand, what ends it, and its exit code; commands.py has the subcommands."""

import contextlib
import errno
import logging
import os
import re
import signal
import sys
import warnings

from recbole_conrec.arguments import parse as parse
from recbole_conrec.subcommands import COMMANDS
from recbole_conrec.utils.errors import UserError
from recbole_conrec.utils.files import disk_fault
from recbole_conrec.utils.names import nearest
from recbole_conrec.utils.processes import end_with_parent
from recbole_conrec.utils.version import __version__

USERS = (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError)  # errors that a path brings about
SUBCOMMANDS = tuple(dict.fromkeys(name.split(" ")[0] for name in COMMANDS))
COMPLETION = "_RECBOLE_CONREC_COMPLETE"  # set by the shell that asks for completions
OF_THE_GROUP = ("-h", "--help", "--install-completion", "--show-completion")


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
    except (MemoryError, RuntimeError) as error:
        if (what := _lack_of_memory(error)) is None:
            raise
        print(
            f"error: no memory left ({what}); lower what takes it: a size, a batch, the length of lists",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command resumes from the last finished epoch or stage", file=sys.stderr)
        return 130


def _lack_of_memory(error: Exception) -> str | None:
    """What could not be allocated, if that is why something failed; torch is not imported to ask."""
    signs = ("can't allocate memory", "out of memory", "Unable to allocate")
    if not isinstance(error, MemoryError) and not any(sign in str(error) for sign in signs):
        return None
    found = re.search(r"allocate (\d[\d.]* \w+)", str(error))
    return f"{found[1]} at once" if found else "it was asked for more than there is"


def _dispatch(argv: list[str]) -> int:
    if COMPLETION in os.environ or not argv or argv[0].split("=")[0] in OF_THE_GROUP:
        return _typer(argv or ["--help"])
    if argv == ["--version"]:
        print(f"recbole-conrec {__version__}")
        return 0
    name = argv[0] if not argv[0].startswith("-") else "run"
    words = argv[1:] if argv[0] == name else argv
    if name not in SUBCOMMANDS:
        raise UserError(f"unknown subcommand '{name}'{nearest(name, SUBCOMMANDS)}; see --help")
    if {"-h", "--help"} & set(words):
        return _typer([name, *(word for word in words if word in _under(name)), "--help"])
    if under := _under(name):
        if not words or words[0].startswith("-"):
            raise UserError(f"usage: recbole-conrec {name} {'|'.join(under)} [--KEY=VALUE ...]")
        if words[0] not in under:
            raise UserError(f"{name}: there is no '{words[0]}'; there are {', '.join(under)}")
        name, words = f"{name} {words[0]}", words[1:]
    return COMMANDS[name].run(words) or 0


def _under(name: str) -> list[str]:
    """The subcommands of a subcommand."""
    return [one.removeprefix(f"{name} ") for one in COMMANDS if one.startswith(f"{name} ")]


def _typer(argv: list[str]) -> int:
    """Help and completion."""
    from recbole_conrec.shell import application

    return application()(args=argv, prog_name="recbole-conrec", standalone_mode=False) or 0


def _close_output() -> None:
    """Let nothing more be written where it cannot be: Python flushes its output once more when it ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupt(*_):
    raise KeyboardInterrupt
