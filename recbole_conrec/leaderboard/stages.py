"""What methods that train in stages measure after each of them, mean over seeds: what a stage gains and forgets."""

import statistics

from rich import box
from rich.table import Table

from recbole_conrec.leaderboard.markdown import markdown_table, md
from recbole_conrec.leaderboard.section import Section
from recbole_conrec.leaderboard.tables import figure
from recbole_conrec.utils.tables import plain

MEASURES = ("valid", "alignment")  # keys of a stage's entry: `valid_metric` on validation; four choices, chance is .25
KEY = "valid: the metric of model selection, on validation; alignment: the disliked one of four items, chance .25"


def after_stages(section: Section) -> list[tuple[str, str, dict[str, str]]]:
    """(method, measure, {stage: figure}) of every method that trains in stages and measures alignment."""
    out = []
    for line in section.lines:
        runs = [record.result["stages"] for record in line.records.values()]
        if not any(stage.get("alignment") is not None for stages in runs for stage in stages):
            continue
        for measure in MEASURES:
            values: dict[str, list[float]] = {}
            for stages in runs:
                for stage in stages:
                    if stage.get(measure) is not None:
                        values.setdefault(stage["name"], []).append(stage[measure])
            out.append((line.method.name, measure, {name: _figure(seen) for name, seen in values.items()}))
    return out


def _figure(values: list[float]) -> str:
    return figure(statistics.mean(values)) + (f" ± {figure(statistics.stdev(values))}" if len(values) > 1 else "")


def stage_names(rows: list[tuple[str, str, dict[str, str]]]) -> list[str]:
    """All stages, in the order of the method that has most of them."""
    return list(dict.fromkeys(name for *_, figures in sorted(rows, key=lambda row: -len(row[2])) for name in figures))


def terminal(section: Section) -> Table | None:
    """The table, or None where no method measures alignment."""
    rows = after_stages(section)
    if not rows:
        return None
    names = stage_names(rows)
    table = Table(
        title=plain(f"after each stage: {section.dataset}", "italic"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        caption=KEY,
        caption_justify="left",
        caption_style="dim",
    )
    for column in ("method", "", *names):
        table.add_column(plain(column), justify="right" if column in names else "left")
    for method, measure, figures in rows:
        table.add_row(
            plain(method) if measure == MEASURES[0] else "", measure, *(figures.get(name, "-") for name in names)
        )
    return table


def markdown(section: Section) -> str:
    """The same in Markdown; '' where no method measures alignment."""
    rows = after_stages(section)
    if not rows:
        return ""
    names = stage_names(rows)
    head = ["method", "after each stage", *map(md, names)]
    cells = [[md(method), measure, *(figures.get(name, "-") for name in names)] for method, measure, figures in rows]
    return f"{markdown_table(head, cells, named=2)}\n{KEY}.\n"
