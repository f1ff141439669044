"""Results of runs as a table for the terminal."""

import statistics
from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from recbole_conrec.evaluation.registry import columns

FEW = 30  # instances; a figure over fewer is not worth comparing


def shown(result: dict, topk: Sequence[int] = ()) -> list[str]:
    """The figures of a record that its table shows: those of the options ``metrics`` and ``topk``, of several K the
    largest alone.

    Args:
        topk: the values of K, where they were asked for.
    """
    config = result["config"]
    return columns(config["metrics"], topk or [max(config["topk"])])


def render(results: list[dict], names: Sequence[str] | None = None) -> Table:
    """One section per data set, one row per result; it fits in 100 columns and is readable without colour.

    A section's first row holds the number of instances behind each metric; a figure over another number shows that
    number. A figure over fewer than 30 instances is greyed and marked; a metric that the model cannot fill is '-'.
    Results for several K take one row for each K.

    Args:
        results: dicts with ``model``, ``dataset``, ``metrics`` {name: {value, n}} and ``cost`` {fit_s, eval_s,
            peak_mb, parameters}.
        names: the figures that are shown; default: all, in the order of their first appearance, without variants of
            one such as CandAcc.beam.
    """
    if names is None:
        names = list(dict.fromkeys(name for result in results for name in result["metrics"] if "." not in name))
    heads = list(dict.fromkeys(name.split("@")[0] for name in names))
    ranked = {name.split("@")[0] for name in names if "@" in name}
    ks = sorted({int(name.split("@")[1]) for name in names if "@" in name}) or [0]
    several = len(ks) > 1

    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        caption_justify="left",
        caption_style="dim",
    )
    table.add_column("method")  # the only one that may wrap in a narrow terminal
    for column in [*(["K"] if several else []), *heads]:
        place = "K" if several else ks[0]
        table.add_column(f"{column}@{place}" if column in ranked else column, justify="right", no_wrap=True)
    for column in ("fit", "eval", "peak", "params"):
        table.add_column(column, justify="right", no_wrap=True)

    for dataset in dict.fromkeys(result["dataset"] for result in results):
        rows = [result for result in results if result["dataset"] == dataset]
        usual = {column: _usual_n(rows, column) for column in heads}
        table.add_section()
        table.add_row(
            f"{dataset}: n", *([""] if several else []), *(f"{usual[c]:,}" for c in heads), style="italic dim"
        )
        for row in rows:
            cost = row["cost"]
            costs = (
                seconds(cost["fit_s"]),
                seconds(cost["eval_s"]),
                megabytes(cost["peak_mb"]),
                count(cost["parameters"]),
            )
            for k in ks:
                first = k == ks[0]
                keys = [f"{c}@{k}" if c in ranked else c if first else "" for c in heads]
                table.add_row(
                    row["model"] if first else "",
                    *([str(k)] if several else []),
                    *(
                        _figure(row["metrics"].get(key), usual[c]) if key else ""
                        for key, c in zip(keys, heads, strict=True)
                    ),
                    *(costs if first else ()),
                )
    if any(0 < result["metrics"].get(name, {"n": 0})["n"] < FEW for result in results for name in names):
        table.caption = f"* fewer than {FEW} instances"
    return table


def _usual_n(rows: list[dict], column: str) -> int:
    numbers = [figure["n"] for row in rows for name, figure in row["metrics"].items() if name.split("@")[0] == column]
    return statistics.mode([n for n in numbers if n] or [0])


def _figure(figure: dict | None, usual_n: int) -> Text:
    if figure is None or not figure["n"]:
        return Text("-", style="dim")
    few = figure["n"] < FEW
    digits = f"{figure['value']:.4f}".removeprefix("0")  # .0853, as papers print it
    text = Text(f"{digits}{'*' if few else ''}", style="dim" if few else "")
    if figure["n"] != usual_n:
        text.append(f"\nn={figure['n']:,}", style="dim")
    return text


def seconds(value: float) -> str:
    """'0.4s', '12s', '3m05s', '42m', '2h07m': at most five characters."""
    if value < 9.95:
        return f"{value:.1f}s"
    whole = round(value)
    if whole < 60:
        return f"{whole}s"
    if whole < 600:
        return f"{whole // 60}m{whole % 60:02d}s"
    minutes = round(value / 60)
    return f"{minutes}m" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


def megabytes(value: float) -> str:
    """Of 2**20 bytes: '812MB', '3.1GB'."""
    return f"{value:.0f}MB" if value < 1000 else f"{value / 1024:.1f}GB"


def count(value: int) -> str:
    """'950', '12.3k', '1.2M', '14.8B'."""
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if value >= size:
            return f"{value / size:.1f}{unit}"
    return str(value)
