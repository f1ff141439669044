"""A search as a table, and as a page with Optuna's plots."""

import html
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna import visualization
from rich import box
from rich.table import Table

from recbole_conrec.evaluation.table import count, seconds
from recbole_conrec.study.tuning import Search
from recbole_conrec.utils.files import write_text

SHOWN = 20  # lines of the table in the terminal
STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem }
.scroll { overflow-x: auto }
.plot { background: #fff; color: #000; margin: 1rem 0; border-radius: 4px; overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
td, th { padding: .2rem .8rem .2rem 0; text-align: left }
tbody tr:first-child { font-weight: 600 } code { overflow-wrap: anywhere }
"""
PLOTS: tuple[tuple[str, Callable[..., Any]], ...] = (
    ("Best value so far", visualization.plot_optimization_history),
    ("Validation curves", visualization.plot_intermediate_values),
    ("Importance of the options", visualization.plot_param_importances),
    ("Each option", visualization.plot_slice),
    ("All options of a trial", visualization.plot_parallel_coordinate),
    ("When trials ran", visualization.plot_timeline),
)


def show(found: Search) -> Table:
    """The best trials as a table; its caption repeats the options of the best one as a command."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False, caption_justify="left")
    head, *lines = _lines(found, SHOWN)
    for n, column in enumerate(head):
        figures = n >= len(head) - 4
        table.add_column(column, justify="right" if figures else "left", no_wrap=figures)
    for n, line in enumerate(lines):
        table.add_row(*line, style="bold" if n == 0 else "")
    table.caption = f"* {summary(found)}: {command(found)}"
    return table


def _lines(found: Search, most: int | None = None) -> Iterator[list[str]]:
    options = list(dict.fromkeys(option for point in found.points for option in point.options))
    yield [*options, f"{found.metric} (validation)", "epochs", "fit", "params"]
    for n, point in enumerate(found.points[:most]):
        yield [
            *(str(point.options.get(option, "")) for option in options),
            f"{point.valid:.4f}{' ' if n else '*'}",
            str(point.epochs),
            seconds(point.fit_s),
            count(point.parameters),
        ]


def summary(found: Search) -> str:
    """'best of 20 (3 pruned, 1 failed)'."""
    others = [f"{n} {what}" for n, what in ((found.pruned, "pruned"), (found.failed, "failed")) if n]
    return f"best of {found.trials}" + (f" ({', '.join(others)})" if others else "")


def command(found: Search) -> str:
    """The options of the best trial as words of a command line."""
    return " ".join([f"--model={found.model}", *(f"--{o}={v}" for o, v in found.points[0].options.items())])


def write(found: Search, folder: Path, name: str = "") -> Path:
    """Write the page, which needs no network and no other file; returns its path. ``name``: in place of the model's."""
    name = name or found.model
    head, *lines = ([html.escape(cell) for cell in line] for line in _lines(found))
    table = "".join(f"<tr><td>{'</td><td>'.join(line)}</td></tr>" for line in lines)
    title = html.escape(f"{name} on {found.dataset}")
    why = f"<p>The last trial that failed: {html.escape(found.why)}</p>" if found.why else ""
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{STYLE}</style><h1>{title}</h1>"
        f"<p>{found.metric} on validation, {summary(found)}; the test was not looked at.</p>"
        f"<p><code>{html.escape(command(found))}</code></p>{why}"
        f'<div class="scroll"><table><thead><tr><th>{"</th><th>".join(head)}</th></tr></thead>'
        f"<tbody>{table}</tbody></table></div>{''.join(_plots(found.study, found.metric))}</html>\n"
    )
    stem = re.sub(r"[^\w.-]+", "_", name)
    file = folder / f"{stem}-{found.dataset}.html"
    write_text(file, page)
    return file


def _plots(study: optuna.Study, metric: str) -> Iterator[str]:
    """The plots that Optuna can draw of these trials; the first brings plotly with it."""
    library: bool | str = "inline"
    named = {visualization.plot_intermediate_values, visualization.plot_timeline}
    for title, plot in PLOTS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                figure = plot(study) if plot in named else plot(study, target_name=metric)
            except (ValueError, RuntimeError, ZeroDivisionError):  # too few trials, or all alike
                continue
        figure.update_layout(title=title, template="plotly_white", autosize=True)
        yield f'<div class="plot">{figure.to_html(full_html=False, include_plotlyjs=library)}</div>'
        library = False
