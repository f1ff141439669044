"""A filter study as tables, a CSV file and two pictures."""

import csv
import math
from pathlib import Path

from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.table import Table

from recbole_conrec.runs.restore import load_run
from recbole_conrec.runs.threads import pinned
from recbole_conrec.study.filter import FilterStudyOptions, Study, study
from recbole_conrec.utils.files import replacing, save_figure, write_text

COLUMNS = {
    "dislikes_removed": "dislikes removed",
    "tail_removed": "long tail removed",
    "likes_lost": "likes lost",
    "filter_rate": "filter rate",
    "coverage": "coverage",
    "diversity": "diversity",
    "entropy": "entropy",
    "short": "short lists",
    "truth_removed": "truth removed",
    "truth_kept": "truth kept",
}
CHANGES = ("coverage", "diversity", "entropy")  # shown as a difference to no filter
Cells = tuple[str, list[str], list[list[str]]]  # title, head, rows


def run_filter_study(options: FilterStudyOptions, where: dict, console: Console) -> None:
    """Load a run, study the filter, print and write the results; see docs/filtering.md.

    Args:
        where: options that say where to run, see :func:`recbole_conrec.runs.restore.load_run`.
    """
    run = load_run(options.run, where)
    with pinned(run.place.threads):
        found = study(run, options)
    write_report(found, options.folder, console)


def write_report(found: Study, out: Path, console: Console) -> list[Path]:
    """Print the tables; write filter.csv, filter.md, trade-off.png and thresholds.png into ``out``; returns them."""
    out.mkdir(parents=True, exist_ok=True)
    tables = [_table(found, name) for name in found.counts] + [_calibration(found)]
    for title, head, rows in tables:
        table = Table(
            title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0
        )
        for number, name in enumerate(head):
            table.add_column(name.replace(" ", "\n"), justify="right" if number else "left", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    files = [out / name for name in ("filter.csv", "filter.md", "trade-off.png", "thresholds.png")]
    with replacing(files[0]) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        figures = [*found.rows, *found.calibrated]
        writer = csv.DictWriter(stream, list(dict.fromkeys(key for row in figures for key in row)))
        writer.writeheader()
        writer.writerows(figures)
    write_text(files[1], "\n".join(_markdown(*table) for table in tables))
    for file, figure in zip(files[2:], (trade_off(found), over_thresholds(found)), strict=True):
        save_figure(figure, file, dpi=120)
    console.print(f"written to {out}/ ({', '.join(file.name for file in files)})", highlight=False)
    return files


def _table(study: Study, population: str) -> Cells:
    """Each rule's figures for a population, with sets of full size."""
    rows = [row for row in study.rows if row["population"] == population and row["size"] in (None, study.size)]
    columns = [name for name in COLUMNS if any(not math.isnan(row.get(name, math.nan)) for row in rows)]
    counts = study.counts[population]
    title = (
        f"{study.title}, {population}: {counts['users']:,} users, {counts['dislikes']:,} future dislikes, "
        f"{counts['likes']:,} likes, {counts['candidates']:,} candidates, Predict Sets of {study.size}, "
        f"AUC {study.auc[population]:.3f}"
    )
    head = ["", *(f"{'Δ ' if name in CHANGES else ''}{COLUMNS[name]}" for name in columns)]
    body = []
    for row in rows:
        first = row is rows[0]  # drops nothing
        cells = (_figure(name, row[name], None if first else rows[0][name]) for name in columns)
        body.append([_label(row), *cells])
    return title, head, body


def _label(row: dict) -> str:
    return f"theta {row['theta']:.2f}" if row["rule"] == "filter" else row["rule"]


def _figure(name: str, value: float, nothing: float | None) -> str:
    """A cell; ``nothing`` is the figure without a filter, None in that row itself."""
    if math.isnan(value):
        return "-"
    if name in CHANGES:
        return f"{value:.3f}" if nothing is None else f"{value - nothing:+.3f}"
    return f"{value:.3f}" if name.startswith("truth") else f"{value:.1%}"


def _calibration(study: Study) -> Cells:
    """What each calibrated theta promised on validation, and what it did on the test part."""
    head = ["calibrated", "size", "theta", "lost on validation", "lost on test", "dislikes removed", "filter rate"]
    rows = [row for row in study.calibrated if row["population"] == "all users"]
    shares = ("validation", "likes_lost", "dislikes_removed", "filter_rate")
    body = [
        [
            f"{row['target']:.0%} lost, {row['kind']}",
            str(row["size"]),
            " ".join(f"{t:.3f}" for t in row["theta"]),
            *(f"{row[name]:.1%}" for name in shares),
        ]
        for row in rows
    ]
    return f"{study.title}: theta chosen on validation, measured on the test part", head, body


def _markdown(title: str, head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] + ["---:"] * (len(head) - 1), *rows]]
    return "\n".join([f"{title}\n", *lines, ""])


def trade_off(study: Study) -> Figure:
    """Dislikes removed over likes lost, one panel per population: a curve over theta for each size of the sets."""
    figure = Figure(figsize=(5.6 * len(study.counts), 5.4), layout="constrained")
    for axes, population in zip(figure.subplots(1, len(study.counts), squeeze=False)[0], study.counts, strict=True):
        rows = [row for row in study.rows if row["population"] == population]
        sizes = sorted({row["size"] for row in rows if row["size"]})
        for shade, size in zip((0.35, 0.55, 0.75, 1.0), sizes[-4:], strict=False):
            curve = [row for row in rows if row["size"] == size]
            axes.plot(
                [row["likes_lost"] for row in curve],
                [row["dislikes_removed"] for row in curve],
                marker=".",
                color=(0.18, 0.53, 0.76, shade),
                label=f"filter, sets of {size}",
            )
        for row in rows:
            if row["size"] is None and row["rule"] != "nothing":
                items = row["rule"] == "predicted items"
                axes.scatter(
                    row["likes_lost"], row["dislikes_removed"], marker="D" if items else "^", color="#c0392b", zorder=3
                )
                axes.annotate(
                    row["rule"],
                    (row["likes_lost"], row["dislikes_removed"]),
                    fontsize=8,
                    color="#7b241c",
                    xytext=(4, 8) if items else (7, -8),
                    textcoords="offset points",
                )
        axes.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1, label="dropping at random")
        counts = study.counts[population]
        axes.set(
            title=f"{population}: {counts['dislikes']:,} dislikes, {counts['likes']:,} likes",
            xlim=(0, 1),
            ylim=(0, 1),
            xlabel="share of future likes lost",
            ylabel="share of future dislikes removed",
        )
        axes.legend(frameon=False, fontsize=8, loc="lower right")
    figure.suptitle(f"{study.title}: theta from 0.95 (lower left) down to 0.30", fontsize=11)
    return figure


def over_thresholds(study: Study) -> Figure:
    """Each figure over theta, with sets of full size, one line per population; dotted: without a filter."""
    names = ("dislikes_removed", "likes_lost", "filter_rate", "coverage", "diversity", "entropy")
    figure = Figure(figsize=(12, 6.4), layout="constrained")
    for axes, name in zip(figure.subplots(2, 3).flat, names, strict=True):
        for population, colour in zip(study.counts, ("#2e86c1", "#ca6f1e"), strict=True):
            rows = [row for row in study.rows if row["population"] == population]
            curve = [row for row in rows if row["size"] == study.size]
            axes.plot(
                [row["theta"] for row in curve],
                [row[name] for row in curve],
                color=colour,
                marker=".",
                label=population,
            )
            axes.axhline(rows[0][name], color=colour, linestyle=":", linewidth=1)
        axes.set(title=COLUMNS[name], xlabel="theta")
    figure.axes[0].legend(frameon=False, fontsize=8)
    figure.suptitle(f"{study.title}, sets of {study.size}; dotted: no filter", fontsize=11)
    return figure
