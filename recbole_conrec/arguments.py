"""The words of a command line as options."""

from recbole_conrec.utils.errors import UserError

TEXTS = {"user"}  # kept as text: in YAML 010 is 8
EMPTY = {"gpu_id"}  # options that may be empty: no GPU
FLAGS = {"--dry-run", "--commands", "--overwrite", "--tune"}  # options that need no value


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
