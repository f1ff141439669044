"""Two pictures of a tokenizer: how evenly its codes are used, and where its first codes are among the items."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.manifold import TSNE

from recbole_conrec.tokenizer.semantic_ids import SemanticIds
from recbole_conrec.utils.files import save_figure

POINTS = 2_000  # most items on the map
SEED = 0  # of the items on the map and of t-SNE
# Okabe and Ito's colours, which colour-blind readers can distinguish, too
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
STYLES = [(colour, marker) for marker in "o^" for colour in COLOURS]


def draw(ids: SemanticIds, vectors: np.ndarray, folder: Path) -> list[Path]:
    """Write ``codes.png`` and ``map.png`` into ``folder``; returns their paths. ``vectors``: X [n_items, dim]."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {"codes.png": codes_used(ids), "map.png": item_map(ids, vectors)}
    for name, figure in pictures.items():
        save_figure(figure, folder / name, dpi=120)
    return [folder / name for name in pictures]


def codes_used(ids: SemanticIds) -> Figure:
    """Items per code of each level, the commonest code first, and the line of equal use; four levels a row."""
    columns, rows = min(ids.depth, 4), -(-ids.depth // 4)
    figure = Figure(figsize=(4 * columns, 3 * rows), layout="constrained")
    for level, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        if level >= ids.depth:
            axes.set_axis_off()
            continue
        counts = np.sort(np.bincount(ids.codes[1:, level], minlength=ids.sizes[level]))[::-1]
        used = f"{np.count_nonzero(counts)} of {len(counts)} codes in use"
        axes.bar(np.arange(1, len(counts) + 1), counts, width=1.0 if len(counts) > 20 else 0.9, color="#2e86c1")
        if ids.codebooks[level].any():
            axes.axhline(counts.mean(), color="#c0392b", linewidth=1, label="equal use")
            axes.legend(frameon=False)
            axes.set_title(f"level {level + 1}: {used}")
        else:
            axes.set_title(f"level {level + 1}, counting: {used}")
        axes.set(xlabel="codes, commonest first", ylabel="items", xlim=(0.5, len(counts) + 0.5))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    return figure


def item_map(ids: SemanticIds, vectors: np.ndarray) -> Figure:
    """t-SNE of at most 2,000 items' vectors; the commonest first codes in colours, all others grey.

    There are not hundreds of colours that a reader can distinguish, so a few codes are shown well.
    """
    rng = np.random.default_rng(SEED)
    items = np.arange(1, ids.n_items)
    if len(items) > POINTS:
        items = np.sort(rng.choice(items, POINTS, replace=False))
    if len(items) > 30:
        places = TSNE(init="pca", perplexity=min(30, len(items) // 4), random_state=SEED).fit_transform(vectors[items])
    else:
        places = np.pad(vectors[items], ((0, 0), (0, 2)))[:, :2]
    first = ids.codes[items, 0]
    counts = np.bincount(ids.codes[1:, 0], minlength=ids.sizes[0])
    shown = [code for code in np.argsort(-counts, kind="stable")[: len(STYLES)] if counts[code]]
    figure = Figure(figsize=(9, 7), layout="constrained")
    axes = figure.subplots()
    others = ~np.isin(first, shown)
    if others.any():
        label = f"{np.count_nonzero(counts) - len(shown)} other codes ({counts.sum() - counts[shown].sum():,})"
        axes.scatter(places[others, 0], places[others, 1], c="#cccccc", s=8, linewidths=0, label=label)
    for code, (colour, marker) in zip(shown, STYLES, strict=False):
        axes.scatter(
            places[first == code, 0],
            places[first == code, 1],
            c=colour,
            marker=marker,
            s=22,
            linewidths=0,
            label=f"<a_{code}> ({counts[code]:,})",
        )
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, title="first code (items)")
    axes.set(title=f"{len(items):,} items by content (t-SNE), coloured by first code", xticks=[], yticks=[])
    return figure
