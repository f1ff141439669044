"""CandAcc by pool and scoring beside the truth, as tables."""

from __future__ import annotations

import numpy as np
from rich.console import Group
from rich.text import Text

from recbole_conrec.study.metrics_pools import CHANCE, Pools
from recbole_conrec.utils.tables import titled_table

TRUTH_WORDS = {"lists": "quality of lists", "judging": "judging"}


def render_pools(one: Pools, quality: np.ndarray, trained: np.ndarray) -> Group:
    """CandAcc of each method by pool and scoring; their agreement with the truths; which agree best.

    Args:
        quality: float64 [R], the true quality of lists. trained: bool [R].
    """
    cells = [(p, s) for p in range(len(one.pools)) for s in range(len(one.scorings))]
    titles = [f"{one.pools[p]}, {one.scorings[s]}" for p, s in cells]
    figures = titled_table("CandAcc by candidates.pool and scoring", "method", "truth", *titles)
    for n in np.argsort(-quality, kind="stable"):
        values = [one.accuracy[p, s, n] for p, s in cells]
        figures.add_row(
            one.methods[n], *map("{:.3f}".format, [quality[n], *values]), style=None if trained[n] else "dim"
        )
    for name, by_pool in one.baselines.items():
        each = [f"{by_pool[p]:.3f}" if s == 0 or name == CHANCE else "" for p, s in cells]
        figures.add_row(name, "", *each, style="dim")
    columns = [(label, truth) for truth in TRUTH_WORDS for label in one.tau]
    taus = titled_table(
        "Kendall's tau of CandAcc with the truth [95 % interval, users drawn]; below it, less that of the first line",
        "",
        *(f"{TRUTH_WORDS[truth]}, {label}" for label, truth in columns),
    )
    for (p, s), title in zip(cells, titles, strict=True):
        taus.add_row(title, *(_words(one.tau[label][truth][:, p, s]) for label, truth in columns))
        if (p, s) != (0, 0):
            gains = (_words(one.over_first[label][truth][:, p, s], "+") for label, truth in columns)
            taus.add_row("", *gains, style="dim")
    return Group(figures, taus, Text(pools_verdict(one)))


def pools_verdict(one: Pools) -> str:
    """For each truth and group of methods, the pool and scoring with the highest tau."""
    lines = []
    for truth, words in TRUTH_WORDS.items():
        for label, tau in one.tau.items():
            p, s = np.unravel_index(np.argmax(tau[truth][0]), tau[truth].shape[1:])
            value, low, high = one.over_first[label][truth][:, p, s]
            lines.append(
                f"{words}, {label}: {one.pools[p]}, {one.scorings[s]} is closest to the truth "
                f"({value:+.2f}, {low:+.2f} to {high:+.2f}, over {one.pools[0]}, {one.scorings[0]})"
            )
    return "\n" + "\n".join(lines)


def _words(figure: np.ndarray, sign: str = "") -> str:
    value, low, high = figure
    return f"{value:{sign}.2f} [{low:.2f} {high:.2f}]"
