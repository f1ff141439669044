"""An inspection as tables for the terminal and one page of plots; the options of ``inspect``."""

from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from recbole_conrec.data.events import EXPOSURE, NEGATIVE, POSITIVE, SECONDS_A_DAY
from recbole_conrec.data.inspection.measure import Inspection, K
from recbole_conrec.data.inspection.warnings import findings
from recbole_conrec.options import schema
from recbole_conrec.utils.files import save_figure
from recbole_conrec.utils.tables import titled_table

QUANTILES = {"min": 0, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "90 %": 0.9, "max": 1}
COLOURS = {"negative": "#c0392b", "exposure": "#95a5a6", "positive": "#2e86c1"}


class InspectOptions(schema.Options):
    """What ``recbole-conrec inspect`` takes beside the options of a run."""

    out: schema.Text = "saved"
    """Folder of the picture."""


def render(seen: Inspection) -> Group:
    """Tables of the figures, then the warnings; at most 100 columns wide."""
    protocol = Text("\n" + "\n".join(f"{name}: {text}" for name, text in seen.protocol.items()))
    return Group(_counts(seen), protocol, _distributions(seen), _parts(seen), _others(seen), _findings(seen))


def show(seen: Inspection, console: Console | None = None) -> None:
    """Print :func:`render`."""
    (console or Console()).print(render(seen))


def _counts(seen: Inspection) -> Table:
    table = titled_table(f"{seen.name}", "", "count", "share of events")
    for name, count in seen.counts.items():
        share = f"{count / seen.counts['events']:.1%}" if name in ("negatives", "positives", "exposures") else ""
        table.add_row(name, f"{count:,}", share)
    return table


def _distributions(seen: Inspection) -> Table:
    table = titled_table("distributions", "", *QUANTILES, "mean")
    with_negatives = seen.per_user["negatives"][seen.per_user["negatives"] > 0]
    rows = {
        "events per user": seen.per_user["events"],
        "negatives per user": seen.per_user["negatives"],
        "the same, users with any": with_negatives,
        "events per item": seen.per_item["events"],
        "negatives per item": seen.per_item["negatives"],
        "days, first to last event": seen.days,
        "active days of a user": seen.active_days,
        "hours between negatives": seen.gaps / 3600,
        "dislikes in the window (test)": seen.parts["test"].future_size,
    }
    for name, values in rows.items():
        if len(values):
            table.add_row(name, *(_number(np.quantile(values, q)) for q in QUANTILES.values()), _number(values.mean()))
    return table


def _parts(seen: Inspection) -> Table:
    table = titled_table("instances", "", *seen.parts)
    rows = {
        "instances": lambda part: f"{part.instances:,}",
        "users": lambda part: f"{part.users:,}",
        "items": lambda part: f"{part.items:,}",
        "another dislike within the window": lambda part: f"{part.followed:.1%}",
        "users of low activity (LUF)": lambda part: f"{part.low_activity:.1%}",
        "a long-tail item in the window (LIF)": lambda part: f"{part.long_tail:.1%}",
        "items never seen in training": lambda part: f"{part.unseen:.1%}",
        "items never disliked in training": lambda part: f"{part.undisliked:.1%}",
        "enough exposures for the candidates": lambda part: f"{part.exposed:.1%}",
    }
    for name, figure in rows.items():
        table.add_row(name, *(figure(part) for part in seen.parts.values()))
    return table


def _others(seen: Inspection) -> Table:
    table = titled_table("also", "", "figure")
    first, last = (_date(time) for time in seen.span)
    table.add_row("first and last event", f"{first} - {last}")
    table.add_row("events at the time of another of their user", f"{seen.tied:.1%}")
    table.add_row("of a user's remaining dislikes, in the window", f"{seen.covered:.1%}")
    table.add_row(f"HR@{K} of the most disliked items (chance)", f"{seen.popularity_hit:.3f} ({seen.chance_hit:.3f})")
    table.add_row("AUC of an item's share of negatives", f"{seen.item_auc:.2f}")
    for rule, share in seen.contradicted.items():
        table.add_row(f"dislikes that `exclude: {rule}` would rule out", f"{share:.2%}")
    text = "no .item file" if seen.without_text is None else f"{seen.without_text:.1%}"
    table.add_row("items without text", text)
    return table


def _findings(seen: Inspection) -> Text:
    found = findings(seen)
    text = Text("\n")
    for warning in found:
        text.append(f"warning: {warning.name}. ", style="bold yellow")
        text.append(f"{warning.what}.\n")
        text.append(f"  fix: {warning.fix}.\n", style="dim")
    if not found:
        text.append("no warnings\n", style="green")
    return text


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or float(value).is_integer() else f"{value:.2f}"


def _date(time: int) -> str:
    """The day of a time, or the number itself where times are only an order."""
    if not 0 <= time < 2**33 or time < SECONDS_A_DAY * 365:
        return f"{time:,}"
    return datetime.fromtimestamp(time, timezone.utc).strftime("%Y-%m-%d")


def draw(seen: Inspection, folder: Path) -> Path:
    """Draw six plots on one page and write it as ``folder/inspection-NAME.png``. Returns the path."""
    figure = Figure(figsize=(15, 8), layout="constrained")
    (users, items, time), (gaps, window, activity) = figure.subplots(2, 3)
    for axis, counts, noun in ((users, seen.per_user, "users"), (items, seen.per_item, "items")):
        for name, style in (("events", COLOURS["exposure"]), ("negatives", COLOURS["negative"])):
            ordered = np.sort(counts[name][counts[name] > 0])[::-1]
            axis.loglog(np.arange(1, len(ordered) + 1), ordered, color=style, label=name)
        axis.set(title=f"Events per {noun[:-1]}, most to least", xlabel=noun, ylabel="events")
        axis.legend()
    _draw_time(time, seen)
    positive = seen.gaps[seen.gaps > 0]
    if len(positive):
        edges = np.geomspace(positive.min(), max(positive.max(), positive.min() + 1), 60)
        gaps.hist(positive, bins=edges, color=COLOURS["negative"])
        gaps.set_xscale("log")
        for seconds, word in ((60, "minute"), (3600, "hour"), (SECONDS_A_DAY, "day"), (7 * SECONDS_A_DAY, "week")):
            gaps.axvline(seconds, color="black", lw=0.5)
            gaps.text(seconds, 1, f"{word} ", rotation=90, transform=gaps.get_xaxis_transform(), va="top", fontsize=8)
    gaps.set(title="Time between a user's dislikes", xlabel="seconds", ylabel="pairs")
    sizes = seen.parts["test"].future_size
    window.hist(sizes, bins=np.arange(0.5, np.quantile(sizes, 0.99) + 1.5), color=COLOURS["negative"])
    window.set(title="Dislikes in the window (test)", xlabel="|F|, the next one included", ylabel="instances")
    days, users = np.unique(seen.active_days[seen.active_days > 0], return_counts=True)
    activity.loglog(days, users, ".", color=COLOURS["positive"])
    if days[-1] < 10 * days[0]:  # the labels of a log axis would overlap
        activity.set_xscale("linear")
        activity.xaxis.get_major_locator().set_params(integer=True)
    activity.set(title="Days on which a user is active", xlabel="days", ylabel="users")
    figure.suptitle(seen.name)
    path = Path(folder) / f"inspection-{seen.name}.png"
    save_figure(figure, path)
    return path


def _draw_time(axis, seen: Inspection) -> None:
    first, last = seen.span
    edges = np.linspace(first, last + 1, 61)
    centres = (edges[:-1] - first) / SECONDS_A_DAY
    bottom = np.zeros(60)
    for name, kind in (("negative", NEGATIVE), ("positive", POSITIVE), ("exposure", EXPOSURE)):
        counts = np.histogram(seen.log.time[seen.log.feedback == kind], edges)[0]
        axis.bar(
            centres,
            counts,
            (edges[1] - edges[0]) / SECONDS_A_DAY,
            bottom,
            align="edge",
            color=COLOURS[name],
            label=name,
        )
        bottom += counts
    axis.set(title="Events over time", xlabel="days since the first event", ylabel="events")
    axis.legend()
