"""A board's standings in Markdown."""

import re

from recbole_conrec.leaderboard import tables
from recbole_conrec.leaderboard.section import Cell, Line, Section
from recbole_conrec.leaderboard.tables import COSTS, figure
from recbole_conrec.utils.tables import one_line


def markdown(sections: list[Section], title: str) -> str:
    parts = [f"# {md(title)}\n"]
    for section in sections:
        parts += [f"## {md(section.dataset)}\n", _section(section)]
        parts += [f"{md(text)}.\n" for text in (tables.key(section), *tables.above(section))]
    return "\n".join(parts)


def _section(section: Section) -> str:
    none = [""] * len(COSTS)
    rows = [["n", *(f"{section.usual_n.get(c, 0):,}" for c in section.columns), *none]]
    rows.append(["users (effective)", *(tables.users(section, c) for c in section.columns), *none])
    rows += [_row(section, line) for line in section.methods]
    if section.references:
        rows.append([f"*{tables.REFERENCES}*", *[""] * len(section.columns), *none])
        rows += [_row(section, line) for line in section.references]
    if section.improvement:
        shares = [tables.improvement(section, column) for column in section.columns]
        rows.append([md(tables.improved(section)), *shares, *none])
    return markdown_table(["method", *map(md, section.columns), *COSTS], rows, named=1)


def _row(section: Section, line: Line) -> list[str]:
    said = tables.note(line)
    label = md(tables.name(line) + (f" ({said})" if said else ""))
    cells = [_cell(line.cells.get(c), section.usual_n.get(c, 0)) for c in section.columns]
    costs = [write(line.cost[field]) if line.records else "-" for field, write in COSTS.values()]
    return [label, *cells, *costs]


def _cell(cell: Cell | None, usual_n: int) -> str:
    if cell is None:
        return "-"
    text = {1: "**{}**", 2: "<u>{}</u>"}.get(cell.rank, "{}").format(figure(cell.mean))
    text += (" ± " + figure(cell.sd) if cell.sd is not None else "") + ("\\*" if cell.marked else "")
    between = tables.interval(cell, ", ")
    text += f" {between}" if between else ""
    text += "" if cell.macro is None else f" u {figure(cell.macro)}"
    text += f" n={cell.n:,}" if cell.few or cell.n != usual_n else ""
    return f'<span style="color:gray">{text}</span>' if cell.few else text


def md(text: str) -> str:
    """A name or message in Markdown, as it is (markdown_table escapes what separates cells)."""
    text = re.sub(r"([\\`*{}\[\]<>$~]|(?<!\w)_|_(?!\w))", r"\\\1", one_line(text))
    return re.sub(r"&(?=#?\w+;)", "&amp;", text)


def markdown_table(head: list[str], rows: list[list[str]], named: int) -> str:
    """A table in Markdown; the first ``named`` columns are left-aligned, the others right-aligned."""
    rule = ["---"] * named + ["---:"] * (len(head) - named)
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in [head, rule, *rows]]
    return "".join(f"| {' | '.join(row)} |\n" for row in escaped)
