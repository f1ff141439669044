"""Tables for the terminal."""

from rich import box
from rich.table import Table


def titled_table(title: str, *columns: str, no_wrap: bool = False) -> Table:
    """An empty table below a bold title; the first column is aligned left, the others right."""
    table = Table(
        title=f"\n{title}",
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        caption_style="dim",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=no_wrap)
    return table
