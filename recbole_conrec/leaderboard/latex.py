"""A board's standings in LaTeX (booktabs)."""

from recbole_conrec.leaderboard import tables
from recbole_conrec.leaderboard.section import Cell, Line, Section
from recbole_conrec.leaderboard.tables import figure
from recbole_conrec.utils.tables import one_line

TEX = {
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "\\": "\\textbackslash{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    tables.RISING: "$\\uparrow$",
    **{character: f"{{{character}}}" for character in "[]*"},  # after a line's end they would belong to it
    **{character: f"\\{character}" for character in "&%#_{}$"},
}


def latex(sections: list[Section], title: str) -> str:
    """One booktabs table for each data set; needs the LaTeX packages booktabs and xcolor."""
    return "\n".join(_section(section, title) for section in sections)


def _section(section: Section, title: str) -> str:
    columns = section.columns
    out = [
        "% needs \\usepackage{booktabs,xcolor}",
        "\\begin{table}[t]",
        "\\centering",
        f"\\caption{{{_caption(section, title)}}}",
        "\\begin{tabular}{l" + "r" * len(columns) + "}",
        "\\toprule",
        " & ".join(["Method", *(_tex(column) for column in columns)]) + " \\\\",
        " & ".join(["\\textit{n}", *(f"\\textit{{{section.usual_n.get(c, 0)}}}" for c in columns)]) + " \\\\",
        " & ".join(["\\textit{users (effective)}", *(f"\\textit{{{tables.users(section, c)}}}" for c in columns)])
        + " \\\\",
        "\\midrule",
        *(_row(line, columns) for line in section.methods),
    ]
    if section.references:
        out += ["\\midrule", f"\\multicolumn{{{len(columns) + 1}}}{{l}}{{\\textit{{{tables.REFERENCES}}}}} \\\\"]
        out += [_row(line, columns) for line in section.references]
    if section.improvement:
        share = [tables.improvement(section, column).replace(" %", "\\%").replace("*", "$^*$") for column in columns]
        out += ["\\midrule", " & ".join(["\\textit{Improvement}", *share]) + " \\\\"]
    out += ["\\bottomrule", "\\end{tabular}"]
    notes = [(f"$^\\dagger$ {_tex(line.method.name)}: ", tables.note(line)) for line in section.lines]
    for lead, text in [*notes, *(("", f"{text}.") for text in tables.above(section))]:
        out += ["", f"{{\\footnotesize {lead}{_tex(text)}\\par}}"] if text else []
    return "\n".join([*out, "\\end{table}", ""])


def _caption(section: Section, title: str) -> str:
    cells = [cell for line in section.lines for cell in line.cells.values()]
    scorings = tables.candidate_scores(section)
    parts = [
        f"{_tex(title)} on {_tex(section.dataset)}: mean with the standard deviation over seeds, and in small type the "
        "mean over users of their own means. Best in bold, second underlined; $^*$: better than the best other method "
        "($p<.05$, t test over users and seeds, Holm).",
        "No deviation: one seed, no claim." if any(not cell.over_seeds for cell in cells) else "",
        f"{_tex(tables.STILL_RISING)}." if any(line.rising for line in section.lines) else "",
        *(f"{_tex(text[0].upper() + text[1:])}." for text in (scorings, tables.searches(section)) if text),
    ]
    return " ".join(filter(None, parts))


def _row(line: Line, columns: list[str]) -> str:
    label = _tex(tables.name(line)) + ("$^\\dagger$" if tables.note(line) else "")
    return " & ".join([label, *(_cell(line.cells.get(column)) for column in columns)]) + " \\\\"


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "--"
    text = {1: "\\textbf{%s}", 2: "\\underline{%s}"}.get(cell.rank, "%s") % figure(cell.mean)
    text += f"\\,{{\\scriptsize$\\pm${figure(cell.sd)}}}" if cell.sd is not None else ""
    text += "$^*$" if cell.marked else ""
    text += f" {{\\scriptsize {figure(cell.macro)}}}" if cell.macro is not None else ""
    return f"\\textcolor{{gray}}{{{text} ($n$={cell.n})}}" if cell.few else text


def _tex(text: str) -> str:
    return "".join(TEX.get(character, character) for character in one_line(text))
