"""A board's standings as a table for the terminal, in Markdown, LaTeX (booktabs) and CSV."""

import csv
import io
import math
import re

from rich import box
from rich.table import Table
from rich.text import Text

from recbole_conrec.evaluation.table import FEW, count, megabytes, seconds
from recbole_conrec.generative.candidate_scores import SCORINGS
from recbole_conrec.leaderboard.standings import Cell, Line, Section
from recbole_conrec.utils.tables import one_line, plain

COSTS = {
    "fit": ("fit_s", seconds),
    "eval": ("eval_s", seconds),
    "peak": ("peak_mb", megabytes),
    "params": ("parameters", lambda value: count(round(value))),
}
NAME_WIDTH, CELL_WIDTH, COSTS_WIDTH = 14, 15, 8  # characters: a method's name, a figure with its interval, the costs
KEY = (
    "± standard deviation over seeds; [95 % bootstrap interval over users]; bold best, underlined second; "
    "* better than the best other method (paired randomisation by user, Holm, p < .05)"
)
FIGURES = ("n", "seeds", "mean", "sd", "low", "high", "rank", "versus", "p_holm", "significant")  # of a cell in the CSV
TEX = {
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "\\": "\\textbackslash{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    **{character: f"{{{character}}}" for character in "[]*"},  # after a line's end they would belong to it
    **{character: f"\\{character}" for character in "&%#_{}$"},
}


def figure(value: float, sign: bool = False) -> str:
    """.0853, as papers print it."""
    text = f"{value:+.4f}" if sign else f"{value:.4f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 and not math.isnan(value) else text


def key(section: Section) -> str:
    """What the signs of a table mean."""
    few = any(cell.few for line in section.lines for cell in line.cells.values())
    scorings = candidate_scores(section)
    return (
        KEY
        + (f"; {scorings} (docs/conrec.md)" if scorings else "")
        + (f"; grey: fewer than {FEW} instances, not ranked" if few else "")
    )


def candidate_scores(section: Section) -> str:
    """How methods that answer with IDs score candidates, for CandAcc; '' without such methods."""
    configs = [record.result["config"] for line in section.lines for record in line.records.values()]
    # a model that offers the choice, or searches by beams without offering it, answers with IDs
    given = [config.get("candidate_scores") for config in configs if {"beam", "candidate_scores"} & set(config)]
    first = sorted({(one if isinstance(one, str) else one[0]) if one else SCORINGS[0] for one in given})
    return f"CandAcc of methods that answer with IDs: by {' or '.join(first)}" if first else ""


def improvement(section: Section, column: str) -> str:
    """'+11.5 %*', or '' where there is nothing to compare."""
    if column not in section.improvement:
        return ""
    share, holds = section.improvement[column]
    return f"{100 * share:+.1f} %{'*' if holds else ''}"


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
    for line in section.lines:
        cells = [_rich(line.cells.get(column), section.usual_n.get(column, 0)) for column in columns]
        name = plain(line.method.name)
        if line.note:
            name.append(f"\n{one_line(line.note)}", style="dim italic")
        costs = [write(line.cost[field]) for field, write in (COSTS["fit"], COSTS["params"])] if line.records else ["-"]
        table.add_row(name, *cells, *(["\n".join(costs)] if last else []))
    if section.improvement:
        table.add_section()
        table.add_row(
            plain(f"{section.improved} over the best other"), *(improvement(section, column) for column in columns)
        )
    return table


def _rich(cell: Cell | None, usual_n: int) -> Text:
    if cell is None:
        return Text("-", style="dim")
    style = "dim" if cell.few else {1: "bold", 2: "underline"}.get(cell.rank, "")
    text = Text()
    text.append(figure(cell.mean), style)
    text.append(
        (f"±{figure(cell.sd)}" if cell.sd is not None else "") + ("*" if cell.marked else ""), "dim" if cell.few else ""
    )
    text.append(f"\n[{figure(cell.low)} {figure(cell.high)}]", "dim")
    if cell.few or cell.n != usual_n:
        text.append(f"\nn={cell.n:,}", "dim")
    return text


def markdown(sections: list[Section], title: str) -> str:
    parts = [f"# {md(title)}\n"]
    for section in sections:
        parts += [f"## {md(section.dataset)}\n", _markdown_section(section), f"{key(section)}.\n"]
    return "\n".join(parts)


def _markdown_section(section: Section) -> str:
    no_costs = [""] * len(COSTS)
    rows = [["n", *(f"{section.usual_n.get(c, 0):,}" for c in section.columns), *no_costs]]
    for line in section.lines:
        name = md(line.method.name + (f" ({line.note})" if line.note else ""))
        cells = [_md(line.cells.get(c), section.usual_n.get(c, 0)) for c in section.columns]
        rows.append([name, *cells, *_costs(line)])
    if section.improvement:
        shares = [improvement(section, column) for column in section.columns]
        rows.append([md(f"{section.improved} over the best other"), *shares, *no_costs])
    return markdown_table(["method", *map(md, section.columns), *COSTS], rows, named=1)


def md(text: str) -> str:
    """A name or message in Markdown, as it is (markdown_table escapes what separates cells)."""
    text = re.sub(r"([\\`*{}\[\]<>$~]|(?<!\w)_|_(?!\w))", r"\\\1", one_line(text))
    return re.sub(r"&(?=#?\w+;)", "&amp;", text)


def markdown_table(head: list[str], rows: list[list[str]], named: int) -> str:
    """A table in Markdown; the first ``named`` columns are left-aligned, the others right-aligned."""
    rule = ["---"] * named + ["---:"] * (len(head) - named)
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in [head, rule, *rows]]
    return "".join(f"| {' | '.join(row)} |\n" for row in escaped)


def _md(cell: Cell | None, usual_n: int) -> str:
    if cell is None:
        return "-"
    mean = {1: "**{}**", 2: "<u>{}</u>"}.get(cell.rank, "{}").format(figure(cell.mean))
    mean += (" ± " + figure(cell.sd) if cell.sd is not None else "") + ("\\*" if cell.marked else "")
    mean += f" [{figure(cell.low)}, {figure(cell.high)}]"
    mean += f" n={cell.n:,}" if cell.few or cell.n != usual_n else ""
    return f'<span style="color:gray">{mean}</span>' if cell.few else mean


def _costs(line: Line) -> list[str]:
    return [write(line.cost[field]) if line.records else "-" for field, write in COSTS.values()]


def latex(sections: list[Section], title: str) -> str:
    """One booktabs table for each data set; needs the LaTeX packages booktabs and xcolor."""
    return "\n".join(_latex(section, title) for section in sections)


def _latex(section: Section, title: str) -> str:
    columns, scorings = section.columns, candidate_scores(section)
    out = [
        "% needs \\usepackage{booktabs,xcolor}",
        "\\begin{table}[t]",
        "\\centering",
        f"\\caption{{{_tex(title)} on {_tex(section.dataset)}: mean"
        " with the standard deviation over seeds. Best in bold, second underlined; $^*$: better than the best "
        "other method ($p<.05$, paired randomisation by user, Holm)."
        f"{' ' + _tex(scorings) + '.' if scorings else ''}}}",
        "\\begin{tabular}{l" + "r" * len(columns) + "}",
        "\\toprule",
        " & ".join(["Method", *(_tex(column) for column in columns)]) + " \\\\",
        " & ".join(["\\textit{n}", *(f"\\textit{{{section.usual_n.get(c, 0)}}}" for c in columns)]) + " \\\\",
        "\\midrule",
    ]
    for line in section.lines:
        name = _tex(line.method.name) + ("$^\\dagger$" if line.note else "")
        out.append(" & ".join([name, *(_tex_cell(line.cells.get(column)) for column in columns)]) + " \\\\")
    if section.improvement:
        share = [improvement(section, column).replace(" %", "\\%").replace("*", "$^*$") for column in columns]
        out += ["\\midrule", " & ".join(["\\textit{Improvement}", *share]) + " \\\\"]
    out += ["\\bottomrule", "\\end{tabular}"]
    for line in section.lines:
        if line.note:
            out += ["", f"{{\\footnotesize $^\\dagger$ {_tex(line.method.name)}: {_tex(line.note)}\\par}}"]
    return "\n".join([*out, "\\end{table}", ""])


def _tex_cell(cell: Cell | None) -> str:
    if cell is None:
        return "--"
    mean = {1: "\\textbf{%s}", 2: "\\underline{%s}"}.get(cell.rank, "%s") % figure(cell.mean)
    mean += f"\\,{{\\scriptsize$\\pm${figure(cell.sd)}}}" if cell.sd is not None else ""
    mean += "$^*$" if cell.marked else ""
    return f"\\textcolor{{gray}}{{{mean} ($n$={cell.n})}}" if cell.few else mean


def _tex(text: str) -> str:
    return "".join(TEX.get(character, character) for character in one_line(text))


def comma_separated(sections: list[Section]) -> str:
    """One line for each data set, method and metric, with full precision."""
    out = io.StringIO()
    costs = [field for field, _ in COSTS.values()]
    writer = csv.DictWriter(out, ["dataset", "method", "metric", *FIGURES, *costs, "note"], lineterminator="\n")
    writer.writeheader()
    for section in sections:
        for line in section.lines:
            cost = line.cost if line.records else {}
            for column in section.columns:
                cell = line.cells.get(column)
                figures = _figures(cell, len(line.records)) if cell else {}
                texts = {"dataset": section.dataset, "method": line.method.name, "metric": column, "note": line.note}
                name = {column: one_line(text) for column, text in texts.items()}
                writer.writerow({**name, **figures, **cost})
    return out.getvalue()


def _figures(cell: Cell, seeds: int) -> dict[str, object]:
    rank, significant = cell.rank or None, int(cell.marked)
    values = (cell.n, seeds, cell.mean, cell.sd, cell.low, cell.high, rank, cell.versus, cell.p, significant)
    return dict(zip(FIGURES, values, strict=True))
