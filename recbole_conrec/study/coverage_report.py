"""The coverage study as a table, a picture and a JSON file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from recbole_conrec.data.dataset import NegativeFeedbackDataset
from recbole_conrec.study.coverage import SETS, TOPS, Coverage, CoverageOptions, study_coverage
from recbole_conrec.study.interests import KINDS, interests
from recbole_conrec.utils.files import save_figure, write_json
from recbole_conrec.utils.tables import titled_table

COLOURS = ("#95a5a6", "#2e86c1", "#c0392b")  # of the three sets


def run_coverage(
    config, dataset: NegativeFeedbackDataset, options: CoverageOptions, console: Console
) -> list[Coverage]:
    """Study a data set by each kind of interest; print the results and write them to ``options.out``.

    Writes ``coverage-NAME.png`` and ``coverage-NAME.json``, NAME being that of the data set.
    """
    kinds = options.interests
    if kinds is None:
        kinds = tuple(kind for kind in KINDS[:3] if kind != "category" or dataset.options.item_category)
    found = [study_coverage(dataset, interests(kind, config, dataset), options, progress=True) for kind in kinds]
    name, out = dataset.dataset_name, Path(options.out)
    for one in found:
        console.print(table(one, name))
    window = f"{dataset.protocol.window.length} {dataset.protocol.window.unit}"
    console.print(
        f"window: {window}. Of another user: the chance level, with sets of a random instance of another user.\n"
        "+-: half a 95 % interval, users drawn with replacement.",
        style="dim",
        highlight=False,
    )
    out.mkdir(parents=True, exist_ok=True)
    content = [
        {
            key: value.tolist() if isinstance(value, np.ndarray) else value
            for key, value in dataclasses.asdict(one).items()
        }
        for one in found
    ]
    write_json(
        out / f"coverage-{name}.json",
        {
            "dataset": name,
            "data_fingerprint": dataset.fingerprint,
            "sets": SETS,
            "tops": TOPS,
            "options": options.model_dump(include={"neighbours", "min_dislikes"}),
            "studies": content,
        },
    )
    console.print(f"picture: {draw(found, name, out)}", soft_wrap=True, highlight=False)
    return found


def table(one: Coverage, name: str) -> Table:
    """The share of instances that each set covers, in %, and the chance level below it; fits in 100 columns."""
    out = titled_table(
        f"{name}: how much of a user's top negative interests is covered; {one.interests}, "
        f"{one.n_interests:,} interests",
        *("set", "items", *(f"top-{k}, %" for k in TOPS)),
    )
    out.caption = (
        f"{one.instances:,} test instances of {one.users:,} users; {one.left_out:,} left out: too few dislikes outside "
        "their window"
    )
    for n, label in enumerate(SETS):
        figures = (
            f"{100 * value:.1f} +-{50 * (high - low):.1f}"
            for value, low, high in zip(one.covered[n], one.low[n], one.high[n], strict=True)
        )
        out.add_row(label, f"{one.items[n]:.1f}", *figures)
        out.add_row("  of another user", "", *(f"{100 * value:.1f}      " for value in one.chance[n]), style="dim")
    return out


def draw(found: list[Coverage], name: str, folder: Path) -> Path:
    """One panel per kind of interest: bars of the three sets with their intervals, the chance level as a black line.

    Returns the path of the picture, ``folder/coverage-NAME.png``.
    """
    figure = Figure(figsize=(1.5 + 4.2 * len(found), 4.4), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(found), sharey=True))
    for axis, one in zip(axes, found, strict=True):
        for n, label in enumerate(SETS):
            x = np.arange(len(TOPS)) + 0.27 * (n - 1)
            height = 100 * one.covered[n]
            error = 100 * np.abs(np.stack([one.low[n], one.high[n]]) - one.covered[n])
            axis.bar(x, height, 0.25, yerr=error, color=COLOURS[n], error_kw={"elinewidth": 1}, label=label)
            axis.hlines(
                100 * one.chance[n],
                x - 0.125,
                x + 0.125,
                color="black",
                label="sets of another user" if n == 0 else None,
            )
        axis.set(title=f"{one.interests} ({one.n_interests:,} interests)", ylim=(0, 100))
        axis.set_xticks(range(len(TOPS)), [f"top-{k}" for k in TOPS])
    axes[0].set_ylabel("test instances covered, %")
    figure.suptitle(f"{name}: top negative interests that the next dislike, the window, and its Swing neighbours reach")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    path = folder / f"coverage-{name}.png"
    save_figure(figure, path)
    return path
