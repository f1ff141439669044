"""The one exception for a user's mistake."""


class UserError(Exception):
    """A mistake in a file, an option or a command, described in one line.

    The message names what is wrong (file, row, field or option), what was expected, and the fix. The command line
    prints it without a traceback and exits with ``exit_code``.
    """

    exit_code = 2
