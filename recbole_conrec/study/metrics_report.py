"""The study of the metrics as tables, a picture and a JSON file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console, Group
from rich.text import Text

from recbole_conrec.leaderboard.board import Board
from recbole_conrec.study.metrics import Fidelity, study_metrics
from recbole_conrec.study.metrics_order import ALL, TRAINED
from recbole_conrec.study.metrics_pools import Pools
from recbole_conrec.study.metrics_pools_report import render_pools
from recbole_conrec.utils.files import save_figure, write_json
from recbole_conrec.utils.tables import titled_table


def run_metrics(board: Board, out: Path, console: Console, pools: tuple[str, ...] = ()) -> Fidelity:
    """Judge the metrics of a board, and CandAcc with each of ``pools``; print the results and write them to ``out``.

    Writes ``metrics-NAME.png`` and ``metrics-NAME.json``, NAME being that of the data set.
    """
    found, data = study_metrics(board, pools)
    name = data.dataset_name
    console.print(render(found, name))
    if found.pools:
        console.print(render_pools(found.pools, found.quality, found.trained))
    out.mkdir(parents=True, exist_ok=True)
    content = {key: _plain(value) for key, value in vars(found).items()}
    write_json(out / f"metrics-{name}.json", {"data_fingerprint": data.fingerprint, **content})
    console.print(f"picture: {draw(found, name, out)}", soft_wrap=True, highlight=False)
    return found


def render(one: Fidelity, name: str) -> Group:
    """Two tables: the methods by true quality, and the agreement of each metric with it; then the verdict."""
    size = f"{one.instances:,} instances, {one.users:,} users; the best lists would have {one.best:.3f}"
    methods = titled_table(f"{name}: methods by true quality ({size})", "method", "truth", *one.names)
    figures = np.column_stack([one.quality, one.values])
    for n in np.argsort(-one.quality, kind="stable"):
        methods.add_row(one.methods[n], *map("{:.3f}".format, figures[n]), style=None if one.trained[n] else "dim")
    title = "Kendall's tau with the true order [95 % interval, users drawn]"
    taus = titled_table(title, "", *one.names, no_wrap=True)
    for label in one.tau:
        for what, found in ((label, one.tau[label]), ("  more than HR", one.gain[label])):
            taus.add_row(what, *(f"{value:.2f} [{low:.2f} {high:.2f}]" for value, low, high in found.T))
    return Group(methods, taus, Text(verdict(one)))


def verdict(one: Fidelity) -> str:
    """What the intervals show about FHR and HR, one line for all methods and one for the trained ones."""
    place = next(n for n, name in enumerate(one.names) if name.startswith("FHR"))
    lines = []
    for label, gain in one.gain.items():
        value, low, high = gain[:, place]
        finding = "does not differ significantly from"
        if low > 0:
            finding = "is closer to the truth than"
        elif high < 0:
            finding = "is farther from the truth than"
        lines.append(f"{label}: {one.names[place]} {finding} {one.names[0]} ({value:+.2f}, {low:+.2f} to {high:+.2f})")
    return "\n" + "\n".join(lines)


def draw(one: Fidelity, name: str, folder: Path) -> Path:
    """The methods from the truly best to the worst: true quality, and below it each metric, which should fall with it.

    Returns the path of the picture, ``folder/metrics-NAME.png``.
    """
    order, place = np.argsort(-one.quality, kind="stable"), np.arange(len(one.methods))
    figure = Figure(figsize=(2 + 0.45 * len(order), 1.5 + 1.7 * (1 + len(one.names))), layout="constrained")
    axes = figure.subplots(1 + len(one.names), 1, sharex=True)
    every, trained = one.tau[ALL][0], one.tau[TRAINED][0]
    titles = ["true quality"]
    titles += [f"{one.names[n]}: tau {every[n]:.2f}, trained {trained[n]:.2f}" for n in range(len(one.names))]
    for axis, title, values in zip(axes, titles, [one.quality, *one.values.T], strict=True):
        for chosen, colour, label in ((one.trained, "#2e86c1", "trained"), (~one.trained, "#95a5a6", "reference")):
            axis.plot(place[chosen[order]], values[order][chosen[order]], "o", color=colour, label=label)
        axis.set_title(title, fontsize=10)
        axis.grid(axis="x", alpha=0.3)
    axes[0].legend()
    names = [one.methods[n] for n in order]
    axes[-1].set_xticks(place, names, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    figure.suptitle(f"{name}: metrics beside the true quality of the methods")
    path = folder / f"metrics-{name}.png"
    save_figure(figure, path)
    return path


def _plain(value):
    """A field of :class:`Fidelity` as JSON."""
    value = vars(value) if isinstance(value, Pools) else value
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value
