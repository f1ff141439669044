"""A board's standings as a table for the terminal, and the words that all of its tables share."""

import math

from rich import box
from rich.table import Table
from rich.text import Text

from recbole_conrec.evaluation.table import FEW, count, megabytes, seconds
from recbole_conrec.generative.candidate_scores import SCORINGS
from recbole_conrec.leaderboard.section import Cell, Line, Section
from recbole_conrec.utils.tables import one_line, plain

COSTS = {
    "fit": ("fit_s", seconds),
    "eval": ("eval_s", seconds),
    "peak": ("peak_mb", megabytes),
    "params": ("parameters", lambda value: count(round(value))),
}
NAME_WIDTH, CELL_WIDTH, COSTS_WIDTH = 14, 15, 8  # characters: a method's name, a figure with its interval, the costs
RISING = "↑"
KEY = (
    "± standard deviation over seeds; [95 % interval over users and seeds]; u: mean over users of their own means; "
    "bold best, underlined second; * better than the best other method (t test over users and seeds, Holm, p < .05)"
)
USERS_ALONE = "(95 % interval over users alone): one seed, no claim"
STILL_RISING = f"{RISING} still rising at its last look on validation: more training might help"
REFERENCES = "references"


# -- words -----------------------------------------------------------------------------------------------------------
def figure(value: float, sign: bool = False) -> str:
    """.0853, as papers print it."""
    text = f"{value:+.4f}" if sign else f"{value:.4f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 and not math.isnan(value) else text


def interval(cell: Cell, comma: str = " ") -> str:
    """'[.1000 .1500]' over users and seeds, '(.1000 .1500)' over users alone, '' for a figure without one."""
    if cell.low is None or cell.high is None:
        return ""
    left, right = "[]" if cell.over_seeds else "()"
    return f"{left}{figure(cell.low)}{comma}{figure(cell.high)}{right}"


def note(line: Line) -> str:
    """What there is to say of a method: what is missing or weak, and which of its runs were still rising."""
    parts = [line.note] if line.note else []
    for stage, seeds in line.rising.items():
        which = "" if len(seeds) == len(line.records) else f" with seed {', '.join(map(str, seeds))}"
        parts.append(f"still rising at the last look{f' of {stage}' if stage else ''}{which}")
    return "; ".join(parts)


def name(line: Line) -> str:
    """The method's name, with the mark of a run that was still rising."""
    return f"{line.method.name} {RISING}" if line.rising else line.method.name


def key(section: Section) -> str:
    """What the signs of a table mean, and how large the searches were."""
    cells = [cell for line in section.lines for cell in line.cells.values()]
    scorings = candidate_scores(section)
    parts = [
        KEY,
        USERS_ALONE if any(not cell.over_seeds for cell in cells) else "",
        STILL_RISING if any(line.rising for line in section.lines) else "",
        f"{scorings} (docs/conrec.md)" if scorings else "",
        f"grey: fewer than {FEW} instances, not ranked" if any(cell.few for cell in cells) else "",
        searches(section),
    ]
    return "; ".join(filter(None, parts))


def searches(section: Section) -> str:
    """How many points of options were tried for each method: 'options searched on validation: 3 points each; Pop 0'."""
    points = {line.method.name: line.search for line in section.lines}
    usual = max(points.values(), key=list(points.values()).count, default=0)
    others = "".join(f"; {method} {n}" for method, n in points.items() if n != usual)
    return f"options searched on validation: {usual} point{'' if usual == 1 else 's'} each{others}" if points else ""


def above(section: Section) -> list[str]:
    """A sentence for each reference that is above the method that it is compared with."""
    out = []
    for line in section.references:
        columns = section.above.get(line.method.name, [])
        by_other: dict[str, list[str]] = {}
        for column in columns:
            cell = line.cells[column]
            by_other.setdefault(cell.versus, []).append(
                f"{column} ({figure(cell.gap or 0, sign=True)}{'*' if cell.holds else ''})"
            )
        parts = [f"{other} in {', '.join(found)}" for other, found in by_other.items()]
        out += [f"the reference {line.method.name} is above {', and above '.join(parts)}"] if parts else []
    return out


def candidate_scores(section: Section) -> str:
    """How methods that answer with IDs score candidates, for CandAcc; '' without such methods."""
    configs = [record.config for line in section.lines for record in line.records.values()]
    # a model that offers the choice, or searches by beams without offering it, answers with IDs
    given = [one.candidate_scores for one in configs if one.beam is not None or one.candidate_scores is not None]
    first = sorted({one[0] if one else SCORINGS[0] for one in given})
    return f"CandAcc of methods that answer with IDs: by {' or '.join(first)}" if first else ""


def improvement(section: Section, column: str) -> str:
    """'+11.5 %*', or '' where there is nothing to compare."""
    if column not in section.improvement:
        return ""
    share, holds = section.improvement[column]
    return f"{100 * share:+.1f} %{'*' if holds else ''}"


def improved(section: Section) -> str:
    """The name of the last line."""
    return f"{section.improved} over the best other"


def users(section: Section, column: str) -> str:
    """'943 (63)': the users behind most cells of a metric, and their effective number."""
    if column not in section.usual_users:
        return ""
    there, effective = section.usual_users[column]
    return f"{there:,} ({effective:,.0f})"


# -- the terminal ------------------------------------------------------------------------------------------------------
def terminal(section: Section, title: str, width: int) -> list[Table]:
    """Tables one below the other, each with as many metrics as fit into ``width``; they read without colour."""
    columns = section.columns
    blocks = math.ceil(len(columns) / max(1, (width - NAME_WIDTH - COSTS_WIDTH) // CELL_WIDTH))
    size = math.ceil(len(columns) / blocks)  # of about the same number of columns
    parts = [columns[start : start + size] for start in range(0, len(columns), size)]
    return [
        _terminal(
            section,
            plain(f"{title}: {section.dataset}", "italic") if part is parts[0] else None,
            part,
            part is parts[-1],
        )
        for part in parts
    ]


def _terminal(section: Section, title: Text | None, columns: list[str], last: bool) -> Table:
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False
    )
    table.add_column("method", min_width=NAME_WIDTH, overflow="fold")
    for column in columns:
        table.add_column(plain(column), justify="right", no_wrap=True)
    if last:
        table.add_column("fit\nparams", justify="right", no_wrap=True)
    table.add_row("n", *(f"{section.usual_n.get(c, 0):,}" for c in columns), style="italic dim")
    table.add_row("users (effective)", *(users(section, c) for c in columns), style="italic dim")
    for lines in (section.methods, section.references):
        if lines and lines[0].method.group is not None:
            table.add_section()
            table.add_row(REFERENCES, style="italic dim")
        for line in lines:
            _add(table, section, line, columns, last)
    if section.improvement:
        table.add_section()
        table.add_row(plain(improved(section)), *(improvement(section, column) for column in columns))
    return table


def _add(table: Table, section: Section, line: Line, columns: list[str], last: bool) -> None:
    cells = [_rich(line.cells.get(column), section.usual_n.get(column, 0)) for column in columns]
    label = plain(name(line))
    if said := note(line):
        label.append(f"\n{one_line(said)}", style="dim italic")
    costs = [write(line.cost[field]) for field, write in (COSTS["fit"], COSTS["params"])] if line.records else ["-"]
    table.add_row(label, *cells, *(["\n".join(costs)] if last else []))


def _rich(cell: Cell | None, usual_n: int) -> Text:
    if cell is None:
        return Text("-", style="dim")
    style = "dim" if cell.few else {1: "bold", 2: "underline"}.get(cell.rank, "")
    text = Text()
    text.append(figure(cell.mean), style)
    text.append(
        (f"±{figure(cell.sd)}" if cell.sd is not None else "") + ("*" if cell.marked else ""), "dim" if cell.few else ""
    )
    if between := interval(cell):
        text.append(f"\n{between}", "dim")
    if cell.macro is not None:
        text.append(f"\nu {figure(cell.macro)}", "dim")
    if cell.few or cell.n != usual_n:
        text.append(f"\nn={cell.n:,}", "dim")
    return text
