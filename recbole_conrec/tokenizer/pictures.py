"""Two pictures of a tokenizer: how evenly its codes are used, and where its first codes lie."""

from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from sklearn.manifold import TSNE

from recbole_conrec.tokenizer.semantic_ids import SemanticIds

POINTS = 2_000  # items on the map


def draw(ids: SemanticIds, vectors: np.ndarray, folder: Path, *, seed: int = 0) -> list[Path]:
    """Write ``codes.png`` and ``map.png`` into ``folder``; returns their paths. ``vectors``: X [n_items, dim]."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {"codes.png": codes_used(ids), "map.png": item_map(ids, vectors, seed=seed)}
    for name, figure in pictures.items():
        figure.savefig(folder / name, dpi=120)
    return [folder / name for name in pictures]


def codes_used(ids: SemanticIds) -> Figure:
    """Items per code of each level, the commonest code first, beside what equal use would give."""
    figure = Figure(figsize=(4 * ids.depth, 3), layout="constrained")
    for level, axes in enumerate(np.atleast_1d(figure.subplots(1, ids.depth))):
        counts = np.sort(np.bincount(ids.codes[1:, level], minlength=ids.sizes[level]))[::-1]
        axes.bar(np.arange(len(counts)), counts, width=1.0, color="#2e86c1")
        axes.axhline(counts.mean(), color="#c0392b", linewidth=1, label="equal use")
        axes.set(title=f"level {level + 1}: {np.count_nonzero(counts)} of {len(counts)} codes in use",
                 xlabel="codes, commonest first", ylabel="items")
        axes.legend(frameon=False)
    return figure


def item_map(ids: SemanticIds, vectors: np.ndarray, *, seed: int = 0) -> Figure:
    """t-SNE of at most 2,000 items' vectors; the colour is the first code."""
    rng = np.random.default_rng(seed)
    items = np.arange(1, ids.n_items)
    if len(items) > POINTS:
        items = np.sort(rng.choice(items, POINTS, replace=False))
    if len(items) > 30:
        places = TSNE(init="pca", perplexity=min(30, len(items) // 4), random_state=seed).fit_transform(vectors[items])
    else:
        places = np.pad(vectors[items], ((0, 0), (0, 2)))[:, :2]
    figure = Figure(figsize=(7, 7), layout="constrained")
    axes = figure.subplots()
    colour = rng.permutation(ids.sizes[0])[ids.codes[items, 0]] / ids.sizes[0]  # neighbouring codes look different
    axes.scatter(places[:, 0], places[:, 1], c=colormaps["hsv"](colour), s=10, linewidths=0)
    axes.set(title=f"{len(items):,} items by content (t-SNE), coloured by first code", xticks=[], yticks=[])
    return figure
