"""The results tables of README.md and docs/results.md, from the published records alone.

    python benchmarks/tables.py            # put them between the marks
    python benchmarks/tables.py --check    # exit code 1 if a page does not have them

A mark `<!-- results: paper ml-100k -->` names a board and a data set, whose records are
`benchmarks/records/BOARD-DATASET.parquet`; the table under it ends at `<!-- end of results -->`. An option of the runs
goes behind, `<!-- results: survey movietweetings-100k as_of=t0 -->`; the records are then in the folder `as_of=t0`. The
data set has to be there, as its fingerprint is a part of what a record is known by; those of the marks come with the
package or are inside the recbole wheel.
"""

import argparse
import re
from dataclasses import replace
from pathlib import Path

from recbole_conrec.leaderboard.board import read_board
from recbole_conrec.leaderboard.section import Line
from recbole_conrec.leaderboard.standings import standings
from recbole_conrec.runs import published

ROOT = Path(__file__).parent.parent
PAGES, RECORDS = (ROOT / "README.md", ROOT / "docs" / "results.md"), ROOT / "benchmarks" / "records"
COLUMNS = ("HR@20", "FHR@20", "LUF@20", "LIF@20", "CandAcc")
FIRST, LINES = "FHR@20", 10
BLOCK = re.compile(r"(<!-- results: (\S+) (\S+)((?: \w+=\S+)*) -->\n).*?(<!-- end of results -->)", flags=re.S)
NONE = "*The records of this version are not published yet.*\n"


def table(board: str, dataset: str, options: list[str]) -> str:
    """The best ten methods by FHR@20, Markdown: means over the seeds, and their standard deviation.

    Args:
        options: of the runs, KEY=VALUE.
    """
    file = RECORDS.joinpath(*options, f"{board}-{dataset}.parquet")
    if not file.is_file():
        return NONE
    above = dict(option.split("=", 1) for option in options)
    narrowed = replace(read_board(board), published=published.read(file)).narrow(datasets=[dataset], **above)
    (section,) = standings(narrowed)
    lines = [line for line in section.lines if FIRST in line.cells]
    best = sorted(lines, key=lambda line: -line.cells[FIRST].mean)[:LINES]
    if not best:
        return NONE
    seeds = max(len(line.records) for line in best)
    what = "one seed" if seeds == 1 else f"means ± standard deviation over up to {seeds} seeds"
    head = [
        f"{' '.join([dataset, *options])}, {best[0].cells[FIRST].n:,} instances, {what}, "
        f"the best {len(best)} of {len(lines)} methods by {FIRST}:\n",
        f"| | {' | '.join(COLUMNS)} |",
        f"| --- |{' --- |' * len(COLUMNS)}",
    ]
    return "\n".join([*head, *(f"| {_name(line)} | {_figures(line)} |" for line in best)]) + "\n"


def _name(line: Line) -> str:
    return f"`{line.method.name}`" + (" (reference)" if line.method.group == "references" else "")


def _figures(line: Line) -> str:
    cells = [line.cells.get(column) for column in COLUMNS]
    return " | ".join(
        "-" if cell is None else f"{cell.mean:.3f}" + ("" if cell.sd is None else f" ± {cell.sd:.3f}") for cell in cells
    )


def filled(text: str) -> str:
    """A page with its tables as the records have them."""
    return BLOCK.sub(lambda found: f"{found[1]}{table(found[2], found[3], found[4].split())}{found[5]}", text)


def main() -> int:
    """Write or check the pages; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check, stale = parser.parse_args().check, False
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        new = filled(text)
        stale |= new != text
        if not check:
            page.write_text(new, encoding="utf-8")
    return int(check and stale)


if __name__ == "__main__":
    raise SystemExit(main())
