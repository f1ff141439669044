"""The one exception that stands for a user's mistake."""


class UserError(Exception):
    """A mistake in a file, an option or a command, told in one line.

    The message names what is at fault (file, row, field or option), what was expected, and the mend. The command
    line prints it without a traceback and exits with ``exit_code``.
    """

    exit_code = 2
