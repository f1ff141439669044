"""Tables for the terminal."""

from rich import box
from rich.table import Table
from rich.text import Text


def one_line(text: str) -> str:
    """A name or message for one cell: line ends become blanks, and what cannot be printed a question mark."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))


def plain(text: str, style: str = "") -> Text:
    """A name or message as it is, whatever rich would read in it: [x] is no markup."""
    return Text(one_line(text), style)


def titled_table(title: str, *columns: str, no_wrap: bool = False) -> Table:
    """An empty table below a bold title; the first column is aligned left, the others right."""
    table = Table(
        title=Text(f"\n{title}", "bold"),
        title_justify="left",
        caption_justify="left",
        caption_style="dim",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=no_wrap)
    return table
