"""A board's standings as CSV, with full precision."""

import csv
import io

from recbole_conrec.leaderboard import tables
from recbole_conrec.leaderboard.section import Cell, Line, Section
from recbole_conrec.leaderboard.tables import COSTS
from recbole_conrec.utils.tables import one_line

TEXTS = ("dataset", "method", "group", "metric")
FIGURES = (  # of a cell
    "n",
    "seeds",
    "mean",
    "sd",
    "low",
    "high",
    "interval_over",
    "macro",
    "users",
    "effective_users",
    "rank",
    "versus",
    "gap",
    "gap_low",
    "gap_high",
    "p_holm",
    "significant",
)


def comma_separated(sections: list[Section]) -> str:
    """One line for each data set, method and metric."""
    out = io.StringIO()
    costs = [field for field, _ in COSTS.values()]
    columns = [*TEXTS, *FIGURES, *costs, "search_points", "rising_seeds", "note"]
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    for section in sections:
        for line in section.lines:
            cost = line.cost if line.records else {}
            rising = len({seed for seeds in line.rising.values() for seed in seeds})
            of_line = {**cost, "search_points": line.search, "rising_seeds": rising}
            for column in section.columns:
                cell = line.cells.get(column)
                texts = {"dataset": section.dataset, "method": line.method.name, "metric": column}
                texts |= {"group": line.method.group or "", "note": tables.note(line)}
                written = {key: one_line(text) for key, text in texts.items()}
                writer.writerow({**written, **(_figures(cell, line) if cell else {}), **of_line})
    return out.getvalue()


def _figures(cell: Cell, line: Line) -> dict[str, object]:
    over = "" if cell.low is None else "users and seeds" if cell.over_seeds else "users"
    whose = (cell.users, cell.effective) if cell.users else (None, None)
    values = (cell.n, len(line.records), cell.mean, cell.sd, cell.low, cell.high, over, cell.macro, *whose)
    values += (cell.rank or None, cell.versus, cell.gap, cell.gap_low, cell.gap_high, cell.p, int(cell.marked))
    return dict(zip(FIGURES, values, strict=True))
